"""The verbs for the registered model: who is champion, why, and the way back."""

import getpass
import os
import sys
from typing import Annotated

import typer

from ...errors import ProjectError

app = typer.Typer()

Version = Annotated[int, typer.Argument(help="The version's number in the registry.", min=1)]


@app.command()
def status() -> None:
    """Show the newest model: its version, alias and holdout metrics."""
    from . import status as newest

    typer.echo(newest.describe())


@app.command()
def journal() -> None:
    """Show every move of the alias `champion`: when, who, from, to and why."""
    from . import registry

    state = registry.champion()
    typer.echo(str(state.history) or "No version has been champion yet; `make train` makes the first.")
    if state.pending:
        typer.echo(registry.PENDING)


@app.command()
def promote(version: Version, reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "") -> None:
    """Make a version the champion by hand, for a reason that the journal keeps."""
    from . import registry
    from .history import new_entry, version_label

    before = registry.reconcile().champion
    metrics = registry.get(version).metrics
    reason = reason.strip()
    if not reason and sys.stdin.isatty():
        reason = typer.prompt(f"Why should version {version} be the champion?").strip()
    if not reason:
        raise ProjectError(f"A promotion by hand needs a reason: promote {version} --reason '…'.")
    move = new_entry("promote", _user(), before, version, reason, metrics)
    registry.promote(move)
    typer.echo(f"Version {version} is the champion now; before, it was {version_label(before)}.")


@app.command()
def rollback(reason: Annotated[str, typer.Option(help="Why, for the journal.")] = "no reason given") -> None:
    """Make the previous champion the champion again."""
    from . import registry
    from .history import version_label

    move = registry.rollback(_user(), reason)
    typer.echo(f"Version {move.new} is the champion again, instead of {version_label(move.old)}.")


@app.command()
def lineage(version: Annotated[int | None, typer.Argument(help="By default the champion.", min=1)] = None) -> None:
    """Show where a model comes from: its run, its flow run, its code and its data."""
    from . import lineage as chain

    typer.echo(chain.describe(version))


@app.command()
def reproduce(version: Version) -> None:
    """Train a version again from its commit and data, in a scratch folder, and compare."""
    from .reproduce import reproduce as rebuild

    typer.echo(rebuild(version))


@app.command("check-lock")
def check_lock() -> None:
    """Check that dvc.lock is true, without data: `make check` does so."""
    from ..versioning import lock_check

    typer.echo(lock_check.check())


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container whose user has no name
        return f"user {os.getuid()}"
