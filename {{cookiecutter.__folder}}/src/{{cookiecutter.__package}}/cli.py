"""The project's verbs. Each imports what it needs when it is called, so `--help` answers at once."""

import gc as garbage
import os
import signal
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .errors import ProjectError, printable
from .ops.deploy.verbs import app as deployment
from .ops.faults import check_space, reported
from .ops.tracking.verbs import app as registered

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(deployment)
app.add_typer(registered)
# A project may have no service; if it had one, there may be a folder without modules.
if getattr(find_spec(".serving", __package__), "origin", None):
    app.add_typer(import_module(".serving.verbs", __package__).app)

Source = Annotated[
    str | None, typer.Option(help="Rows: a file, a folder or an address; by default the project's own table.")
]


@app.callback()
def project(command: typer.Context) -> None:
    """Train, score and monitor the model, and keep track of its versions."""
    from .ops.orchestration.session import configure

    if command.invoked_subcommand != "doctor":  # to which wrong settings are a finding
        configure()


@app.command()
def prepare() -> None:
    """Create the databases of Prefect and MLflow, or bring them up to date; say what will fail in this folder."""
    from .ops import databases
    from .ops.versioning import dvc

    databases.prepare()
    for warning in dvc.warnings():
        typer.echo(warning)


@app.command()
def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: findings, and what was not checked.")] = False,  # noqa: FBT002
) -> None:
    """Say what is wrong with the project, and the command that mends it; change nothing."""
    # Imports create no garbage; looking for it takes a fifth of the time.
    garbage.disable()
    from .ops.doctor.doctor import examine

    report = examine()
    typer.echo(report.model_dump_json(indent=2) if as_json else report)
    sys.stdout.flush()
    # Without waiting for what has not answered.
    os._exit(bool(report.findings))


@app.command()
def train() -> None:
    """Run the training flow. `make train` runs it through DVC, only if something has changed."""
    _run("training")
    # Everything is written; Python's own exit would take two more seconds.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@app.command()
def adopt(  # noqa: PLR0913, PLR0917 - options
    table: Annotated[
        str, typer.Argument(help="A CSV, Parquet, Arrow or JSON file, a folder of Parquet files, or an address.")
    ],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    query: Annotated[str | None, typer.Option(help="SQL, if the address is a database.")] = None,
    problem: Annotated[
        Literal["classification", "regression"] | None,
        typer.Option(help="By default guessed from the target."),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Hold out whole groups of rows: the column that names the group.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="Hold out the latest rows: the column with their date.")] = None,
    missing: Annotated[list[str] | None, typer.Option(help="Text that stands for a missing value.")] = None,
    decimal: Annotated[Literal[".", ","] | None, typer.Option(help="The decimal mark of numbers.")] = None,
    thousands: Annotated[
        Literal[".", ",", " ", "'", "_"] | None, typer.Option(help="What separates thousands in numbers.")
    ] = None,
    date_format: Annotated[list[str] | None, typer.Option(help="How dates are spelled, such as %d/%m/%Y.")] = None,
    text: Annotated[list[str] | None, typer.Option(help="A column to keep as text, as it is.")] = None,
) -> None:
    """Point the project at your table: write its snapshot, params.yaml and contract.yaml, and run nothing."""
    from .ops.adopt import adopt as adoption
    from .ops.adopt.spelling import Hints

    if group and time:
        raise ProjectError("Give --group or --time, not both.")
    check_space()
    hints = Hints(decimal, thousands, date_format or [], text or [])
    request = adoption.AdoptRequest(table, target, query, problem, group, time, missing or [], hints)
    for line in adoption.adopt(request):
        typer.echo(printable(line))
    typer.echo("Check with `git diff`, then run `make train`.")


@app.command()
def fetch() -> None:
    """Read the table from its origin again, check it against contract.yaml, and track it as the new snapshot."""
    _run("fetching")


@app.command()
def score(  # noqa: PLR0913, PLR0917 - options
    source: Source = None,
    query: Annotated[str | None, typer.Option(help="SQL, if the source is a database.")] = None,
    to: Annotated[
        str | None,
        typer.Option(help="A folder, by default data/predictions, or a database: postgresql://… or sqlite:///…"),
    ] = None,
    table: Annotated[str, typer.Option(help="The table, if --to is a database.")] = "predictions",
    version: Annotated[int | None, typer.Option(min=1, help="Predict with this version instead.")] = None,
    strict: Annotated[bool, typer.Option(help="Stop if rows break the contract, instead of leaving them out.")] = False,  # noqa: FBT002
) -> None:
    """Predict rows with the champion, into a folder or a table of a database."""
    from .ops.addresses import SECRET_TO, is_address

    to = str(Path(to).absolute()) if to and to != SECRET_TO and not is_address(to) else stored(to, SECRET_TO)
    _run("scoring", source=stored(source), query=query, to=to, table=table, version=version, strict=strict)


@app.command()
def monitor(
    source: Source = None,
    labels: Annotated[str | None, typer.Option(help="A table with the target, for metrics.")] = None,
    on: Annotated[str | None, typer.Option(help="The columns that join it to the rows, separated by commas.")] = None,
    retrain: Annotated[bool, typer.Option(help="Whether repeated drift starts the retraining.")] = True,  # noqa: FBT002
) -> None:
    """Compare rows with the champion's training data, to detect drift."""
    from .ops.addresses import check_stored

    check_stored(labels or "", "--labels")
    joined = {"labels": absolute(labels), "on": on.split(",") if on else None}
    _run("monitoring", source=stored(source), **joined, **({} if retrain else {"policy": {"most": 0}}))


@app.command()
def retrain() -> None:
    """Pull, fetch, train if something has changed, and push. Meant for a schedule."""
    _run("retraining")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def dvc(command: typer.Context) -> None:
    """Run DVC's command line with the storage keys from .env."""
    from .ops.versioning import dvc

    code = dvc.command_line(command.args)
    if code or {"pull", "checkout"} & set(command.args):  # with --allow-missing, DVC says nothing of a full disk
        check_space()
    raise typer.Exit(code)


@app.command()
def gc(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be deleted.")] = False,  # noqa: FBT002
    database: Annotated[
        str | None, typer.Option(help="The database of the MLflow server in .env: postgresql+psycopg://user@host/name.")
    ] = None,
) -> None:
    """Delete old runs, events, logs and what was deleted in MLflow; never a registered version. See RETENTION_DAYS."""
    from .ops import retention

    for line in retention.collect(dry_run=dry_run, database=database):
        typer.echo(line)


@app.command()
def update(
    answers: Annotated[list[str] | None, typer.Argument(help="Other answers, such as compute=dask.")] = None,
    to: Annotated[
        str | None, typer.Option(help="A tag, branch or commit of the template; by default its newest release.")
    ] = None,
) -> None:
    """Merge what the template has changed since it made this project, or what other answers change."""
    from .ops.versioning import template

    given = dict(answer.partition("=")[::2] for answer in answers or [] if "=" in answer)
    if len(given) != len(answers or []):
        raise ProjectError("Give each answer once, as name=value, such as compute=dask.")
    for line in template.update(to, given):
        typer.echo(printable(line))


@app.command("ui")
def pages() -> None:
    """Serve the pages of Prefect and MLflow until Ctrl-C."""
    from .ops.orchestration import ui

    ui.serve()


def stored(source: str | None, key: str | None = None) -> str | None:
    """Return an address as a parameter of a flow, which Prefect stores; a key of .env stands for one with a secret."""
    from .ops.addresses import SECRET, is_secret

    if source and is_secret(source):
        name = key or SECRET
        os.environ[name] = source
        return name
    return absolute(source)


def absolute(source: str | None) -> str | None:
    """Return the absolute path of a file or folder, and anything else as it is."""
    from .ops.addresses import is_address

    # The flow may run in another folder; a path typed by a user is relative to this one.
    return str(Path(source).absolute()) if source and not is_address(source) and Path(source).exists() else source


def _run(name: str, **parameters: Any) -> None:
    """Run the flow of this name; if it fails, exit with one sentence."""
    from .ops import addresses, faults, settings
    from .ops.orchestration import session

    # Report a wrong key before anything starts.
    settings.read_params()
    settings.read_contract()
    with session.api() as opened:
        flow = getattr(import_module(f".flows.{name}", __package__), name)
        from prefect import tags

        with opened(), tags(settings.PACKAGE):
            state = flow(**parameters, return_state=True)
    if state.is_failed():
        # Prefect has logged the traceback.
        error: Any = state.result(raise_on_failure=False)
        sys.exit(addresses.shown(f"{name.capitalize()} failed: {faults.sentence(error) or error}"))


def main() -> None:
    """Run a verb; an error of the project or the machine is one sentence on stderr and exit code 1."""
    received: list[int] = []

    def end(number: int, _: object) -> None:
        """Exit, once: who ends a job signals each of its processes, and uv passes on what it has got."""
        signal.signal(number, signal.SIG_IGN)
        received.append(number)
        sys.exit(128 + number)

    # These end a run as Ctrl-C does, so that the processes it started are stopped. `nohup` ignores SIGHUP.
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, end)
    try:
        with reported():
            app()
    except BaseException as error:
        # A library may have made an error of its own of the exit. A verb that ends well, as a worker does, has no code.
        if received and getattr(error, "code", True):
            sys.exit(128 + received[0])
        raise
