"""The service: builds the application around its routes."""

import gc
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.middleware.trustedhost import TrustedHostMiddleware

from ..errors import ProjectError
from ..ops.settings import PACKAGE, Settings, read_settings
from ..ops.tracking.registry import CHALLENGER
from .access import LOOPBACK, Access
from .batches import Batches, BusyError
from .follower import Follower
from .locations import Alias, location
from .observed import Observed
from .openapi import describe
from .prediction_log import PredictionLog
from .routes import NotReadyError, Service, public, router
from .schema import Fault, RefusedError
from .shadow import Shadow

STATIC = "/static-offline-docs"  # where fastapi-offline puts Swagger's files
DARK_MODE = (
    b'<script>document.documentElement.classList.toggle("dark-mode", '
    b'matchMedia("(prefers-color-scheme: dark)").matches)</script>'
)
LAST_SECONDS = 0.8  # for shadow and log each: a SIGTERM ends the service within 10 s, and 7 are for requests


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the service from .env; it loads its model once it runs."""
    settings = settings or read_settings()
    follower = Follower(location(settings), settings.serve_poll_seconds)
    listeners = after_answers(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        follower.start()
        for listener in listeners:
            listener.start()
        yield
        follower.stop()
        for listener in reversed(listeners):  # the shadow writes to the log
            listener.stop(LAST_SECONDS)
        gc.freeze()  # otherwise Python looks through all objects before it exits, for two seconds of computing

    app = FastAPIOffline(
        title=PACKAGE.replace("_", "-"),  # which a narrow page can wrap
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        exception_handlers=answers_to_errors(settings.serve_timeout),
    )
    app.state.service = Service(settings, follower, Batches(max_waiting=10 * settings.serve_max_rows), listeners)
    app.include_router(router)
    app.add_api_route("/docs", docs, include_in_schema=False)
    # Made anew each time, as the model may have changed.
    app.openapi = lambda: describe(app, follower.served)  # type: ignore[method-assign]
    app.add_middleware(Access, key=settings.serve_api_key, max_bytes=settings.serve_max_bytes)
    if settings.serve_host in LOOPBACK:
        # Otherwise a web page could ask, by a name of its own that means this machine.
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=[*LOOPBACK, "[::1]"])
    app.add_middleware(Observed)
    return app


def docs(request: Request) -> HTMLResponse:
    """Return Swagger's page, with its files from this service, in the browser's colours."""
    root = request.scope.get("root_path", "")
    page = get_swagger_ui_html(
        title=request.app.title,
        openapi_url=f"{root}/openapi.json",
        swagger_js_url=f"{root}{STATIC}/swagger-ui-bundle.js",
        swagger_css_url=f"{root}{STATIC}/swagger-ui.css",
        swagger_favicon_url=f"{root}{STATIC}/favicon.png",
        swagger_ui_parameters={"tryItOutEnabled": True},
    )
    return HTMLResponse(bytes(page.body).replace(b"</head>", DARK_MODE + b"</head>"))


def after_answers(settings: Settings) -> list[PredictionLog | Shadow]:
    """Return what each answered request is passed on to."""
    if not settings.prediction_log:
        return []
    log = PredictionLog(settings.prediction_log)
    if not settings.shadow:
        return [log]
    challenger = Alias(CHALLENGER, settings.serve_max_rows)
    return [log, Shadow(Follower(challenger, settings.serve_poll_seconds, answers=False), log)]


def answers_to_errors(timeout: float) -> dict[Any, Any]:
    """Return how each kind of error is answered: by its sentence, and with no traceback."""

    def unavailable(_: Request, error: ProjectError) -> JSONResponse:
        return _detail(503, str(error), {"Retry-After": "1"})

    def unpredictable(_: Request, error: ProjectError) -> JSONResponse:
        return _detail(422, [Fault(row=None, field=None, rule="model", value=None, message=public(str(error)))])

    return {
        RefusedError: lambda _, error: _detail(422, error.faults),
        NotReadyError: unavailable,
        BusyError: unavailable,
        ProjectError: unpredictable,
        TimeoutError: lambda *_: _detail(503, f"Not answered within {timeout:g} seconds.", {"Retry-After": "1"}),
        Exception: lambda *_: _detail(500, "The service failed on this request; its log says why."),
    }


def _detail(status: int, detail: Any, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)
