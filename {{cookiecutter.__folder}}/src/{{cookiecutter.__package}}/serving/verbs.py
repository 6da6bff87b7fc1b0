"""The verb of the service."""

import os
from tempfile import TemporaryDirectory
from typing import Any, NoReturn

import typer

from ..errors import ProjectError

app = typer.Typer()
KEY = "`python -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one"


@app.command()
def serve() -> None:
    """Serve the champion over HTTP until Ctrl-C: /predict, with a page that explains it at /docs."""
    # One thread predicts a few rows faster than several that wait for each other. OpenMP reads this when it is loaded.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    # The follower itself asks again, and meanwhile says what is wrong. MLflow would wait for minutes for a server that
    # accepts connections but does not answer, and PostgreSQL's client for ever.
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "1"
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "4")
    os.environ.setdefault("PGCONNECT_TIMEOUT", "8")
    from uvicorn import Config
    from uvicorn.config import LOGGING_CONFIG

    from ..ops.settings import PACKAGE, read_settings
    from .access import LOOPBACK
    from .workers import Workers

    settings = read_settings()
    if settings.serve_host not in LOOPBACK and not settings.serve_api_key:
        raise ProjectError(
            f"SERVE_HOST is {settings.serve_host}, which other machines reach, so .env needs SERVE_API_KEY: {KEY}."
        )
    if settings.shadow and not settings.prediction_log:
        raise ProjectError("SHADOW=challenger writes to the prediction log, so .env needs PREDICTION_LOG, a folder.")
    level = settings.prefect_logging_level
    own = {PACKAGE: {"handlers": ["default"], "level": level, "propagate": False}}
    options: dict[str, Any] = {
        "app": f"{__package__}.app:create_app",
        "factory": True,
        "host": settings.serve_host,
        "port": settings.serve_port,
        "workers": settings.serve_workers,
        "timeout_graceful_shutdown": 7,
        "timeout_worker_healthcheck": 60,  # a worker that loads a large model may not answer for a while
        "log_config": LOGGING_CONFIG | {"loggers": LOGGING_CONFIG["loggers"] | own},
        "log_level": level.lower(),
        "access_log": level == "DEBUG",
    }
    if settings.serve_workers == 1:
        run(**options)
    with TemporaryDirectory(prefix="metrics-") as folder:
        # Where the processes count together, whichever of them is asked.
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        Workers(Config(**options)).run()


def run(**options: Any) -> NoReturn:
    """Run uvicorn, and end without waiting for threads: those that download a model may hang."""
    import uvicorn

    code: Any = 0
    try:
        uvicorn.run(**options)
    except SystemExit as end:
        code = end.code
    os._exit(code or 0)
