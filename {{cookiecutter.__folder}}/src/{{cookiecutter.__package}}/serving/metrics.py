"""What Prometheus reads from /metrics: of all worker processes together, if there are several."""

import os

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

REQUESTS = Counter("serving_requests", "Requests", ["route", "status"])
LATENCY = Histogram("serving_request_seconds", "Time from request to answer", ["route"], buckets=SECONDS)
PREDICTED = Counter("serving_rows", "Predicted rows")
BATCH = Histogram("serving_batch_rows", "Rows predicted at once", buckets=ROWS)
VERSION = Gauge("serving_model_version", "Version of the model that answers", multiprocess_mode="mostrecent")
LOADED = Gauge("serving_model_loaded_timestamp_seconds", "When this model was loaded", multiprocess_mode="mostrecent")
TRAINED = Gauge(
    "serving_model_trained_timestamp_seconds", "When this model was trained", multiprocess_mode="mostrecent"
)
FAILURES = Counter("serving_follow_failures", "Failed attempts to look at the champion or to load it")
LOGGED = Counter("serving_log_rows", "Rows that were written to the prediction log")
LOG_DROPPED = Counter("serving_log_dropped_rows", "Rows that are missing in the prediction log")
LOG_FAILURES = Counter("serving_log_failures", "Failed attempts to write the prediction log")
SHADOWED = Counter("serving_shadow_rows", "Rows that the challenger predicted, too")
SHADOW_DROPPED = Counter("serving_shadow_dropped_rows", "Rows that the challenger had no time for")
SHADOW_FAILED = Counter("serving_shadow_failed_rows", "Rows that the challenger could not predict")


def exposition() -> tuple[bytes, str]:
    """Return the metrics and their media type."""
    registry = REGISTRY
    if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST
