"""Predicts in batches: all requests that arrive while a batch is computed make up the next one."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import accumulate
from typing import Any, NamedTuple

import polars as pl

from ..errors import ProjectError
from .metrics import BATCH, PREDICTED
from .schema import Row, answers
from .served import Served

BATCH_ROWS = 64
QUIET = 0.004  # seconds without a new request, after which a batch no longer waits for more


class BusyError(ProjectError):
    """More requests are waiting than can be answered in time."""


class Predicted(NamedTuple):
    """The answers for the rows of a request; and both as tables."""

    answers: Sequence[dict[str, Any]]
    rows: pl.DataFrame
    table: pl.DataFrame


class Request(NamedTuple):
    """Rows that wait for an answer from the model that their schema belongs to."""

    served: Served
    rows: Sequence[Row]
    answer: asyncio.Future[Predicted]


class Batches:
    """Collects requests for a thread of its own, so that the event loop stays free."""

    def __init__(self, max_waiting: int) -> None:
        """Prepare; at most `max_waiting` rows wait."""
        self._waiting: list[Request] = []
        self._rows = 0
        self._max_waiting = max_waiting
        self._thread = ThreadPoolExecutor(1, "predict")
        self._expected = 1  # requests, if each client that was just answered asks again
        self._complete = asyncio.Event()  # so many wait
        self._working: asyncio.Task[None] | None = None

    async def predict(self, served: Served, rows: Sequence[Row]) -> Predicted:
        """Return the predictions for some rows; raise BusyError if too many rows wait already."""
        if self._rows + len(rows) > self._max_waiting and self._waiting:
            raise BusyError("Too many requests are waiting; try again in a moment.")
        request = Request(served, rows, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        self._rows += len(rows)
        if len(self._waiting) >= self._expected:
            self._complete.set()
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return await request.answer

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            await self._gather()
            batch = self._next()
            requests = [request.rows for request in batch]
            results = await loop.run_in_executor(self._thread, predict, batch[0].served, requests)
            self._expected = min(len(batch) + len(self._waiting), BATCH_ROWS)
            BATCH.observe(sum(map(len, requests)))
            for request, result in zip(batch, results, strict=True):
                if request.answer.done():  # the client has gone
                    continue
                if isinstance(result, Exception):
                    request.answer.set_exception(result)
                else:
                    PREDICTED.inc(len(request.rows))
                    request.answer.set_result(result)

    async def _gather(self) -> None:
        """Wait while the clients that were just answered ask again.

        A batch of a few rows takes about as long as one of many, so starting too early doubles everybody's time.
        """
        waiting = 0
        self._complete.clear()
        while waiting < len(self._waiting) < self._expected:
            waiting = len(self._waiting)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._complete.wait(), QUIET)

    def _next(self) -> list[Request]:
        """Take the requests that wait for the same model, up to the size of a batch, but at least one."""
        first, size, taken = self._waiting[0].served, 0, 0
        for request in self._waiting:
            if request.served is not first or (taken and size + len(request.rows) > BATCH_ROWS):
                break
            size += len(request.rows)
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._rows -= size
        return batch


def predict(served: Served, requests: Sequence[Sequence[Row]]) -> list[Predicted | Exception]:
    """Predict the rows of all requests at once; if that fails, each request by itself."""
    try:
        rows = served.schema.frame([row for request in requests for row in request])
        table = served.predictions(rows)
        found = answers(table)
    except Exception as error:  # noqa: BLE001 - belongs to the request that causes it
        if len(requests) == 1:
            return [error]
        return [result for request in requests for result in predict(served, [request])]
    sizes = list(map(len, requests))
    return [
        Predicted(found[start : start + size], rows.slice(start, size), table.slice(start, size))
        for start, size in zip(accumulate(sizes, initial=0), sizes, strict=False)
    ]
