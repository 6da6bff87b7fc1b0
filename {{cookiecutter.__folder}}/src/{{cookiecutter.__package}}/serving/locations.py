"""Where the served model is: an alias in the registry, or a folder."""

import shutil
import time
from collections.abc import Hashable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from ..errors import ProjectError
from ..model import PIPELINE, RECIPE
from ..model.predictor import Predictor
from ..ops.paths import LOCK, PROFILE
from ..ops.settings import Settings, load_yaml, project_root, read_params
from ..ops.tracking import registry
from ..ops.versioning.content import md5
from ..steps.profile import Profile
from .served import Served

FILES = (PIPELINE, RECIPE, PROFILE)
QUIET = 5  # seconds after the last change of a folder without dvc.lock


class Location(Protocol):
    """What the follower asks for a model."""

    def current(self) -> Hashable:
        """Return the identity of the model to serve, which costs little; raise an exception if there is none."""

    def load(self, identity: Any) -> Served:
        """Load the model; raise an exception if that fails."""


def location(settings: Settings) -> Location:
    """Return the location that .env names: the folder SERVE_MODEL, by default the champion in the registry."""
    if settings.serve_model:
        return Folder(settings.serve_model, settings.serve_max_rows)
    return Alias(registry.CHAMPION, settings.serve_max_rows)


class Alias:
    """An alias of the registry."""

    def __init__(self, alias: str, max_rows: int) -> None:
        """Prepare; a request has at most `max_rows` rows."""
        self._alias, self._max_rows = alias, max_rows

    def current(self) -> int:
        """Return the number of the version that has the alias."""
        number = registry.holder(self._alias)
        if number is None:
            raise ProjectError(f"There is no {self._alias} yet; `make train` trains one.")
        return number

    def load(self, identity: int) -> Served:
        """Load the version, by the code that it was packed with."""
        with registry.load(identity) as package, package.loaded() as predictor:
            profile, version = Profile.read(package.data / PROFILE), package.version
        about = {"version": identity, "metrics": version.metrics, "lineage": dict(version.tags)}
        trained = version.start and version.start / 1000
        described = {"name": f"version {identity}", "version": identity, "trained": trained, "about": about}
        return Served.of(predictor, profile, self._max_rows, identity=identity, **described)


class Folder:
    """A folder with the files of a model, such as `models`, which `dvc pull` brings.

    The files are written one after the other, so they are used only together: as the dvc.lock beside the folder lists
    them, and without one after they have not changed for QUIET seconds.
    """

    def __init__(self, folder: Path, max_rows: int) -> None:
        """Prepare; a relative folder is one of the project."""
        self._name, self._folder, self._max_rows = folder, project_root() / folder, max_rows
        self._state: object = None
        self._digests: tuple[str, ...] = ()

    def current(self) -> tuple[str, ...]:
        """Return the MD5 of each file."""
        state = self._read_state()
        if state != self._state:
            self._digests, self._state = self._complete(), state
        return self._digests

    def load(self, identity: tuple[str, ...]) -> Served:
        """Load the model, by the code of this project, and with the types that params.yaml trusts."""
        with TemporaryDirectory() as scratch:
            copies = [Path(shutil.copy(self._folder / name, scratch)) for name in FILES]
            if tuple(map(md5, copies)) != identity:
                raise ProjectError(f"{self._name} is being written; the service tries again.")
            predictor = Predictor.load(Path(scratch), read_params().model.trusted)
            profile = Profile.read(Path(scratch) / PROFILE)
        digests = dict(zip(FILES, identity, strict=True))
        about = {"version": None, "metrics": {}, "lineage": {f"md5.{name}": value for name, value in digests.items()}}
        name = f"{self._name} (MD5 {digests[PIPELINE]})"
        described = {"name": name, "version": None, "trained": None, "about": about}
        return Served.of(predictor, profile, self._max_rows, identity=identity, **described)

    def _read_state(self) -> object:
        """Return what changes whenever a file is written or replaced."""
        files = [*(self._folder / name for name in FILES), self._folder.parent / LOCK]
        states = {file: file.stat() for file in files if file.exists()}
        if missing := [name for name in FILES if self._folder / name not in states]:
            raise ProjectError(f"{self._name} has no {missing[0]} yet: `dvc pull` or `make train` brings it.")
        return [(str(file), state.st_ino, state.st_size, state.st_ctime_ns) for file, state in states.items()]

    def _complete(self) -> tuple[str, ...]:
        """Return the MD5 of each file; raise ProjectError while they may not belong together."""
        found = {name: md5(self._folder / name) for name in FILES}
        if locked := self._locked():
            if other := [name for name in FILES if found[name] != locked.get(name)]:
                raise ProjectError(
                    f"{self._name / other[0]} is not the file that {LOCK} lists: "
                    "`dvc pull` brings that file, and a training writes both."
                )
        elif (quiet := time.time() - max((self._folder / name).stat().st_ctime for name in FILES)) < QUIET:
            raise ProjectError(f"{self._name} changed {quiet:.0f} seconds ago; it is used after {QUIET}.")
        return tuple(found.values())

    def _locked(self) -> dict[str, str]:
        """Return the MD5s of the folder's files in the dvc.lock beside it, none if it does not list them."""
        lock = self._folder.parent / LOCK
        if not lock.exists():
            return {}
        outs = [out for stage in load_yaml(lock)["stages"].values() for out in stage.get("outs", [])]
        names = {f"{self._folder.name}/{name}": name for name in FILES}
        return {names[out["path"]]: out["md5"] for out in outs if out["path"] in names}
