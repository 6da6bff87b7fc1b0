"""The verbs that bring flows to a Prefect server, and run there what is due."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def deploy(
    kind: Annotated[str, typer.Option("--type", help="of the work pool, where it is to be made")] = "process",
    job: Annotated[Path | None, typer.Option(help="laid over the Job of a Kubernetes work pool")] = None,
) -> None:
    """Check prefect.yaml, make the work pool, register the flows, and say what is due."""
    from ..orchestration import session

    session.use_server()
    from . import register

    for sentence in register.deploy(kind, job):
        typer.echo(sentence)


@app.command()
def worker(pool: Annotated[str, typer.Option(help="the work pool whose runs it takes")]) -> None:
    """Run what is deployed, when it is due, until Ctrl-C or SIGTERM."""
    from ..orchestration import session

    session.use_server()
    from . import worker

    worker.work(pool)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def prefect(command: typer.Context) -> None:
    """Run Prefect's own command line on the server of .env, or of `ui`."""
    from ..orchestration import session

    session.use_server()
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *command.args])  # noqa: S606
