"""The training flow: source → ingest → validate → features → train → evaluate → promote → register."""

from contextlib import suppress
from pathlib import Path

import polars as pl
from httpx import TransportError
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from ..config import Contract, Model, Split
from ..model.predictor import Predictor, Recipe
from ..ops import files
from ..ops.files import File
from ..ops.notify.hooks import NOTIFIED
from ..ops.orchestration import run_locks
from ..ops.orchestration.policies import CACHED, RETRY, reuse
from ..ops.orchestration.results import TrainingResult
from ..ops.orchestration.task_runner import task_runner
from ..ops.orchestration.violations import violations_kept
from ..ops.paths import CONTRACT, HOLDOUT, MADE, MODELS, PARAMS, PLOTS, PROFILE, REPORT, TABLE, TRAINING
from ..ops.settings import PACKAGE, project_root, read_contract, read_params
from ..ops.tracking import runs
from ..ops.versioning import dvc, git
from ..ops.versioning.content import digest_of_code
from ..ops.versioning.provenance import PATCH, Provenance, Record, digests
from ..steps import drift, evaluate, ingest, split, train, validate
from ..steps.search import outcome
from .evaluation import evaluate_model, link_report
from .promotion import choose_alias, register_model
from .search import search_parameters


@task(name="ingest", timeout_seconds=3600, **RETRY, **CACHED)
def ingest_table(source: File, null_values: list[str], types: dict[str, str]) -> list[File]:
    """Read the source and keep it as Parquet: as it is, if it is that already."""
    with ingest.readable(source.path):
        if ingest.is_as_kept(source.full, null_values):
            files.copy(source.full, TABLE)
            table = source.model_copy(update={"path": TABLE})
        else:
            ingest.read(source.full, null_values, types, lambda rows: files.write_parquet({TABLE: rows}))
            table = File.at(TABLE)
    get_run_logger().info("Read %s", source.path)
    return [table]


@task(name="validate", timeout_seconds=3600, cache_policy=NO_CACHE, **RETRY)
def validate_table(table: File, contract: Contract) -> None:
    """Stop here if the table is not what the contract says; keep the rows that break it, and show some in Prefect."""
    with violations_kept(), ingest.readable(table.path):
        validate.check(pl.scan_parquet(table.full), contract)
    get_run_logger().info("The table keeps contract.yaml")


@task(name="features", timeout_seconds=3600, **RETRY, **CACHED)
def build_features(table: File, recipe: Recipe, parts: Split) -> list[File]:
    """Build the features of all labelled rows, and split them into training and holdout."""
    raw = pl.scan_parquet(table.full)
    rows = ingest.drop_unlabelled(raw, recipe.data.target)
    recipe.check_features(rows.head(5))
    built = recipe.build_features(rows, labelled=True)
    units = split.find_units(built, parts, list(recipe.inputs.columns), recipe.data.target)
    holdout = split.holdout(units, parts)
    files.write_parquet({TRAINING: built.filter(~holdout), HOLDOUT: built.filter(holdout)})
    if parts.column is None and (copies := split.copied(units)):
        get_run_logger().info("%d rows are copies of other rows; they stay on the same side of the split", copies)
    get_run_logger().info(
        "%d rows to train on, %d in the holdout (%s split), %d dropped because their target is missing",
        len(holdout) - holdout.sum(),
        holdout.sum(),
        parts.by,
        raw.select(pl.len()).collect().item() - len(holdout),
    )
    return File.all_at([TRAINING, HOLDOUT])


@task(name="train", timeout_seconds=6 * 3600, cache_policy=NO_CACHE, **RETRY)
def train_model(training: File, recipe: Recipe, model: Model, seed: int) -> Predictor:
    """Fit the pipeline and save it with its recipe, and with a profile of its training data."""
    pipeline = train.build_pipeline(recipe.data.problem, model.estimator, model.params, seed)
    table = pl.read_parquet(training.full)
    rows = table.select(recipe.columns)
    fitted = train.fit(pipeline, rows, table.get_column(recipe.data.target))
    predictor = Predictor(fitted, recipe)
    predictor.save(project_root() / MODELS)
    profile = drift.profile(rows.lazy()).model_dump_json(exclude_none=True)
    (project_root() / MODELS / PROFILE).write_text(profile, encoding="utf-8")
    get_run_logger().info("Fitted %s on %d rows", model.estimator, table.height)
    return predictor


@flow(name="training", task_runner=task_runner(), **NOTIFIED)
def training(*, record: bool = False) -> TrainingResult:
    """Train the model of params.yaml on its table, judge it, and register it as champion or challenger.

    With `record` DVC is told what was made, as `dvc repro` does by itself.
    """
    with run_locks.marked(str(flow_run.id)), run_locks.alone():
        trained = train_and_register()
        if record:
            dvc.record()
    return trained


def train_and_register() -> TrainingResult:
    """Run the steps in their order."""
    params, contract = read_params(), read_contract()
    recipe = Recipe.of(params, contract)
    source = File.at(Path(params.data.source))
    [table] = reuse(ingest_table)(source, params.data.null_values, dict(contract.types))
    validate_table(table, contract)
    training_rows, holdout = reuse(build_features)(table, recipe, params.split)
    used = [source, File.at(CONTRACT), File.at(PARAMS)]
    code = git.code()
    _announce(code)
    origin = Provenance.of(code, (str(flow_run.id), str(flow_run.name)), params.split, used)
    with runs.run(origin.tags()) as run_id:
        runs.log_patch(code.patch)
        model, candidates = search_parameters(run_id, training_rows, recipe, params)
        tuned = params.model_copy(update={"model": model})
        predictor = train_model(training_rows, recipe, model, params.split.seed)
        metrics = evaluate_model(predictor, [training_rows, holdout], tuned, candidates, (run_id, origin))
        rows = pl.scan_parquet(table.full).select(pl.len()).collect().item()
        runs.log_dataset(run_id, source.path, source.md5, contract, rows)
        runs.log_results(
            run_id, tuned.model_dump(), metrics | outcome(candidates), project_root() / PLOTS, project_root() / REPORT
        )
        origin = origin._replace(outputs=digests(File.all_at(MADE)))
        verdict = choose_alias(params.gate, predictor, metrics, holdout, origin)
        version, decision = register_model(recipe, MODELS, table, origin, verdict)
        Record(
            code=digest_of_code(),
            params=params.model_dump(mode="json"),
            deps=dict(origin.inputs),
            outs=dict(origin.outputs),
        ).write()
    trained = TrainingResult(metrics, version, decision.alias, decision.reason)
    # The model is registered: a server that has gone away meanwhile takes nothing of it back.
    with suppress(TransportError):
        link_report(run_id)
        create_markdown_artifact(summary(trained, run_id), key="training", description="What this run made")
    return trained


def _announce(code: git.Code) -> None:
    """Say if the commit alone cannot rebuild what is about to be trained."""
    if code.patch:
        changed = ", ".join(code.changed)
        get_run_logger().warning("Not committed: %s; kept beside the model as %s", changed, PATCH)
    elif code.commit == "none":
        get_run_logger().warning("There is no git commit: `reproduce` will not be able to rebuild this version")


def summary(trained: TrainingResult, run_id: str) -> str:
    """Say in Markdown what a training made, and where MLflow keeps it."""
    rows = "\n".join(f"| {line.replace(' ', ' | ', 1)} |" for line in evaluate.compared(trained.metrics))
    outcome = f"Version {trained.version} of {PACKAGE} is **{trained.alias}**: {trained.reason}."
    return f"{outcome}\n\n| holdout | |\n| --- | --- |\n{rows}\n\nMLflow run `{run_id}`\n"
