"""The training flow: source → ingest → validate → features → train → evaluate → promote → register."""

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
from httpx import TransportError
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from .. import liveness, storage, tracking, versioning
from ..contract import Contract, read_contract
from ..params import Model, Params, Split, read_params
from ..predictor import PIPELINE, RECIPE, Predictor, Recipe
from ..settings import root
from ..steps import evaluate, features, ingest, monitor, split, train, validate
from ..steps.search import outcome
from ..task_runner import task_runner
from ..versioning import Code
from . import parquet
from .evaluation import METRICS, PLOTS, REPORT, SERIES, evaluate_model, link_report
from .notified import NOTIFIED
from .policies import PACKAGE, RETRIED, REUSED, File, reuse
from .promotion import choose_alias, register_model
from .results import Trained
from .search import search_parameters
from .violations import violations_kept

TABLE = Path("data/processed/table.parquet")
TRAINING = Path("data/processed/training.parquet")
HOLDOUT = Path("data/processed/holdout.parquet")
MODELS = Path("models")
PROFILE = "profile.json"
RECORD = Path("reports/provenance.json")
# All that dvc.yaml lists as made, but the record of it.
MADE = (TABLE, TRAINING, HOLDOUT, MODELS / PIPELINE, MODELS / RECIPE, MODELS / PROFILE, METRICS, PLOTS, SERIES, REPORT)


@task(name="ingest", timeout_seconds=3600, **RETRIED, **REUSED)
def ingest_table(source: File, null_values: list[str], types: dict[str, str]) -> list[File]:
    """Read the source and keep it as Parquet: as it is, if it is that already."""
    with ingest.readable(source.path):
        if ingest.is_as_kept(source.full, null_values):
            parquet.copy(source.full, TABLE)
            table = source.model_copy(update={"path": TABLE})
        else:
            try:
                parquet.write({TABLE: ingest.read_table(source.full, null_values, types)})
            except pl.exceptions.ComputeError:
                # A value is not of its type: kept as text, the table is complete, and validation says where it is not.
                parquet.write({TABLE: ingest.read_table(source.full, null_values)})
            table = File.at(TABLE)
    get_run_logger().info("Read %s", source.path)
    return [table]


@task(name="validate", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRIED)
def validate_table(table: File, contract: Contract) -> None:
    """Stop here if the table is not what the contract says; keep the rows that break it, and show some in Prefect."""
    with violations_kept(), ingest.readable(table.path):
        validate.check(pl.scan_parquet(table.full), contract)
    get_run_logger().info("The table keeps contract.yaml")


@task(name="features", timeout_seconds=3600, **RETRIED, **REUSED)
def build_features(table: File, recipe: Recipe, kept_back: Split) -> list[File]:
    """Build the features of all labelled rows, and keep some rows back as the holdout."""
    raw = pl.scan_parquet(table.full)
    rows = ingest.conform(ingest.drop_unlabelled(raw, recipe.data.target), recipe.contract)
    features.check_alone(rows.head(5).collect(), recipe.features, hidden=recipe.data.target)
    found = split.units(rows, kept_back, list(recipe.inputs.columns), recipe.data.target)
    kept = split.keep_back(found, kept_back)
    built = features.build(rows, recipe.features, hidden=recipe.data.target)
    parquet.write({TRAINING: built.filter(~kept), HOLDOUT: built.filter(kept)})
    if kept_back.column is None and (copies := split.copied(found)):
        get_run_logger().info("%d rows are copies of other rows; they stay on the same side of the split", copies)
    unlabelled = raw.select(pl.len()).collect().item() - len(kept)
    get_run_logger().info(
        "%d rows to learn from, %d kept back (by %s), %d dropped for want of a target",
        len(kept) - kept.sum(),
        kept.sum(),
        kept_back.by,
        unlabelled,
    )
    return File.all_at([TRAINING, HOLDOUT])


@task(name="train", timeout_seconds=6 * 3600, cache_policy=NO_CACHE, **RETRIED)
def train_model(training: File, recipe: Recipe, model: Model, seed: int) -> Predictor:
    """Fit the pipeline and save it with its recipe, and with a profile of the rows that it has learned from."""
    pipeline = train.build_pipeline(recipe.data.problem, model.estimator, model.params, seed)
    table = pl.read_parquet(training.full)
    rows = table.select(recipe.columns)
    fitted = train.fit(pipeline, rows, table.get_column(recipe.data.target))
    predictor = Predictor(fitted, recipe)
    predictor.save(root() / MODELS)
    known = monitor.profile(rows.lazy())
    (root() / MODELS / PROFILE).write_text(known.model_dump_json(exclude_none=True), encoding="utf-8")
    get_run_logger().info("Fitted %s on %d rows", model.estimator, table.height)
    return predictor


@flow(name="training", task_runner=task_runner(), **NOTIFIED)
def training(*, record: bool = False) -> Trained:
    """Train the model of params.yaml on its table, judge it, and register it as champion or challenger.

    With `record` DVC is told what was made, as `dvc repro` does by itself.
    """
    with liveness.marked(str(flow_run.id)), liveness.alone():
        trained = train_and_register()
        if record:
            storage.record()
    return trained


def train_and_register() -> Trained:
    """Run the steps in their order."""
    params, contract = read_params(), read_contract()
    recipe = Recipe.of(params, contract)
    raw = File.at(Path(params.data.source))
    [table] = reuse(ingest_table)(raw, params.data.null_values, dict(contract.types))
    validate_table(table, contract)
    learned, kept = reuse(build_features)(table, recipe, params.split)
    used = [raw, File.at(Path("contract.yaml")), File.at(Path("params.yaml"))]
    code = versioning.code()
    _announce(code)
    with tracking.run(provenance(code, params.split, used)) as run_id:
        tracking.log_patch(code.patch)
        model, tried = search_parameters(run_id, learned, recipe, params)
        tuned = params.model_copy(update={"model": model})
        predictor = train_model(learned, recipe, model, params.split.seed)
        origin = {"MLflow run": run_id} | described(code, used)
        metrics = evaluate_model(predictor, [learned, kept], tuned, tried, origin)
        rows = pl.scan_parquet(table.full).select(pl.len()).collect().item()
        tracking.log_dataset(run_id, raw.path, raw.md5, contract, rows)
        tracking.log_results(run_id, tuned.model_dump(), metrics | outcome(tried), root() / PLOTS, root() / REPORT)
        made = File.all_at(MADE)
        tags = provenance(code, params.split, used, made)
        verdict = choose_alias(params.gate, predictor, metrics, kept, tags)
        version, decision = register_model(recipe, MODELS, table, tags, verdict)
        _record(params, used, made)
    trained = Trained(metrics, version, decision.alias, decision.reason)
    # The model is registered: a server that has gone away meanwhile takes nothing of it back.
    with suppress(TransportError):
        link_report(run_id)
        create_markdown_artifact(report(trained, run_id), key="training", description="What this run made")
    return trained


def provenance(code: Code, kept_back: Split, used: list[File], made: Sequence[File] = ()) -> dict[str, str]:
    """Return the tags that tie a run or model to its origin: git commit, flow run, and the MD5s that dvc.lock has."""
    lock = {
        "deps": {str(file.path): file.md5 for file in used},
        "outs": {str(file.path): file.md5 for file in made},
    }
    return {
        "git.commit": str(code),
        "git.changed": ", ".join(code.changed)[:1000],
        "prefect.flow_run_id": str(flow_run.id),
        "prefect.flow_run_name": str(flow_run.name),
        "dvc.lock": json.dumps(lock),
        "split": kept_back.model_dump_json(),
        **{f"input.{file.path}": file.md5 for file in used},
    }


def described(code: Code, used: list[File]) -> dict[str, str]:
    """Say to people which code, flow run and data it was."""
    commit, run, moment = str(code), str(flow_run.name), datetime.now(UTC)
    files = {f"{file.path} (MD5)": file.md5 for file in used}
    return {"time": f"{moment:%Y-%m-%d %H:%M} UTC", "git commit": commit, "Prefect flow run": run} | files


def _announce(code: Code) -> None:
    """Say if the commit alone cannot rebuild what is about to be trained."""
    if code.patch:
        changed = ", ".join(code.changed)
        get_run_logger().warning("Not committed: %s; kept beside the model as %s", changed, tracking.PATCH)
    elif code.commit == "none":
        get_run_logger().warning("There is no git commit: `reproduce` will not be able to rebuild this version")


def _record(params: Params, used: list[File], made: list[File]) -> None:
    """Write what this run read and made: by this, which git keeps, dvc.lock is checked where there is no data."""
    content = {
        "code": versioning.digest_of_code(PACKAGE),
        "params": params.model_dump(mode="json"),
        "deps": {str(file.path): file.md5 for file in used},
        "outs": {str(file.path): file.md5 for file in made},
    }
    (root() / RECORD).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def report(trained: Trained, run_id: str) -> str:
    """Say in Markdown what a training made, and where MLflow keeps it."""
    rows = "\n".join(f"| {line.replace(' ', ' | ', 1)} |" for line in evaluate.compared(trained.metrics))
    outcome = f"Version {trained.version} of {tracking.NAME} is **{trained.alias}**: {trained.reason}."
    return f"{outcome}\n\n| holdout | |\n| --- | --- |\n{rows}\n\nMLflow run `{run_id}`\n"
