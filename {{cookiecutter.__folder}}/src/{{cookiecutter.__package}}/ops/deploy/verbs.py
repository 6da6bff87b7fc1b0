"""The verbs that deploy flows to a Prefect server and run them there."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def deploy(
    kind: Annotated[str, typer.Option("--type", help="the type of a new work pool")] = "process",
    job: Annotated[Path | None, typer.Option(help="a patch for the Job of a new Kubernetes work pool")] = None,
    prune: Annotated[  # noqa: FBT002
        bool, typer.Option("--prune", help="delete the project's deployments that are not in prefect.yaml")
    ] = False,
) -> None:
    """Check prefect.yaml, create the work pool, register the flows, and show the next runs."""
    from ..orchestration import session

    session.use_server(cloud=kind.endswith(":managed"))
    from . import register

    for sentence in register.deploy(kind, job, prune=prune):
        typer.echo(sentence)


@app.command()
def image_name() -> None:
    """Print the name of the image that flows run in: IMAGE in .env, by default the project's name."""
    from .. import settings

    typer.echo(settings.image())


@app.command()
def worker(pool: Annotated[str, typer.Option(help="the work pool whose flow runs it starts")]) -> None:
    """Start deployed flows when they are due, until Ctrl-C or SIGTERM."""
    from ..orchestration import session

    session.use_server()
    from . import worker

    worker.work(pool)


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []})
def prefect(command: typer.Context) -> None:
    """Run Prefect's own commands on the server that .env names, or on that of `ui`."""
    from ..orchestration import session

    session.use_server()
    os.execv(sys.executable, [sys.executable, "-m", "prefect", *command.args])  # noqa: S606
