"""The project's files, relative to its root. dvc.yaml lists those of a training, too; a test compares both lists."""

from pathlib import Path

from ..model import PIPELINE, RECIPE

PARAMS, CONTRACT = Path("params.yaml"), Path("contract.yaml")
RAW = Path("data/raw")
TABLE = Path("data/processed/table.parquet")
TRAINING = Path("data/processed/training.parquet")
HOLDOUT = Path("data/processed/holdout.parquet")
MODELS = Path("models")
PROFILE = "profile.json"  # in MODELS
METRICS = Path("reports/metrics.json")
PLOTS = Path("reports/plots")
SERIES = Path("reports/series")
REPORT = Path("reports/report.html")
# All outputs of a training, except its record.
MADE = (TABLE, TRAINING, HOLDOUT, MODELS / PIPELINE, MODELS / RECIPE, MODELS / PROFILE, METRICS, PLOTS, SERIES, REPORT)
RECORD = Path("reports/provenance.json")
LOCK = Path("dvc.lock")
VIOLATIONS = Path("reports/violations.parquet")
ROWS, LABELS = Path("data/scoring/rows.parquet"), Path("data/scoring/labels.parquet")
SCORING = Path("data/scoring")
PREDICTIONS = Path("data/predictions")
REJECTS = Path("reports/rejects.parquet")
DRIFT, DRIFT_PAGE = Path("reports/drift.json"), Path("reports/drift.html")
