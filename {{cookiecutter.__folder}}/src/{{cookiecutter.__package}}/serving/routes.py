"""The routes: /predict, /model, /health and /metrics."""

import asyncio
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import HTTPException
from fastapi.responses import PlainTextResponse
from pydantic_core import to_json
from starlette.background import BackgroundTask

from ..errors import ProjectError
from ..ops.settings import PACKAGE, Settings
from ..ops.tracking.registry import CHAMPION
from .backlog import Answered
from .batches import Batches
from .follower import Follower
from .metrics import exposition
from .openapi import FAULTY, refusals
from .prediction_log import PredictionLog
from .served import Served
from .shadow import Shadow

router = APIRouter()


# Folders of a path, which say more about this machine than a client needs to know.
FOLDERS = re.compile(r"(?<![\w:/.])(?:file://)?/(?:[^/\s'\"]+/)+")


class NotReadyError(ProjectError):
    """No model has been loaded yet."""


class Service(NamedTuple):
    """What the routes share."""

    settings: Settings
    follower: Follower
    batches: Batches
    listeners: Sequence[PredictionLog | Shadow]

    @property
    def served(self) -> Served:
        """The model that answers; raise NotReadyError if there is none yet."""
        if self.follower.served is None:
            raise NotReadyError(f"Not ready: {public(self.follower.problem)}")
        return self.follower.served


def public(text: str) -> str:
    """Return a sentence for clients: of the paths in it, only the names of the files."""
    return FOLDERS.sub("", text)


def service_of(request: Request) -> Service:
    """Return the service that a request belongs to; as a dependency of FastAPI it would cost more than the body."""
    service: Service = request.app.state.service
    return service


@router.post("/predict", tags=["model"], responses=refusals(401, 413, 415, 503) | FAULTY)
async def predict(request: Request) -> Response:
    """Predict one row (an object) or several (a list of objects)."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException(415, "Send JSON, with Content-Type: application/json.")
    service = service_of(request)
    async with asyncio.timeout(service.settings.serve_timeout):
        served = service.served
        body = await request.body()
        answers, rows, table = await service.batches.predict(served, served.schema.read(body))
    request_id: str = request.state.id
    content = {"model_version": served.version, "request_id": request_id, "predictions": answers}
    answered = Answered(served, CHAMPION, request_id, datetime.now(UTC), body, rows, table)
    after = BackgroundTask(pass_on, service, answered) if service.listeners else None
    return Response(to_json(content), media_type="application/json", background=after)


async def pass_on(service: Service, answered: Answered) -> None:
    """Pass a request on to log and shadow, after its answer has gone."""
    for listener in service.listeners:
        listener.put(answered)


@router.get("/model", tags=["model"], responses=refusals(401, 503))
async def model(request: Request) -> dict[str, Any]:
    """Say which version answers, its metrics, and where it comes from."""
    return dict(service_of(request).served.about)


@router.get("/health/live", tags=["operation"])
async def live() -> dict[str, str]:
    """Say that the process runs."""
    return {"status": "live"}


@router.get("/health/ready", tags=["operation"], responses=refusals(503))
async def ready(request: Request) -> dict[str, Any]:
    """Say whether a model is loaded, and why it is not the champion if it is another."""
    service = service_of(request)
    described = {"model": PACKAGE, "model_version": service.served.version}
    return {"status": "ready", **described, "problem": public(service.follower.problem)}


@router.get("/metrics", tags=["operation"], response_class=PlainTextResponse, responses=refusals(401))
def metrics() -> Response:
    """Return the metrics for Prometheus."""
    content, media_type = exposition()
    return Response(content, media_type=media_type)
