"""Follows the champion: loads the model to serve beside the one that is served, tries it, then swaps the two."""

import gc
import logging
import math
import threading
import time
from collections.abc import Hashable

from .locations import Location
from .metrics import FAILURES, LOADED, TRAINED, VERSION
from .served import Served, reason

LOGGER = logging.getLogger(__name__)
# The longest pauses in seconds: after the location could not be read, and after a model could not be loaded.
LOOK_PAUSE, LOAD_PAUSE = 30.0, 300.0
SLOW = 8.0  # seconds of loading that are reported: MLflow waits for each file by itself, a minute for all
STORAGE = "it is large, or the storage of its files does not answer"


class Follower:
    """The served model, and why there is none or not the newest."""

    def __init__(self, location: Location, poll: float, *, answers: bool = True) -> None:
        """Prepare; `start` begins to follow. `poll` are the seconds between two looks at the location.

        A model that does not answer requests, such as a challenger, is not the one of the metrics.
        """
        self.served: Served | None = None
        self.problem = "no model has been loaded yet"
        self._location, self._poll, self._answers = location, poll, answers
        self._broken: Hashable = None  # the model that could not be loaded: how often, and when it is tried again
        self._attempts, self._next = 0, 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follower", daemon=True)

    def start(self) -> None:
        """Begin to follow, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop following."""
        self._stop.set()

    def _follow(self) -> None:
        looks = 0  # that failed since the last that did not
        while not self._stop.is_set():
            try:
                self._move_to(self._location.current())
                looks = 0
            except Exception as error:  # noqa: BLE001 - whatever fails, the served model goes on serving
                looks += 1
                self._report(error)
            self._stop.wait(_pause(self._poll, looks, LOOK_PAUSE))

    def _move_to(self, model: Hashable) -> None:
        """Serve this model; if loading it fails, try again later, and longer after each time."""
        if self.served is not None and self.served.identity == model:
            if self.problem:
                LOGGER.info("Solved: %s", self.problem)
            self.problem = ""
            return
        if model != self._broken:
            self._attempts, self._next = 0, 0.0
        if time.monotonic() < self._next:
            return
        slow = threading.Timer(SLOW, self._say, [f"The model is still loading after {SLOW:g} seconds: {STORAGE}"])
        slow.daemon = True
        try:
            if not self._attempts:  # later, the error of the last attempt says more
                slow.start()
            served = self._location.load(model)
            served.try_example()
        except Exception as error:  # noqa: BLE001 - its code may be of any age
            self._attempts += 1
            self._broken, self._next = model, time.monotonic() + _pause(self._poll, self._attempts, LOAD_PAUSE)
            self._report(error)
            return
        finally:
            slow.cancel()
        action = "Serving" if self._answers else "Shadowing with"
        LOGGER.info("%s %s instead of %s", action, served.name, self.served.name if self.served else "no model")
        self.served, self.problem, self._broken = served, "", None
        if self._answers:
            VERSION.set(served.version or math.nan)
            TRAINED.set(served.trained or math.nan)
            LOADED.set_to_current_time()
        # What the model and its libraries are made of stays: looking through it again and again for garbage delayed
        # the slowest requests by 0.3 seconds.
        gc.unfreeze()
        gc.collect()
        gc.freeze()

    def _report(self, error: Exception) -> None:
        if self._answers:
            FAILURES.inc()
        self._say(reason(error))

    def _say(self, problem: str) -> None:
        """Keep the problem for /health/ready, and log it once."""
        if problem != self.problem:
            going_on = f"; {self.served.name} goes on serving" if self.served and self._answers else ""
            LOGGER.warning("%s%s", problem.rstrip("."), going_on)
        self.problem = problem


def _pause(poll: float, failures: int, longest: float) -> float:
    """Return the seconds until the next attempt: the polling time, doubled after each failure in a row."""
    return max(poll, min(poll * 2.0 ** min(failures - 1, 60), longest))
