"""Runs in MLflow: what went into each and what came out of it; registered models are in registry.py."""

import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import packages_distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit
from zipfile import ZipFile

import mlflow
import polars as pl
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema, TensorSpec
from mlflow.types.schema import AnyType
from mlflow.utils import requirements_utils
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID
from mlflow.utils.validation import MAX_DATASET_SCHEMA_SIZE

from ...config import Column, Contract
from ...errors import ProjectError
from ...model import PIPELINE, predictor
from ...model.predictor import Recipe
from ...steps.search import Candidate
from ..addresses import redacted
from ..settings import PACKAGE, PACKAGE_DIR, read_settings
from ..versioning.provenance import FLOW_RUN, PATCH
from . import digests
from .connection import UNREACHABLE, connect, store_errors
from .keys import as_keys

TYPES = {
    "string": DataType.string,
    "integer": DataType.long,
    "float": DataType.double,
    "boolean": DataType.boolean,
    "date": DataType.datetime,
    "datetime": DataType.datetime,
}
# Imported by every registered model when it is loaded; recorded in the versions that trained it.
MODEL_REQUIREMENTS = ("mlflow", "pandas", "polars", "pydantic", "scikit-learn", "skops", "skrub")


@contextmanager
def run(tags: Mapping[str, str]) -> Iterator[str]:
    """Open a run with these tags and yield its id; it ends FINISHED, or FAILED after an exception.

    Raises ProjectError if the server stops answering, or if .env moves the artifacts away from those of earlier runs.
    """
    client = connect()
    with store_errors():
        enter_experiment(client, PACKAGE)
    try:
        with mlflow.start_run(tags=as_keys(tags)) as active:
            yield active.info.run_id
    except MlflowException as error:
        if UNREACHABLE not in str(error):
            raise
        raise ProjectError(
            f"The MLflow server at {mlflow.get_tracking_uri()} stopped answering: start it, and run the same command "
            "again. Finished steps are reused, and no half-registered version is left behind."
        ) from None


def enter_experiment(client: MlflowClient, name: str) -> str:
    """Make an experiment the active one and return its id; the first run creates it and fixes where artifacts go."""
    settings = read_settings()
    # A server chooses that place itself.
    if settings.mlflow_tracking_uri.startswith("sqlite:"):
        root, experiment = settings.mlflow_artifact_root, client.get_experiment_by_name(name)
        if experiment is None:
            client.create_experiment(name, root)
        elif "mlflow_artifact_root" in settings.model_fields_set and experiment.artifact_location != root:
            raise ProjectError(
                f"MLFLOW_ARTIFACT_ROOT is {root}, but the artifacts of earlier runs are at "
                f"{experiment.artifact_location}, where MLflow keeps those of later runs, too: set it back, or start "
                "another database with MLFLOW_TRACKING_URI=sqlite:///other.db."
            )
    # Creates the experiment on a server, even if others do so at the same moment.
    return str(mlflow.set_experiment(name).experiment_id)


def end_killed(flow_run_id: str) -> bool:
    """Mark the RUNNING runs of a flow run whose process is gone as KILLED; return whether one had finished."""
    client = connect()
    experiment = client.get_experiment_by_name(PACKAGE)
    query = f"tags.`{FLOW_RUN}` = '{flow_run_id}'"
    runs = client.search_runs([experiment.experiment_id], query) if experiment else []
    for run_ in runs:
        if run_.info.status == "RUNNING":
            client.set_terminated(run_.info.run_id, "KILLED")
    return any(run_.info.status == "FINISHED" for run_ in runs)


def log_dataset(run_id: str, file: Path, md5: str, contract: Contract, rows: int) -> None:
    """Record which table a run was trained on: name, digest (MD5, as in DVC), source, columns and number of rows.

    MLflow's own function needs the whole table in memory.
    """
    columns: list[ColSpec | TensorSpec] = [
        ColSpec(TYPES[column.type], name) for name, column in contract.columns.items()
    ]
    schema = json.dumps({"mlflow_colspec": Schema(columns).to_dict()})
    dataset = Dataset(
        name=file.name,
        digest=md5,
        source_type="local",
        source=json.dumps({"uri": str(file)}),
        # MLflow refuses the schema of a very wide table; the model's signature has it.
        schema=schema if len(schema) <= MAX_DATASET_SCHEMA_SIZE else None,
        profile=json.dumps({"num_rows": rows, "num_elements": rows * len(columns)}),
    )
    MlflowClient().log_inputs(run_id, [DatasetInput(dataset, [InputTag(MLFLOW_DATASET_CONTEXT, "training")])])


def log_candidate(parent: str, number: int, candidate: Candidate, metric: str, seconds: float) -> None:
    """Record a candidate of a search below its run: FINISHED with its scores, or FAILED with the reason as a tag."""
    client, now = MlflowClient(), int(time.time() * 1000)
    tags = {MLFLOW_PARENT_RUN_ID: parent} | ({"failure": candidate.failure} if candidate.failure else {})
    experiment, begin = client.get_run(parent).info.experiment_id, now - int(seconds * 1000)
    run_id = client.create_run(experiment, begin, tags, f"candidate-{number}").info.run_id
    # One metric holds the score of each fold as a step.
    scores = [Metric(f"search.{metric}_of_fold", value, now, fold) for fold, value in enumerate(candidate.scores)]
    if not candidate.failure:
        summary = {f"search.{metric}": candidate.mean, f"search.{metric}_std": candidate.std}
        scores += [Metric(name, value, now, 0) for name, value in summary.items()]
    named = {f"model.params.{name}": str(value) for name, value in candidate.params.items()}
    client.log_batch(run_id, scores, [Param(key, value) for key, value in as_keys(named).items()])
    client.set_terminated(run_id, "FAILED" if candidate.failure else "FINISHED", now)


def log_results(
    run_id: str, params: Mapping[str, Any], metrics: Mapping[str, float], plots: Path, report: Path
) -> None:
    """Record parameters (nested names are joined by dots), metrics, plots and the report in a run."""
    now = int(time.time() * 1000)
    values = [Metric(name, value, now, 0) for name, value in metrics.items()]
    parameters = [Param(key, str(value)) for key, value in as_keys(dict(flatten(params))).items()]
    MlflowClient().log_batch(run_id, values, parameters)
    mlflow.log_artifacts(str(plots), "plots", run_id=run_id)
    mlflow.log_artifact(str(report), run_id=run_id)


def link(run_id: str, artifact: str) -> str:
    """Return the address of a run's artifact: a page of the server, or the file if there is no server."""
    info = MlflowClient().get_run(run_id).info
    if urlsplit(info.artifact_uri or "").scheme == "file":
        return f"{info.artifact_uri}/{artifact}"
    uri = redacted(mlflow.get_tracking_uri())
    return f"{uri}/#/experiments/{info.experiment_id}/runs/{run_id}/artifacts/{artifact}"


def flatten(params: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested parameters as pairs of a dotted name and a value."""
    for name, value in params.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def log_patch(patch: bytes) -> None:
    """Log uncommitted changes of the code to the active run, if there are any."""
    if patch:
        with TemporaryDirectory() as scratch:
            file = Path(scratch) / PATCH
            file.write_bytes(patch)
            mlflow.log_artifact(str(file))


def log_model(folder: Path, recipe: Recipe, example: pl.DataFrame) -> tuple[str, dict[str, str]]:
    """Log the model in `folder` to the active run, with its signature for raw rows.

    Returns the model's URI, and a tag with the digests of its files.
    """
    regression = recipe.data.problem == "regression"
    predicted = DataType.double if regression else TYPES[recipe.contract.columns[recipe.data.target].type]
    options = ParamSchema([ParamSpec("probabilities", DataType.boolean, default=False)])
    signature = ModelSignature(Schema(inputs(recipe.inputs)), Schema([ColSpec(predicted)]), options)
    # An integer column that may be missing is float in the signature, so also in the example.
    doubles = [name for name, column in recipe.inputs.columns.items() if _type(column) == DataType.double]
    with _unscanned(), _packed_code() as code, _digested() as logged:
        info = mlflow.pyfunc.log_model(
            name="model",
            loader_module=predictor.__name__,
            data_path=str(folder),
            code_paths=[code],
            pip_requirements=_requirements(folder / PIPELINE),
            signature=signature,
            input_example=example.cast(dict.fromkeys(doubles, pl.Float64)).to_pandas(),
        )
    return info.model_uri, {digests.TAG: json.dumps(logged)}


@contextmanager
def _digested() -> Iterator[dict[str, str]]:
    """Yield the digests of the files of a model that is logged in the block.

    They are computed before MLflow uploads the files, as others may write to the storage.
    """
    logged: dict[str, str] = {}
    upload = MlflowClient.log_model_artifacts

    def compute_and_upload(self: MlflowClient, model_id: str, local_dir: str, artifact_path: str | None = None) -> None:
        logged.update(digests.compute(Path(local_dir)))
        upload(self, model_id, local_dir, artifact_path)

    MlflowClient.log_model_artifacts = compute_and_upload  # type: ignore[method-assign]
    try:
        yield logged
    finally:
        MlflowClient.log_model_artifacts = upload  # type: ignore[method-assign]


def inputs(contract: Contract) -> list[ColSpec | TensorSpec]:
    """Return what a prediction takes, in the types of MLflow."""
    return [ColSpec(_type(column), name, required=not column.nullable) for name, column in contract.columns.items()]


def _requirements(pipeline: Path) -> list[str]:
    """Return the versions of the libraries that load a saved pipeline, also of those that its owner has added.

    To infer them, MLflow would load the model in another process, for ten seconds.
    """
    with ZipFile(pipeline) as archive:
        modules = {name.decode() for name in re.findall(rb'"__module__": "(\w+)', archive.read("schema.json"))}
    libraries = packages_distributions()
    names = {*MODEL_REQUIREMENTS, *(name for module in modules - {PACKAGE} for name in libraries.get(module, []))}
    return [f"{name}=={version(name)}" for name in sorted(names)]


@contextmanager
def _packed_code() -> Iterator[str]:
    """Copy the modules that travel with a model for the block: those that the predictor imports."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / PACKAGE
        shutil.copytree(PACKAGE_DIR / "model", copy / "model", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("__init__.py", "config.py", "errors.py"):
            shutil.copyfile(PACKAGE_DIR / name, copy / name)
        yield str(copy)


@contextmanager
def _unscanned() -> Iterator[None]:
    """Keep MLflow from searching all installed packages for missing requirements: none are missing here."""
    before = requirements_utils._MODULES_TO_PACKAGES  # noqa: SLF001 - there is no other way
    requirements_utils._MODULES_TO_PACKAGES = before or {}  # type: ignore[assignment]  # noqa: SLF001
    try:
        yield
    finally:
        requirements_utils._MODULES_TO_PACKAGES = before  # noqa: SLF001


def _type(column: Column) -> DataType | AnyType:
    if column.spelling:
        # Text that the model itself reads, or numbers and dates: MLflow's own reading of 03.04.2023 may be another.
        return AnyType()  # type: ignore[no-untyped-call]
    # MLflow passes rows in pandas, whose integers cannot be missing.
    return DataType.double if column.type == "integer" and column.nullable else TYPES[column.type]
