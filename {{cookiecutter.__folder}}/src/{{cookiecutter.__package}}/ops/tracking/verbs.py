"""The verbs for registered models: look at them, change the champion, and train one again."""

import getpass
import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import ProjectError

if TYPE_CHECKING:
    from .history import Entry

app = typer.Typer()

Version = Annotated[int, typer.Argument(help="Number of the version in the registry.", min=1)]


@app.command()
def status(
    as_json: Annotated[bool, typer.Option("--json", help="For programs: the newest version and the champion.")] = False,  # noqa: FBT002
) -> None:
    """Show the newest version: its alias and its metrics on the holdout."""
    from .status import read

    found = read()
    typer.echo(found.model_dump_json(indent=2) if as_json else found)


@app.command()
def journal(
    repair: Annotated[bool, typer.Option("--repair", help="Replace entries that cannot be read.")] = False,  # noqa: FBT002
) -> None:
    """Show every change of the champion: when, who, from, to and why."""
    from . import registry

    if repair:
        for sentence in registry.repair(_user()) or ["Every entry of the journal can be read."]:
            typer.echo(sentence)
    state = registry.champion()
    unknown = "" if state.history.damage else "No version has been champion yet; `make train` makes the first."
    for text in (str(state.history) or unknown, state.problem):
        if text:
            typer.echo(text)


@app.command()
def promote(version: Version, reason: Annotated[str, typer.Option(help="Reason to keep in the journal.")] = "") -> None:
    """Make a version the champion by hand."""
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
    _announce(move)


@app.command()
def rollback(reason: Annotated[str, typer.Option(help="Reason to keep in the journal.")] = "no reason given") -> None:
    """Make the previous champion the champion again."""
    from . import registry
    from .history import version_label

    move = registry.rollback(_user(), reason)
    typer.echo(f"Version {move.new} is the champion again, instead of {version_label(move.old)}.")
    _announce(move)


@app.command()
def lineage(
    version: Annotated[int | None, typer.Argument(help="By default the champion.", min=1)] = None,
) -> None:
    """Show where a version comes from: its run, flow run, code and data."""
    from .lineage import describe

    typer.echo(describe(version))


@app.command()
def reproduce(version: Version) -> None:
    """Train a version again from its commit and data in a temporary folder, and compare the two."""
    from .reproduce import reproduce as rebuild

    typer.echo(rebuild(version))


@app.command()
def trust(version: Version) -> None:
    """Record the digests of a version from before the registry had them; check those of any other."""
    from . import registry

    typer.echo(registry.trust(version))


@app.command("check-lock")
def check_lock() -> None:
    """Check that dvc.lock is up to date; needs no data. `make check` runs it."""
    from ..versioning import lock_check

    typer.echo(lock_check.check())


@app.command("check-metrics")
def check_metrics(
    commit: Annotated[str, typer.Argument(help="A commit, branch or tag, such as main.")],
    same: Annotated[bool, typer.Option("--same", help="All metrics must be the same.")] = False,  # noqa: FBT002
) -> None:
    """Check that the gate's metric is not worse than in another commit, by more than gate.tolerance."""
    from ..versioning import metrics_check

    typer.echo(metrics_check.check_same(commit) if same else metrics_check.check(commit))


def _announce(move: "Entry") -> None:
    """Notify of a new champion, and wait until the service serves it."""
    from .. import service
    from ..notify import channel

    if reason := channel.moved(move):
        typer.echo(f"A notification was not delivered: {reason}", err=True)
    deployment = service.deployed(move.new or 0, typer.echo)
    typer.echo(deployment.text, err=not deployment.followed)


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # in a container, a user may have no name
        return f"user {os.getuid()}"
