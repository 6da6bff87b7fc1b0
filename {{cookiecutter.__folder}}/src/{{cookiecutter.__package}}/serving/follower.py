"""Follows the alias `champion`: loads the version that it names beside the one that is served, then swaps the two."""

import logging
import threading
from collections.abc import Callable

from ..errors import ProjectError, printable
from ..ops.tracking import registry
from .served import Served

LOGGER = logging.getLogger(__name__)
FIRST_RETRY, LAST_RETRY = 1.0, 60.0  # seconds between attempts that fail


class Follower:
    """The served model, and why there is none or not the newest."""

    def __init__(self, poll: float, load: Callable[[int], Served]) -> None:
        """Prepare; `start` begins to follow. `poll` are the seconds between two looks at the alias."""
        self.served: Served | None = None
        self.problem = "no model has been loaded yet"
        self._load, self._poll = load, poll
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()

    def _follow(self) -> None:
        retry = FIRST_RETRY
        while not self._stop.is_set():
            try:
                self._look()
                wait, retry = self._poll, FIRST_RETRY
            except Exception as error:  # noqa: BLE001 - whatever fails, the served model goes on serving
                kind = "" if isinstance(error, ProjectError) else f"{type(error).__name__}: "
                problem = printable(f"{kind}{error}")
                if problem != self.problem:
                    LOGGER.warning("%s", problem)
                self.problem = problem
                wait, retry = max(retry, self._poll), min(2 * retry, LAST_RETRY)
            self._stop.wait(wait)

    def _look(self) -> None:
        number = registry.champion_number()
        if number is None:
            raise ProjectError("There is no champion yet; `make train` trains one.")
        if self.served is None or self.served.version != number:
            before = "nothing" if self.served is None else f"version {self.served.version}"
            self.served = self._load(number)
            LOGGER.info("Serving version %d instead of %s", number, before)
        self.problem = ""
