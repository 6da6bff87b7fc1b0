"""Columns and classes against CPU seconds and memory, of adopt and training's steps: for `make bench`."""

import resource
import subprocess
import sys
from pathlib import Path

# Columns and classes. A tenth of the columns are categories; the others are numbers.
SIZES = ((10, 2), (100, 2), (1200, 2), (5000, 2), (10, 30), (10, 300), (10, 1000))
ROWS = 3000
MAKE = """
import sys
import numpy as np, polars as pl
columns, classes, rows = map(int, sys.argv[1:4])
draw = np.random.default_rng(0)
numbers = {f"n{at}": draw.normal(size=rows).round(4) for at in range(columns - columns // 10)}
kinds = {f"k{at}": draw.choice([f"kind {kind}" for kind in range(8)], rows) for at in range(columns // 10)}
rank = (numbers["n0"] + draw.normal(scale=0.3, size=rows)).argsort().argsort()
labels = {"y": [f"class {place * classes // rows}" for place in rank]}
pl.DataFrame(numbers | kinds | labels).write_parquet(sys.argv[4])
"""
# Trees for all classes: those of a model with a tree per class would take longer than everything else.
STEPS = """
import resource, sys, time
from pathlib import Path
from tempfile import TemporaryDirectory
import polars as pl
from prefect.logging import disable_run_logger
from penguin_model.config import Model
from penguin_model.flows import training
from penguin_model.model.predictor import Predictor, Recipe
from penguin_model.ops.files import File
from penguin_model.ops.paths import MODELS
from penguin_model.ops.settings import read_contract, read_params
from penguin_model.report import curves, plots
from penguin_model.report.importance import importance
from penguin_model.report.intervals import intervals
from penguin_model.steps import evaluate

params, contract = read_params(), read_contract()
recipe, problem, target = Recipe.of(params, contract), params.data.problem, params.data.target
model = Model(estimator="sklearn.ensemble.RandomForestClassifier", params={"n_estimators": 20, "n_jobs": 1})
taken = []

def timed(work):
    start = time.process_time()
    result = work()
    taken.append(time.process_time() - start)
    return result

with disable_run_logger():
    source = File.at(Path(params.data.source))
    def prepare():
        [table] = training.ingest_table.fn(source, params.data.null_values, dict(contract.types))
        training.validate_table.fn(table, contract)
        return training.build_features.fn(table, recipe, params.split)
    learned, kept = timed(prepare)
    timed(lambda: training.train_model.fn(learned, recipe, model, params.split.seed))
    predictor = timed(lambda: Predictor.load(MODELS))
    rows, truth = pl.read_parquet(kept.full, columns=recipe.columns), pl.read_parquet(kept.full)[target]
    def judge():
        predictions = evaluate.predict(predictor.pipeline, rows, truth)
        return predictions, evaluate.metrics(problem, predictions)
    predictions, metrics = timed(judge)
    timed(lambda: intervals(problem, predictions, metrics, 7))
    found = timed(lambda: importance(predictor.pipeline, rows, truth, params))
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        drawn = getattr(found, "columns", found)
        def draw():
            plots.draw(problem, predictions, drawn, folder)
            curves.write(problem, predictions, folder)
        timed(draw)
taken.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2)
print(" ".join(f"{figure:.2f}" for figure in taken))
"""
NAMES = ("adopt", "to features", "fit, save", "load", "metrics", "intervals", "importance", "plots", "GiB")


def main(project: Path) -> None:
    """Adopt tables of growing width, and print a row of CPU seconds for each."""
    python = str(project / ".venv/bin/python")
    print(
        f"\n{'CPU seconds':<12}{'columns':>8}{'classes':>8}",
        *(f"{name:>14}" for name in NAMES),
        sep="",
        flush=True,
    )
    for columns, classes in SIZES:
        table = project.parent / f"wide-{columns}-{classes}.parquet"
        sizes = [str(number) for number in (columns, classes, ROWS)]
        subprocess.run([python, "-c", MAKE, *sizes, str(table)], check=True)
        adopt = [str(project / ".venv/bin/penguin-model"), "adopt", str(table), "--target", "y"]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(adopt, cwd=project, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        adopting = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        run = subprocess.run([python, "-c", STEPS], cwd=project, capture_output=True, text=True, check=False)
        if run.returncode:
            sys.exit(run.stderr)
        taken = [f"{adopting:.2f}", *run.stdout.splitlines()[-1].split()]
        print(
            f"{'':<12}{columns:>8,}{classes:>8,}",
            *(f"{figure:>14}" for figure in taken),
            sep="",
            flush=True,
        )
        table.unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
