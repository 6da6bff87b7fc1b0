"""What a task costs, and how many candidates a minute are tried, by task runner: a part of `make bench`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
WORKERS = (1, 2)
# Candidates of about a second, each of which uses one core. Those of the penguins are many small fits, which
# are Python's work for the most part; those of the larger table are few large ones, which leave its lock.
TREES = {"penguins, 344 rows": 100, "20 000 rows": 6}
MAKE = """
import polars as pl
rows = pl.int_range(20_000)
noise = [((rows.hash(seed) % 10_000) / 10_000).alias(f"n{seed}") for seed in range(12)]
kind = (pl.col("n0") * 3 + pl.col("n1") ** 2).cast(int)
pl.select(*noise).with_columns(y=pl.format("class {}", kind)).write_parquet("rows.parquet")
"""
# An earlier search has had the workers import all.
CODE = """
import json, sys, time
from penguin_model.ops.orchestration.session import api

def timed(work, count):
    start = time.perf_counter()
    assert len(work()) == count
    return time.perf_counter() - start

with api() as session:
    from joblib import Parallel, delayed
    from prefect import flow, task, unmapped
    from penguin_model.ops.settings import PACKAGE as NAME
    from penguin_model.ops.tracking import runs
    from penguin_model.ops.settings import read_contract
    from penguin_model.flows import search
    from penguin_model.ops.files import File
    from penguin_model.ops.paths import TRAINING
    from penguin_model.config import Model, Search
    from penguin_model.ops.settings import read_params
    from penguin_model.model.predictor import Recipe
    from penguin_model.steps.search import draw_candidates
    from penguin_model.ops.orchestration.task_runner import task_runner

    workers, tasks, tries, trees = json.loads(sys.argv[1])
    training = File.at(TRAINING)
    estimator = "sklearn.ensemble.RandomForestClassifier"
    forest = Model(estimator=estimator, params={"n_estimators": trees, "n_jobs": 1})

    def wish(count, seed):
        ranges = {"max_features": {"low": 0.2, "high": 1.0}, "max_depth": {"low": 2, "high": 9}}
        own = read_params()
        split = own.split.model_copy(update={"seed": seed})
        chosen = Search(params=ranges, candidates=count, folds=5)
        return own.model_copy(update={"split": split, "model": forest, "search": chosen})

    @task
    def nothing(number):
        return number

    @flow(task_runner=task_runner())
    def measured():
        many = lambda count: [future.result() for future in nothing.map(range(count))]
        many(2 * workers)
        each = timed(lambda: many(tasks), tasks) / tasks
        with runs.run({}) as run_id:
            def look(params):
                recipe = Recipe.of(params, read_contract())
                return search.search_parameters(run_id, training, recipe, params)[1]

            look(wish(2 * workers, 1))
            return each, timed(lambda: look(wish(tries, 2)), tries)

    with session():
        each, searched = measured()

    params = wish(tries, 2)
    recipe = Recipe.of(params, read_contract())
    metric = params.gate.metric
    trial = search.TrialConfig(recipe=recipe, model=forest, split=params.split, folds=5, metric=metric)
    bare = lambda tried: list(Parallel(n_jobs=workers)(
        delayed(search.try_candidate.fn)(one, training, trial) for one in tried))
    bare(draw_candidates(params.search, 3)[:2 * workers])
    compared = timed(lambda: bare(draw_candidates(params.search, 2)), tries)
print(json.dumps([each, tries / searched * 60, tries / compared * 60]))
"""


def main(scratch: Path, tasks: int = 100, tries: int = 24) -> None:
    """Generate a project of each kind, and print a row for each table and number of workers."""
    print(f"\n{'task runner':<14}{'table':<22}{'workers':>8}{'ms a task':>11}", end="")
    print(f"{'candidates/min':>16}{'joblib':>8}{'ratio':>7}", flush=True)
    for compute in ("threads", "dask", "ray"):
        # Ray's sockets lie below its folder, and a socket's path is at most 107 characters long.
        folder = scratch / compute
        bake = [sys.executable, "-m", "cookiecutter", "--no-input", str(ROOT), "--output-dir", str(folder)]
        subprocess.run([*bake, f"compute={compute}"], check=True, stdout=subprocess.DEVNULL)
        project = folder / "penguin-model"
        run(["make", "setup", "train"], project)
        for table, trees in TREES.items():
            if table != next(iter(TREES)):
                run([".venv/bin/python", "-c", MAKE], project)
                run([".venv/bin/penguin-model", "adopt", "rows.parquet", "--target", "y"], project)
                run(["make", "train"], project)
            for workers in WORKERS:
                # A candidate that was tried is not tried again.
                shutil.rmtree(project / ".prefect/storage")
                asked = json.dumps([workers, tasks, tries, trees])
                # joblib and the task runners ask the same for the number of cores.
                env = {"LOKY_MAX_CPU_COUNT": str(workers)}
                said = run([".venv/bin/python", "-c", CODE, asked], project, env)
                each, own, bare = json.loads(said.splitlines()[-1])
                row = f"{each * 1000:>11.0f}{own:>16.0f}{bare:>8.0f}{own / bare:>7.2f}"
                print(f"{compute:<14}{table:<22}{workers:>8}{row}", flush=True)


def run(command: list[str], folder: Path, env: dict[str, str] | None = None) -> str:
    """Run a command to its end; return what it printed, or stop with what it complained of."""
    done = subprocess.run(
        command, cwd=folder, env=os.environ | (env or {}), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout
