"""The project's verbs. Each imports what it needs when it is called, so that the menu comes at once."""

import os
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .errors import ProjectError
from .ops.deploy.verbs import app as deployment
from .ops.tracking.verbs import app as registered

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.add_typer(deployment)
app.add_typer(registered)

Source = Annotated[
    str | None, typer.Option(help="the rows: a file, a folder or an address; the project's own table, if none is named")
]


@app.callback()
def project() -> None:
    """Train, look, and keep track."""
    from .ops.orchestration.session import configure

    configure()


@app.command()
def prepare() -> None:
    """Create the databases of Prefect and MLflow, or bring them up to date, so that no run has to wait for it."""
    from .ops import databases

    databases.prepare()


@app.command()
def train() -> None:
    """Run the training flow; `make train` does so through DVC, which knows whether anything has changed."""
    _run("training")
    # All is written. Python would take two seconds to take apart what the system frees at once.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


@app.command()
def adopt(  # noqa: PLR0913, PLR0917 - options
    table: Annotated[str, typer.Argument(help="a CSV or Parquet file, a folder of Parquet files, or an address")],
    target: Annotated[str, typer.Option(help="the column to predict")],
    query: Annotated[str | None, typer.Option(help="SQL, if the address is that of a database")] = None,
    problem: Annotated[
        Literal["classification", "regression"] | None,
        typer.Option(help="classification or regression, if the target misleads"),
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="keep back whole groups of rows: the column that names them")
    ] = None,
    time: Annotated[str | None, typer.Option(help="keep back the latest rows: the column that dates them")] = None,
) -> None:
    """Make the project that of another table: its snapshot, params.yaml and contract.yaml. It runs nothing else."""
    from .ops.adopt.adopt import AdoptRequest
    from .ops.adopt.adopt import adopt as adopted

    if group and time:
        raise ProjectError("Give --group or --time: rows are kept back by one of them.")
    for sentence in adopted(AdoptRequest(table, target, query, problem, group, time)):
        typer.echo(sentence)
    typer.echo("Look with `git diff`, then `make train`.")


@app.command()
def fetch() -> None:
    """Read the table's origin again, hold it against contract.yaml, and track it as the new snapshot."""
    _run("fetching")


@app.command()
def score(source: Source = None) -> None:
    """Predict rows by the champion, into data/predictions."""
    _run("scoring", source=_seen_from_here(source))


@app.command()
def monitor(source: Source = None) -> None:
    """Tell whether rows look like those that the champion has learned from."""
    _run("monitoring", source=_seen_from_here(source))


@app.command()
def retrain() -> None:
    """Pull, fetch, train if anything has changed, and push: what a schedule runs."""
    _run("retraining")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def dvc(command: typer.Context) -> None:
    """Run DVC's own command line with the keys of the storage that .env names."""
    from .ops.versioning import dvc

    raise typer.Exit(dvc.command_line(command.args))


@app.command("ui")
def pages() -> None:
    """Look at runs and models: Prefect and MLflow in the browser, until Ctrl-C."""
    from .ops.orchestration import ui

    ui.serve()


def _seen_from_here(source: str | None) -> str | None:
    # The flow runs wherever it does; who types a path means the working folder.
    return str(Path(source).absolute()) if source and Path(source).exists() else source


def _run(name: str, **parameters: Any) -> None:
    """Run the flow of this name; exit with a sentence if it fails."""
    from .ops import settings
    from .ops.orchestration import session

    # A wrong key is told at once, before anything is started.
    settings.read_params()
    settings.read_contract()
    with session.api() as opened:
        flow = getattr(import_module(f".flows.{name}", __package__), name)
        from prefect import tags

        with opened(), tags(settings.PACKAGE):
            state = flow(**parameters, return_state=True)
    if state.is_failed():
        # Prefect has shown why: no second traceback.
        sys.exit(f"{name.capitalize()} failed: {state.result(raise_on_failure=False)}")


def main() -> None:
    """Run a verb; a ProjectError is one sentence on stderr and exit code 1."""
    # SIGTERM ends a run like Ctrl-C does, so that what was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        app()
    except ProjectError as error:
        sys.exit(str(error))
