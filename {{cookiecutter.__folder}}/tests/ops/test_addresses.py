"""Passwords in addresses reach .env and nothing else, however they are spelled; and a query only reads."""

import os
import shutil
import socket
import sqlite3
import ssl
import stat
import threading
import traceback
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import MagicMock

import polars as pl
import pytest
from conftest import COPY, PROJECT, change

from penguin_model import cli
from penguin_model.errors import ProjectError
from penguin_model.flows.fetching import fetching
from penguin_model.flows.scoring import scoring
from penguin_model.ops import (
    addresses,
    queries,
    sources,
)
from penguin_model.ops.adopt.adopt import AdoptRequest, adopt
from penguin_model.ops.deploy import deployments
from penguin_model.ops.private import protect
from penguin_model.ops.settings import read_params, read_settings
from penguin_model.ops.tracking import connection, runs
from penguin_model.ops.tracking.store import SqlStore
from penguin_model.ops.versioning import git

# The two parts of a password, around a character that may end it for some parser.
PLANTED = ("pl4nt", "3dw0rd")
ENDS = "#/?@:;&=+$%'\"\\[]ä \n\t\u202e\u200b"
PASSWORDS = [f"{PLANTED[0]}{end}{PLANTED[1]}" for end in (*ENDS, "%23", "%2F", "%40", "%3A", "@/", "#@", "?/")]
# HOST is a web server that answers everything with a table, FILE a database with a table.
WEB = [
    *(f"http://user:{password}@HOST/t.csv" for password in PASSWORDS),
    *(f"HTTP://{password}@HOST/t.csv" for password in PASSWORDS),
    *(f"http://HOST/t.csv{mark}{password}" for mark in ("?sig=", "?password=", "#", ";k=") for password in PASSWORDS),
    "http:/user:pl4nt@HOST/t.csv",
    "http:user:pl4nt@HOST/t.csv",
    "//user:pl4nt@HOST/t.csv",
    "user:pl4nt@HOST/t.csv",
    "HOST/t.csv?sig=pl4nt",
    "http:\\\\user:pl4nt@HOST\\t.csv",
    "http//user:pl4nt@HOST/t.csv",
    "http;//pl4nt@HOST/t.csv",
    "http\N{FULLWIDTH COLON}//user:pl4nt@HOST/t.csv",
    "HOST/t.csv#token=pl4nt",
    "BlobEndpoint=HOST;SharedAccessSignature=sv=2024&sig=pl4nt",
    "AccountName=a;AccountKey=pl4nt;EndpointSuffix=HOST",
    " http://user:pl4nt@HOST/t.csv",
    "http://user:pl4nt@HOST:/t.csv\n",
    "http://user:pl4nt@[::1/t.csv",
    "http://user:pl4nt@[::1]:1/t.csv",
    "http://user:pl4nt@/t.csv",
    "http://user:pl4nt@127.0.0.1:port/t.csv",
    "http://user:pl4nt@127.0.0.1:99999/t.csv",
    "http://127.0.0.1:pl4nt/t.csv",
    "http://HOST/t.csv%3Fsig=pl4nt",
    "http://HOST/t.csv&sig=pl4nt",
    "http://HOST/404.csv?sig=pl4nt",
    "http://HOST/echo.csv?sig=pl4nt",
    "http://user\N{FULLWIDTH COLON}pl4nt\N{FULLWIDTH COMMERCIAL AT}HOST/t.csv",
    "ftp://user:pl4nt@HOST/t.csv",
    "file://user:pl4nt@HOST/t.csv",
    "s3://user:pl4nt@bucket/t.csv",
    "gs://pl4nt@bucket/t.csv",
    "az://container/t.csv?sv=2024&sig=pl4nt",
    "nothing://user:pl4nt@HOST",
    f"https://user:pl4nt@HOST/{'x' * 5000}",
]
DATABASES = [
    *(f"postgresql://user:{password}@127.0.0.1:1/db" for password in PASSWORDS),
    *(f"sqlite:///FILE?timeout={password}" for password in PASSWORDS),
    "postgres://user:pl4nt@127.0.0.1:1",
    "postgresql+psycopg://pl4nt@127.0.0.1:1/db",
    "POSTGRESQL://user:pl4nt@127.0.0.1:1/db",
    "postgresql://127.0.0.1:1/db?password=pl4nt",
    "postgresql://127.0.0.1:1/db?sslmode=pl4nt",
    "postgresql://127.0.0.1:1/db?sslpassword=pl4nt&unknown=3dw0rd",
    "postgresql://user:pl4nt@127.0.0.1:port/db",
    "postgresql://127.0.0.1:pl4nt/db",
    "postgresql:user:pl4nt@127.0.0.1:1/db",
    "mssql+pyodbc:///?odbc_connect=DRIVER%3DX%3BPWD%3Dpl4nt",
    "mysql+pymysql://user:pl4nt@127.0.0.1:1/db",
    "sqlite:///FILE?pl4nt=3dw0rd",
    "sqlite:///FILE.missing?timeout=pl4nt",
    "sqlite:///file:FILE?uri=true&mode=rwc&key=pl4nt",
    "jdbc:sqlserver://127.0.0.1;user=sa;password=pl4nt",
    "host=127.0.0.1 user=u password=pl4nt dbname=d",
    "Server=127.0.0.1;Database=d;User Id=u;Password = pl4nt;",
    "host=127.0.0.1;Pass=pl4nt",
    "host=127.0.0.1 token=pl4nt",
    "DRIVER={x};SERVER=127.0.0.1;PWD=pl4nt",
    "u/pl4nt@//127.0.0.1:1/service",
    "nothing://user:pl4nt@127.0.0.1",
    "user:pl4nt@127.0.0.1/db",
]


@contextmanager
def one_sentence(address: str) -> Iterator[None]:
    """Check the error of the block, and its traceback."""
    try:
        yield
    except ProjectError as error:
        for text in (str(error), "".join(traceback.format_exception(error)).partition("Error: ")[2]):
            if found(text) or len(str(error).splitlines()) > 1:
                pytest.fail(f"{address!r}: {text}")
        raise


ROWS = "size,kind\n" + "".join(f"{number / 4},{'ab'[number % 2]}\n" for number in range(60))


class Table(BaseHTTPRequestHandler):
    """Serve ROWS at every address; echo the address as the reason of an error; keep what was asked."""

    asked: list[str | None] = []

    def do_GET(self) -> None:
        self.asked.append(self.headers["Authorization"])
        if "404" in self.path or "echo" in self.path:
            self.send_response(404, self.path)
        else:
            self.send_response(200)
        self.end_headers()
        self.wfile.write(ROWS.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Table) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def database(tmp_path) -> Path:
    file = tmp_path / "tables.db"
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("create table t (size real, kind text)")
        connection.executemany("insert into t values (?, ?)", [(n / 4, "ab"[n % 2]) for n in range(60)])
    return file


@pytest.fixture
def spellings(host, database, monkeypatch) -> list[tuple[str, str | None]]:
    """Return all addresses with their queries; some have a part of the password for a host, which is not looked for."""

    def resolve(name: str, *arguments, real=socket.getaddrinfo, **options):
        if not str(name).startswith(("127.", "::1")):
            raise socket.gaierror(-2, "Name or service not known")
        return real(name, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    # Reading the machine's certificates for each address takes half of the time.
    monkeypatch.setattr(ssl, "create_default_context", cache(ssl.create_default_context))
    web = [(spelling.replace("HOST", host), None) for spelling in WEB]
    return web + [(spelling.replace("FILE", str(database)), "select * from t") for spelling in DATABASES]


@pytest.fixture
def printed(capfd, caplog):
    """Return a function that returns what was printed and logged since the last call."""

    def printed() -> str:
        text = "".join(capfd.readouterr()) + caplog.text
        caplog.clear()
        return text

    return printed


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "project"
    for name in ("params.yaml", "contract.yaml", ".dvc/config", ".dvc/.gitignore", ".gitignore"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        shutil.copy(PROJECT / name, folder / name)
    git.run_git("init", "--quiet", cwd=folder)
    monkeypatch.setenv("PROJECT_ROOT", str(folder))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("SOURCE_URL", raising=False)
    return folder


def found(text: str | bytes) -> list[str]:
    text = text.decode(errors="replace") if isinstance(text, bytes) else text
    return [part for part in PLANTED if part in text.lower()]


def test_password_is_neither_shown_nor_stored(spellings, project, tmp_path, printed):
    assert len(set(spellings)) == len(spellings) > 200
    taken = []
    for address, query in spellings:
        assert addresses.is_secret(address), address
        assert not found(addresses.redacted(address) + sources.suffix(address, query)), address
        with suppress(ProjectError), one_sentence(address):
            sources.take(address, query, tmp_path / "snapshot")
            taken.append((address, query))
        with pytest.raises(ProjectError, match="with a password or key"), one_sentence(address):
            sources.address(address)
    assert len(taken) > 30
    # Of each kind that answers, one becomes the project's table.
    kinds = {(at.partition(":")[0], "@" in at, "#" in at): (at, query) for at, query in taken}
    assert len(kinds) > 4
    for address, query in kinds.values():
        assert not found("".join(adopt(AdoptRequest(address, "kind", query))))
        assert read_params().data.origin == "SOURCE_URL"
        assert read_settings().source_url == address
        git.run_git("add", ".")
        git.run_git("-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "--allow-empty", "-m", "adopt")
    assert not found(git.run_git("log", "--patch", "--stat"))
    files = [file for file in project.rglob("*") if file.is_file() and file.name != ".env"]
    assert not [file for file in files if found(file.read_bytes()) or found(str(file.relative_to(project)))]
    assert stat.S_IMODE((project / ".env").stat().st_mode) == 0o600
    assert not found(printed())


def test_secret_that_env_would_change_is_refused(project, monkeypatch):
    with pytest.raises(ProjectError, match="as %24"), one_sentence(""):
        adopt(AdoptRequest("http://user:${pl4nt}@127.0.0.1:1/t.csv", "kind"))
    monkeypatch.setenv("SOURCE_URL", "http://user:3dw0rd@127.0.0.1:1")
    with pytest.raises(ProjectError, match="unset it first"), one_sentence(""):
        adopt(AdoptRequest("http://user:pl4nt@127.0.0.1:1/t.csv", "kind"))
    assert not (project / ".env").exists()


def test_addresses_without_secrets_are_shown_and_stored_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b@c?d=e#f.csv").touch()
    for origin in (
        "https://example.org/R&D/year=2024/t%20a.csv",
        "HTTPS://example.org:8080/t.csv",
        "https://[::1]:80/ä b.csv",
        "s3://bucket/year=2024/*.parquet",
        "postgresql+psycopg://host:5432/db",
        "sqlite:////data/my tables.db",
        "a:b@c?d=e#f.csv",
        "data/raw/table #1 (50%).csv",
        "/data/me@home/table.csv",
        "SOURCE_URL",
        "",
    ):
        assert addresses.redacted(origin) == origin
        assert not addresses.is_secret(origin)


def test_user_and_password_reach_the_web_server(host, tmp_path):
    for user, login in (("user:pl%23nt", "Basic dXNlcjpwbCNudA=="), ("token", "Basic dG9rZW46"), ("", None)):
        sources.take(f"http://{user}{'@' if user else ''}{host}/ä b.csv?q=ü c", None, tmp_path / "t.csv")
        assert Table.asked[-1] == login
    assert (tmp_path / "t.csv").read_text() == ROWS


def test_secret_in_params_yaml_is_refused_before_anything_stores_it(edited):
    change("data", origin="postgresql://user:pl4nt@host/db")
    with pytest.raises(ProjectError, match=r"params\.yaml: data\.origin .*write SOURCE_URL instead") as refused:
        read_params()
    assert not found(str(refused.value))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PREFECT_API_URL", "http://user:pl4nt@host/api"),
        ("MLFLOW_TRACKING_URI", "https://pl4nt@host"),
        ("MLFLOW_ARTIFACT_ROOT", "s3://user:pl4nt@bucket/mlflow"),
        ("MLFLOW_ARTIFACT_ROOT", "wasbs://c@account.blob.core.windows.net/m?sig=pl4nt"),
        ("REPOSITORY", "https://pl4nt@example.org/repo.git"),
        ("PREDICTION_LOG", "s3://user:pl4nt@bucket/log"),
        ("PREFECT_HOME", "s3://user:pl4nt@bucket/home"),
        ("SERVE_MODEL", "s3://user:pl4nt@bucket/models"),
    ],
)
def test_secret_in_the_address_of_a_server_is_refused(key, value, edited, monkeypatch):
    monkeypatch.delenv(key, raising=False)
    (edited / ".env").write_text(f"{key}='{value}'\n")
    with pytest.raises(ProjectError, match=f"`{key}` is '") as refused:
        read_settings()
    assert not found(str(refused.value))


def test_address_that_is_no_url_is_refused_without_its_password(edited, monkeypatch):
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    (edited / ".env").write_text("PREFECT_API_URL='user:pl4nt@host'\n")
    with pytest.raises(ProjectError, match="`PREFECT_API_URL` is not a URL; write it as https://host/path") as refused:
        read_settings()
    assert not found(str(refused.value))


def test_container_of_azure_and_user_of_ssh_are_not_secrets(edited, monkeypatch):
    values = {
        "MLFLOW_ARTIFACT_ROOT": "wasbs://container@account.blob.core.windows.net/mlflow",
        "REPOSITORY": "ssh://git@example.org/repo.git",
        "MLFLOW_TRACKING_URI": "postgresql://user:pl4nt@host/db",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    assert read_settings().mlflow_tracking_uri == values["MLFLOW_TRACKING_URI"]


@pytest.mark.parametrize("name", ["mysql+pymysql", "mssql", "nothing"])
def test_store_without_a_driver_is_one_sentence(name, edited, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"{name}://user:pl4nt@127.0.0.1:1/db")
    with pytest.raises(ProjectError, match="MLFLOW_TRACKING_URI cannot be used: ") as failed:
        connection.connect()
    assert not found(str(failed.value))
    monkeypatch.undo()
    connection.connect()


def test_address_of_labels_is_refused_before_prefect_stores_it():
    with pytest.raises(ProjectError, match=r"--labels is 'https://host/t\.csv' with a password or key"):
        cli.monitor(labels="https://user:pl4nt@host/t.csv")


def test_error_of_git_has_no_password():
    with pytest.raises(ProjectError, match="git ls-remote failed: ") as failed:
        git.run_git("ls-remote", "http://user:pl4nt@127.0.0.1:1/t?key=3dw0rd")
    assert not found(str(failed.value))


@pytest.mark.parametrize("uri", ["postgresql+psycopg://user:pl4nt@127.0.0.1:1/db", "postgresql://user:x@host:pl4nt/db"])
def test_database_of_mlflow_that_fails_is_named_without_its_password(uri, edited, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(ProjectError, match="MLFLOW_TRACKING_URI cannot be used") as failed:
        SqlStore(uri)
    assert not found(str(failed.value))


def test_link_to_a_run_has_no_password(monkeypatch):
    monkeypatch.setattr(runs, "MlflowClient", MagicMock())
    runs.MlflowClient().get_run.return_value.info.artifact_uri = "s3://bucket/run"
    monkeypatch.setattr(runs.mlflow, "get_tracking_uri", lambda: "postgresql://user:pl4nt@host/db")
    assert not found(runs.link("1", "report.html"))


def test_secret_in_prefect_yaml_is_refused(monkeypatch):
    content = {"deployments": [{"parameters": {"source": "https://host/t.csv?sig=pl4nt"}}], "pull": ["git+https://h/r"]}
    monkeypatch.setattr(deployments, "load_yaml", lambda _: content)
    with pytest.raises(ProjectError, match=r"`deployments\.0\.parameters\.source` contains a password") as refused:
        deployments.read()
    assert not found(str(refused.value))


def test_password_is_not_in_prefect_or_mlflow(champion, host, edited, printed, monkeypatch):
    monkeypatch.delenv("SOURCE_URL", raising=False)
    source = cli.stored(f"http://user:pl4nt%233dw0rd@{host}/scored.csv?sig=pl4nt")
    assert source == "SOURCE_URL"
    assert "The rows lack" in scoring(source=source, return_state=True).message
    change("data", origin="SOURCE_URL", source="data/raw/fetched.csv")
    assert "the table lacks" in fetching(return_state=True).message
    with pytest.raises(ProjectError, match="with a password or key"):
        sources.address(os.environ["SOURCE_URL"])
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all(timeout=10)
    stored = [file for folder in (".prefect", "mlartifacts") for file in (COPY / folder).rglob("*") if file.is_file()]
    stored += list(COPY.glob("mlflow.db*"))
    assert any(b"scored.csv" in file.read_bytes() for file in stored)
    assert not [file for file in stored if found(file.read_bytes())]
    output = printed()
    assert "scored.csv" in output
    assert not found(output)


@pytest.mark.parametrize(
    "query",
    [
        "",
        " \n",
        "-- nothing",
        "drop table t",
        "delete from t",
        "select 1; drop table t",
        "select ';'; drop table t",
        "select '\\'; drop table t; --'",
        "with x as (select 1) delete from t",
        "with x as (select 1) insert into t select 1, 'a'",
        "/* select */ update t set size = 0",
        "insert into t values (1, 'a') returning *",
        "replace into t values (1, 'a')",
        "create table u as select 1",
        "attach database 'OTHER' as other",
        "pragma user_version = 7",
        "pragma journal_mode = wal",
        "vacuum into 'OTHER'",
        "begin",
        "reindex",
        "select * from pragma_wal_checkpoint",
        "select load_extension('x')",
    ],
)
def test_query_that_writes_is_refused(query, database, tmp_path, monkeypatch):
    before, others = database.read_bytes(), sorted(tmp_path.iterdir())
    query = query.replace("OTHER", str(tmp_path / "other.db"))
    with pytest.raises(ProjectError) as refused:
        sources.take(f"sqlite:///{database}", query, tmp_path / "snapshot")
    assert len(str(refused.value).splitlines()) == 1
    # Also where the look at the text does not see it.
    monkeypatch.setattr(queries, "check_reads", lambda _: None)
    with pytest.raises(ProjectError):
        sources.take(f"sqlite:///{database}", query, tmp_path / "snapshot")
    assert database.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == others


@pytest.mark.parametrize(
    "query",
    [
        "select * from t;",
        " -- why; and how\n select * from t /* ; */",
        "WITH x AS (SELECT * FROM t) SELECT * FROM x",
        """select size as "update", kind as 'into' from t -- delete""",
        "values (1, 'a'), (2, ':b')",
        "select key, value from json_each('{\"dropped\": 1}')",
        "select /* no delete */ size, /* nor */ kind from t -- no update",
        "select size, 'it''s; :so' as kind from t",
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < 9) select i, upper('b') from n",
    ],
)
def test_query_that_reads_is_answered(query, database, tmp_path):
    sources.take(f"sqlite:///{database}", query, tmp_path / "snapshot")
    assert pl.read_parquet(tmp_path / "snapshot").width == 2


@pytest.mark.parametrize(
    "query",
    [
        "select * from t into outfile '/tmp/x'",  # MySQL
        "select * INTO u from t",  # SQL Server, PostgreSQL
        "with x as (insert into t values (1) returning *) select * from x",
        "with x as (select 1) MERGE t using x on true when matched then do nothing",
        "select * from t for update",
        "select * from t /*! into outfile '/tmp/x' */",  # MySQL runs this comment
        "select * from t # '\n into outfile '/tmp/x' -- '",  # and knows comments that others do not
        "select 1--1 into outfile '/tmp/x'",
        "select a$$ into outfile '/tmp/x' -- $$ from t",
        "select 1 drop table t commit",  # SQL Server needs no semicolon
        "select 1 /* /* */ ' */ delete from t -- '",  # and nests comments, as PostgreSQL does
        "select [it's] from t exec sp_who -- '",
    ],
)
def test_query_that_writes_is_refused_before_a_database_is_asked(query):
    with pytest.raises(ProjectError, match=r"A query may only read: `\w+` writes; quote the name"):
        queries.check_reads(query)


@pytest.mark.parametrize("address", ["sqlite:///{}", "sqlite+pysqlite:///{}", "sqlite:///file:{}?uri=true"])
def test_missing_database_is_not_created(address, tmp_path):
    with pytest.raises(ProjectError, match=r"missing\.db|unable to open database file"):
        sources.take(address.format(tmp_path / "missing.db"), "select 1", tmp_path / "snapshot")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["mysql", "mariadb"])
def test_session_of_mysql_reads_only(name):
    connection = MagicMock()
    connection.dialect.name = name
    queries.forbid_writing(connection)
    connection.exec_driver_sql.assert_called_once_with("SET SESSION TRANSACTION READ ONLY")


def test_settings_and_state_are_private_whatever_the_umask(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    for name in [name for name in os.environ if name.startswith(("PREFECT_HOME", "MLFLOW_"))]:
        monkeypatch.delenv(name)
    old = os.umask(0)
    try:
        for name in (".env", "mlflow.db", "mlflow.db-wal", ".dvc/config.local", ".prefect/profiles.toml"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        protect()
        assert not (tmp_path / "mlartifacts").exists()
        protect(create=["prefect", "mlflow"])
    finally:
        os.umask(old)
    private = dict.fromkeys((".env", "mlflow.db", "mlflow.db-wal", ".dvc/config.local", ".prefect/prefect.db"), 0o600)
    private |= {".prefect": 0o700, "mlartifacts": 0o700}
    assert {name: stat.S_IMODE((tmp_path / name).stat().st_mode) for name in private} == private


def test_state_outside_the_project_keeps_its_mode(tmp_path, monkeypatch):
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path / "project"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/shared.db")
    (tmp_path / "shared.db").touch()
    (tmp_path / "shared.db").chmod(0o664)
    (tmp_path / "project").mkdir()
    protect()
    assert stat.S_IMODE((tmp_path / "shared.db").stat().st_mode) == 0o664
