"""The challenger in the shadow: it predicts what the champion has answered, only for the prediction log."""

import logging
import os
import sys
import threading
from collections.abc import Iterator, Sequence

from ..ops.tracking.registry import CHALLENGER
from .backlog import Answered, Backlog
from .batches import predict
from .follower import Follower
from .metrics import SHADOW_DROPPED, SHADOW_FAILED, SHADOWED
from .prediction_log import PredictionLog
from .schema import Row
from .served import Served, reason

LOGGER = logging.getLogger(__name__)
REQUESTS = 64  # predicted at once
NICE = 10  # lower priority than the champion


class Shadow:
    """Predicts in a thread of its own, after the answers have gone; what fails there is in the log and the metrics."""

    def __init__(self, follower: Follower, log: PredictionLog) -> None:
        """Prepare; `follower` follows the challenger."""
        self._follower, self._log = follower, log
        self._backlog = Backlog(SHADOW_DROPPED)
        self._problem = ""
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Begin to follow the challenger and to predict, in threads."""
        self._follower.start()
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Predict what waits, but give up after some seconds."""
        self._follower.stop()
        self._backlog.close()
        self._thread.join(seconds)
        if self._thread.is_alive():
            LOGGER.warning("The service ends before the challenger has predicted the last requests")

    def put(self, answered: Answered) -> None:
        """Add an answered request, if there is a challenger; never wait."""
        if self._challenger(answered.served):
            self._backlog.put(answered)

    def _challenger(self, champion: Served) -> Served | None:
        """Return the challenger, None if there is none now."""
        challenger = self._follower.served
        if challenger is None or self._follower.problem:
            return None  # the follower has logged why
        if challenger.version == champion.version:
            self._report(f"Version {champion.version} is champion and challenger; the shadow waits for another")
            return None
        return challenger

    def _run(self) -> None:
        if sys.platform == "linux":  # where a thread has a priority of its own
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while (taken := self._backlog.take(1, REQUESTS, 1)) or self._backlog.open:
            challenger = self._challenger(taken[0].served) if taken else None
            if challenger:
                self._predict(challenger, taken)
            self._backlog.release(sum(answered.cost for answered in taken))

    def _predict(self, challenger: Served, taken: Sequence[Answered]) -> None:
        requests = list(self._read(challenger, taken))
        results = predict(challenger, [rows for _, rows in requests]) if requests else []
        for (answered, rows), result in zip(requests, results, strict=True):
            if isinstance(result, Exception):
                self._fail(answered, result)
                continue
            SHADOWED.inc(len(rows))
            shadowed = answered._replace(served=challenger, role=CHALLENGER)
            self._log.put(shadowed._replace(rows=result.rows, predictions=result.table))

    def _read(self, challenger: Served, taken: Sequence[Answered]) -> Iterator[tuple[Answered, Sequence[Row]]]:
        """Yield the requests as the challenger reads them: it may need other columns than the champion."""
        for answered in taken:
            try:
                yield answered, challenger.schema.read(answered.body)
            except Exception as error:  # noqa: BLE001 - whatever fails, the champion goes on answering
                self._fail(answered, error)

    def _fail(self, answered: Answered, error: Exception) -> None:
        SHADOW_FAILED.inc(answered.rows.height)
        self._report(f"The challenger cannot predict what the champion has answered: {reason(error)}")

    def _report(self, problem: str) -> None:
        """Log a problem, but not again and again."""
        if problem != self._problem:
            LOGGER.warning("%s", problem)
        self._problem = problem
