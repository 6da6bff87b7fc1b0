"""What a task costs, and how many candidates a minute are tried, by task runner: a part of `make bench`."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
WORKERS = (1, 2)
# Candidates of about a second, each of which uses one core. An earlier search has had the workers import all.
CODE = """
import json, sys, time
from penguin_model import orchestration

def timed(work, count):
    start = time.perf_counter()
    assert len(work()) == count
    return time.perf_counter() - start

with orchestration.api() as session:
    from joblib import Parallel, delayed
    from prefect import flow, task, unmapped
    from penguin_model import tracking
    from penguin_model.contract import read_contract
    from penguin_model.flows import search
    from penguin_model.flows.policies import File
    from penguin_model.flows.training import TRAINING
    from penguin_model.params import Model, Search, read_params
    from penguin_model.predictor import Recipe
    from penguin_model.steps.search import candidates
    from penguin_model.task_runner import task_runner

    workers, tasks, tries = json.loads(sys.argv[1])
    training = File.at(TRAINING)
    estimator = "sklearn.ensemble.RandomForestClassifier"
    forest = Model(estimator=estimator, params={"n_estimators": 100, "n_jobs": 1})

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
        with tracking.run({}) as run_id:
            def look(params):
                recipe = Recipe.of(params, read_contract())
                return search.search_parameters(run_id, training, recipe, params)[1]

            look(wish(2 * workers, 1))
            return each, timed(lambda: look(wish(tries, 2)), tries)

    with session():
        each, searched = measured()

    params = wish(tries, 2)
    recipe = Recipe.of(params, read_contract())
    trial = search.Trial(recipe=recipe, model=forest, split=params.split, folds=5, metric=params.gate.metric)
    bare = lambda tried: list(Parallel(n_jobs=workers)(
        delayed(search.try_candidate.fn)(one, training, trial) for one in tried))
    bare(candidates(params.search, 3)[:2 * workers])
    compared = timed(lambda: bare(candidates(params.search, 2)), tries)
print(json.dumps([each, tries / searched * 60, tries / compared * 60]))
"""


def main(scratch: Path, tasks: int = 100, tries: int = 24) -> None:
    """Generate a project of each kind, and print a row for each number of workers."""
    print(
        f"\n{'task runner':<14}{'workers':>8}{'ms a task':>11}{'candidates/min':>16}{'joblib':>8}{'ratio':>8}"
    )
    for compute in ("threads", "dask", "ray"):
        # Ray's sockets lie below its folder, and a socket's path is at most 107 characters long.
        folder = scratch / compute
        bake = [
            sys.executable,
            "-m",
            "cookiecutter",
            "--no-input",
            str(ROOT),
            f"compute={compute}",
            "--output-dir",
        ]
        subprocess.run([*bake, str(folder)], check=True, stdout=subprocess.DEVNULL)
        project = folder / "penguin-model"
        for target in ("setup", "train"):
            subprocess.run(["make", target], cwd=project, check=True, capture_output=True)
        for workers in WORKERS:
            # A candidate that was tried is not tried again.
            shutil.rmtree(project / ".prefect/storage")
            command = [str(project / ".venv/bin/python"), "-c", CODE, json.dumps([workers, tasks, tries])]
            # joblib and the task runners ask the same for the number of cores.
            env = os.environ | {"LOKY_MAX_CPU_COUNT": str(workers)}
            done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(done.stderr)
            each, own, bare = json.loads(done.stdout.splitlines()[-1])
            row = f"{compute:<14}{workers:>8}{each * 1000:>11.0f}{own:>16.0f}{bare:>8.0f}{own / bare:>8.2f}"
            print(row, flush=True)
