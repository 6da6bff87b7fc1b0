"""Prefect's own database: created and upgraded by Prefect's migrations, without a server."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from alembic.util import CommandError
from prefect.server.database import provide_database_interface
from prefect.server.database.configurations import AioSqliteConfiguration
from prefect.server.database.dependencies import temporary_database_config
from sqlalchemy import Connection, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from ...errors import ProjectError
from ..addresses import without_secrets


def migrate() -> None:
    """Upgrade the database to the newest schema; raise ProjectError if that fails.

    Each migration is a transaction: after a kill, the next call continues with the one that was interrupted.
    """
    configuration = provide_database_interface().database_config
    if isinstance(configuration, AioSqliteConfiguration):
        configuration = DirectSqlite(configuration.connection_url)
    try:
        with temporary_database_config(configuration):
            asyncio.run(provide_database_interface().create_db())
    except (CommandError, SQLAlchemyError) as error:
        reason = without_secrets(str(error).partition("\n")[0])
        file = make_url(configuration.connection_url).database
        raise ProjectError(
            f"Prefect's database cannot be upgraded: {reason}. If it is damaged, delete {file} and run `make setup`: "
            "that loses the history of flow runs, but no model."
        ) from None


class DirectSqlite(AioSqliteConfiguration):
    """Prefect's SQLite without aiosqlite, which passes each of 34,000 statements to another thread and back.

    It also plays the asynchronous engine and connection, as far as the migrations use them.
    """

    connection: Connection

    async def engine(self) -> Any:
        """Return the object that has `connect`."""
        return self

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Any]:
        """Yield the object that has `run_sync`."""
        engine = create_engine(self.connection_url.replace("+aiosqlite", ""))
        event.listen(engine, "connect", self.configure)
        event.listen(engine, "begin", self.begin_sqlite_stmt)
        with engine.connect() as self.connection:
            yield self
        engine.dispose()

    async def run_sync(self, function: Callable[[Connection], None]) -> None:
        """Call a function with the connection."""
        function(self.connection)

    def configure(self, connection: Any, record: Any) -> None:
        """Set up a connection as Prefect does; Prefect begins transactions itself, not the driver."""
        connection.isolation_level = None
        self.setup_sqlite(connection, record)
