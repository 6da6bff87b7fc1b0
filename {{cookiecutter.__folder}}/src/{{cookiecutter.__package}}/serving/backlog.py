"""Answered requests that wait for the prediction log or the challenger, after their answers have gone."""

import threading
import time
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

import polars as pl
from prometheus_client import Counter

from .served import Served

LIMIT = 100_000_000  # bytes of memory
ENTRY = 8_000  # bytes of two tables of one row


class Answered(NamedTuple):
    """A request with its predictions."""

    served: Served
    role: str
    request_id: str
    at: datetime
    body: bytes
    rows: pl.DataFrame
    predictions: pl.DataFrame

    @property
    def cost(self) -> int:
        """About how many bytes of memory it takes."""
        return ENTRY + 2 * len(self.body)


class Backlog:
    """Answered requests that a thread has not dealt with yet; when they take too much memory, new ones are dropped."""

    def __init__(self, dropped: Counter, limit: int = LIMIT) -> None:
        """Prepare; `dropped` counts the rows that are refused."""
        self.open = True
        self._dropped, self._limit = dropped, limit
        self._waiting: list[Answered] = []
        self._cost = 0
        self._least = 1  # requests that the thread waits for
        self._changed = threading.Condition()

    def put(self, answered: Answered) -> None:
        """Add a request, or drop it if too much waits; never wait."""
        with self._changed:
            if not self.open or (self._cost and self._cost + answered.cost > self._limit):
                self._dropped.inc(answered.rows.height)
                return
            self._waiting.append(answered)
            self._cost += answered.cost
            if len(self._waiting) >= self._least:
                self._changed.notify()

    def take(self, least: int, most: int, seconds: float) -> Sequence[Answered]:
        """Wait for `least` requests, but not longer than some seconds; return at most `most` of those that wait.

        They count as waiting until `release`.
        """
        end = time.monotonic() + seconds
        with self._changed:
            self._least = least
            while self.open and len(self._waiting) < least and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            taken, self._waiting = self._waiting[:most], self._waiting[most:]
        return taken

    def release(self, cost: int) -> None:
        """Make room again after requests of this cost have been dealt with."""
        with self._changed:
            self._cost -= cost

    def close(self) -> None:
        """Accept nothing more, and end the waiting."""
        with self._changed:
            self.open = False
            self._changed.notify()
