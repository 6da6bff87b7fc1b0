"""The training flow: ingest → validate → features → search → train → evaluate → promote → register → deploy."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import polars as pl
from httpx import TransportError
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact
from prefect.runtime import flow_run

from ..config import Contract, Model, Params, Split
from ..model import persistence
from ..model.predictor import Predictor, Recipe
from ..ops import files
from ..ops.files import File
from ..ops.markdown import escape
from ..ops.notify.channel import NOTIFIED
from ..ops.orchestration import run_locks
from ..ops.orchestration.policies import CACHED, RETRY, STEP, reuse
from ..ops.orchestration.results import TrainingResult
from ..ops.orchestration.task_runner import task_runner
from ..ops.orchestration.violations import violations_kept
from ..ops.paths import CONTRACT, HOLDOUT, MADE, MODELS, PARAMS, PLOTS, REPORT, TABLE, TRAINING
from ..ops.settings import PACKAGE, artifact_key, project_root, read_contract, read_params
from ..ops.tracking import registry, runs
from ..ops.versioning import dvc, git
from ..ops.versioning.content import digest_of_code
from ..ops.versioning.provenance import PATCH, Provenance, Record, digests
from ..steps import evaluate, ingest, split, train, validate
from ..steps.search import outcome
from .evaluation import evaluate_model
from .promotion import choose_alias, deploy, register_model
from .search import search_parameters


@flow(name="training", task_runner=task_runner(), **NOTIFIED)
def training(*, record: bool = False, cause: str = "") -> TrainingResult:
    """Train the model of params.yaml, compare it with the champion, and register it as champion or challenger.

    With `record`, the run is recorded in dvc.lock, as `dvc repro` does for the runs that it starts. `cause` is what
    started the training, for the model's lineage.
    """
    with run_locks.exclusive(str(flow_run.id)):
        result = train_and_register(cause)
        if record:
            dvc.record()
    return result


def train_and_register(cause: str = "") -> TrainingResult:
    """Run the steps in order."""
    params, contract = read_params(), read_contract()
    recipe = Recipe.of(params, contract)
    # Report an estimator that cannot be built or saved before the work starts.
    estimator, values = params.model.estimator, params.model.params
    persistence.serialized(train.build_pipeline(params.data.problem, estimator, values), params.model.trusted)
    # Otherwise these would be reported only when the model is trained, or even registered.
    registry.champion().history.check()
    dvc.check_writable()
    with ingest.readable(params.data.source):
        source = File.at(Path(params.data.source))
    [table] = reuse(ingest_table)(source, params.data.null_values, dict(contract.types))
    validate_table(table, contract)
    training_rows, holdout = reuse(build_features)(table, recipe, params.split)
    with _mlflow_run(params, contract, source, table, cause) as (run_id, origin):
        model, candidates = search_parameters(run_id, training_rows, recipe, params)
        tuned = params.model_copy(update={"model": model})
        predictor = train_model(training_rows, recipe, model, params.split.seed)
        metrics = evaluate_model(predictor, [training_rows, holdout], tuned, candidates, (run_id, origin))
        runs.log_results(
            run_id, tuned.model_dump(), metrics | outcome(candidates), project_root() / PLOTS, project_root() / REPORT
        )
        complete = origin._replace(outputs=digests(File.all_at(MADE)))
        verdict = choose_alias(params.gate, predictor, metrics, holdout, complete)
        # Where the data is missing, dvc.lock is checked against this.
        values, deps, outs = params.model_dump(mode="json"), dict(complete.inputs), dict(complete.outputs)
        Record(code=digest_of_code(), params=values, deps=deps, outs=outs).write()
        version, decision = register_model(recipe, MODELS, table, complete, verdict)
    result = TrainingResult(metrics, version, decision.alias, decision.reason, verdict[1], cause)
    # The model is registered: a Prefect server that is gone by now does not fail the run.
    with suppress(TransportError):
        if result.alias == registry.CHAMPION:
            result = result._replace(deployment=deploy(version))
        link, about = runs.link(run_id, REPORT.name), "Metrics, plots and the origin of the model"
        create_link_artifact(link, "Report", key=artifact_key("report"), description=about)
        result_page = summary(result, run_id)
        create_markdown_artifact(result_page, key=artifact_key("training"), description="The result of this training")
    return result


@task(name="ingest", timeout_seconds=3600, **RETRY, **CACHED)
def ingest_table(source: File, null_values: list[str], types: dict[str, str]) -> list[File]:
    """Read the source and write it as Parquet; copy it if it is already in that form."""
    with ingest.readable(source.path):
        if ingest.is_as_kept(source.full, null_values):
            files.copy(source.full, TABLE)
            table = source.model_copy(update={"path": TABLE})
        else:
            ingest.read(source.full, null_values, types, lambda rows: files.write_parquet({TABLE: rows}))
            table = File.at(TABLE)
        notes = ingest.notes(source.full, table.scan())
    for line in (f"Read {source.path}", *notes):
        get_run_logger().info(line)
    return [table]


@task(name="validate", **STEP)
def validate_table(table: File, contract: Contract) -> None:
    """Stop if the table violates the contract; write the rows that violate it to a file, and show some in Prefect."""
    with violations_kept(), ingest.readable(table.path):
        validate.check(table.scan(), contract)
    get_run_logger().info("The table satisfies contract.yaml")


@task(name="features", timeout_seconds=3600, **RETRY, **CACHED)
def build_features(table: File, recipe: Recipe, parts: Split) -> list[File]:
    """Build the features of all labelled rows, and split them into training rows and holdout."""
    raw = table.scan()
    recipe.check_features(raw.head(5))
    # Only with the types of the contract it is clear which values are missing: NaN, for one.
    built = ingest.drop_unlabelled(recipe.build_features(raw, labelled=True), recipe.data.target)
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


@task(name="train", **STEP | {"timeout_seconds": 6 * 3600})
def train_model(training: File, recipe: Recipe, model: Model, seed: int) -> Predictor:
    """Fit the pipeline; save it with its recipe."""
    pipeline = train.build_pipeline(recipe.data.problem, model.estimator, model.params, seed)
    table = training.scan().collect()
    rows, target = table.select(recipe.columns), table.get_column(recipe.data.target)
    if recipe.data.problem == "classification" and (note := train.slow(pipeline, target.n_unique())):
        get_run_logger().warning(note)
    fitted = train.fit(pipeline, rows, target)
    predictor = Predictor(fitted, recipe)
    predictor.save(project_root() / MODELS)
    get_run_logger().info("Fitted %s on %d rows", model.estimator, table.height)
    return predictor


@contextmanager
def _mlflow_run(
    params: Params, contract: Contract, source: File, table: File, cause: str
) -> Iterator[tuple[str, Provenance]]:
    """Open an MLflow run that records code and data; yield its id and the model's provenance."""
    code = git.code()
    inputs = [source, File.at(CONTRACT), File.at(PARAMS)]
    origin = Provenance.of(code, (str(flow_run.id), str(flow_run.name)), params.split, inputs)._replace(cause=cause)
    warn = get_run_logger().warning
    if origin.patched:
        warn("Uncommitted changes in %s; the MLflow run keeps them as %s", origin.changed, PATCH)
    if origin.left_out:
        warn("Changes not kept in %s, so git alone cannot rebuild this version: %s", PATCH, origin.left_out)
    if origin.commit is None:
        warn("There is no git commit, so `reproduce` cannot rebuild this version")
    with runs.run(origin.tags()) as run_id:
        runs.log_patch(code.patch)
        rows = table.scan().select(pl.len()).collect().item()
        runs.log_dataset(run_id, source.path, source.md5, contract, rows)
        yield run_id, origin


def summary(result: TrainingResult, run_id: str) -> str:
    """Return the result of a training as Markdown."""
    rows = "\n".join(f"| {line.replace(' ', ' | ', 1)} |" for line in evaluate.compared(result.metrics))
    sentence = f"Version {result.version} of {PACKAGE} is **{result.alias}**: {escape(result.reason)}."
    deployment = f"{escape(result.deployment)}.\n\n" if result.deployment else ""
    return f"{sentence}\n\n{deployment}| holdout | |\n| --- | --- |\n{rows}\n\nMLflow run `{run_id}`\n"
