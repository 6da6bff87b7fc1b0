"""Old rows of Prefect's own database, deleted as a server deletes them: the server of a training does not."""

import asyncio
from datetime import UTC, datetime

from prefect.server.database import provide_database_interface
from prefect.server.schemas.states import TERMINAL_STATES
from prefect.server.services import db_vacuum
from prefect.settings import get_current_settings
from sqlalchemy import select
from sqlalchemy.sql.functions import count

# Rows in a transaction: with Prefect's 200 it looks for the next ones too often.
BATCH = 5000


def vacuum(before: datetime, *, dry_run: bool) -> tuple[int, int]:
    """Delete flow runs that ended before a time, with their logs and artifacts, and the events that a server deletes.

    Returns how many runs and events there were.
    """
    return asyncio.run(_vacuum(before, dry_run=dry_run))


async def _vacuum(before: datetime, *, dry_run: bool) -> tuple[int, int]:
    db, server = provide_database_interface(), get_current_settings().server
    run, of_run = db.FlowRun, db.FlowRun.parent_task_run_id.is_(None)
    happened = db.Event.occurred < datetime.now(UTC) - server.events.retention_period
    async with db.session_context() as session:
        ended = select(count()).where(of_run, run.state_type.in_(TERMINAL_STATES), run.end_time < before)
        runs = await session.scalar(ended.select_from(run))
        events = await session.scalar(select(count()).where(happened).select_from(db.Event))
    if not dry_run:
        server.services.db_vacuum.retention_period = datetime.now(UTC) - before
        server.services.db_vacuum.batch_size = BATCH
        await db_vacuum.vacuum_old_flow_runs(db=db)
        await db_vacuum.vacuum_old_events(db=db)
        await db_vacuum.vacuum_orphaned_logs(db=db)
        await db_vacuum.vacuum_orphaned_artifacts(db=db)
        await db_vacuum.vacuum_stale_artifact_collections(db=db)
    return runs or 0, events or 0
