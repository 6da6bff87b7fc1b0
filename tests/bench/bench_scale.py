"""Rows against seconds and memory, beside bare scripts in the same run: a part of `make bench`."""

import os
import subprocess
import sys
from pathlib import Path

SIZES = (10**3, 10**5, 10**6, 10**7)
# Twenty columns: 14 numbers, 5 categories, and a target that some of them say something of.
MAKE = """
import sys
import polars as pl
rows = int(sys.argv[1])
noise = [((pl.int_range(rows).hash(seed) % 10_000) / 10_000).alias(f"n{seed}") for seed in range(14)]
kinds = [pl.format("kind {}", pl.int_range(rows).hash(90 + at) % 8).alias(f"k{at}") for at in range(5)]
table = pl.select(pl.int_range(rows)).lazy().select(*noise, *kinds)
table.with_columns(y=pl.col("n0") * 3 + pl.col("n1") + pl.col("n2") ** 2).sink_parquet(sys.argv[2])
"""
# What a person would write who wants the same files: typed, labelled, with a feature, in two parts.
BARE = """
import sys, time
import polars as pl
start = time.perf_counter()
table = pl.scan_parquet(sys.argv[1]).filter(pl.col("y").is_not_null())
table = table.with_columns(ratio=pl.col("n0") / (pl.col("n1") + 1))
kept = pl.col("n3").hash() % 4 == 0
parts = {"bare-holdout.parquet": table.filter(kept), "bare-training.parquet": table.filter(~kept)}
sinks = [part.sink_parquet(name, lazy=True) for name, part in parts.items()]
pl.collect_all(sinks, engine="streaming")
print(time.perf_counter() - start)
"""
STEPS = """
import time
from pathlib import Path
from prefect.logging import disable_run_logger
from penguin_model.ops.settings import read_contract
from penguin_model.flows import training
from penguin_model.ops.files import File
from penguin_model.ops.settings import read_params
from penguin_model.model.predictor import Recipe
params, contract = read_params(), read_contract()
start = time.perf_counter()
with disable_run_logger():
    source = File.at(Path(params.data.source))
    [table] = training.ingest_table.fn(source, params.data.null_values, dict(contract.types))
    training.validate_table.fn(table, contract)
    training.build_features.fn(table, Recipe.of(params, contract), params.split)
print(time.perf_counter() - start)
"""
FIT = """
import sys, time
start = time.perf_counter()
import polars as pl, skops.io
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import root_mean_squared_error
from sklearn.model_selection import train_test_split
from skrub import tabular_pipeline
table = pl.read_parquet(sys.argv[1]).with_columns(ratio=pl.col("n0") / (pl.col("n1") + 1))
learned, kept = train_test_split(table, test_size=0.25, random_state=7)
model = tabular_pipeline(HistGradientBoostingRegressor(max_depth=3, max_iter=60, random_state=0))
model.fit(learned.drop("y"), learned["y"].to_numpy())
root_mean_squared_error(kept["y"].to_numpy(), model.predict(kept.drop("y")))
skops.io.dump(model, "bare.skops")
print(time.perf_counter() - start)
"""
# The same rows, read, learned from and saved, as the training task does it and as a person would.
BARE_TASK = """
import time
import polars as pl, skops.io
from sklearn.ensemble import HistGradientBoostingRegressor
from skrub import tabular_pipeline
start = time.perf_counter()
table = pl.read_parquet("data/processed/training.parquet")
model = tabular_pipeline(HistGradientBoostingRegressor(max_depth=3, max_iter=60, random_state=0))
model.fit(table.drop("y"), table["y"].to_numpy())
skops.io.dump(model, "bare.skops")
print(time.perf_counter() - start)
"""
TASK = """
import time
from pathlib import Path
from prefect.logging import disable_run_logger
from penguin_model.ops.settings import read_contract
from penguin_model.flows import training
from penguin_model.ops.files import File
from penguin_model.ops.settings import read_params
from penguin_model.model.predictor import Recipe
params = read_params()
recipe = Recipe.of(params, read_contract())
learned = File.at(training.TRAINING)
start = time.perf_counter()
with disable_run_logger():
    training.train_model.fn(learned, recipe, params.model, params.split.seed)
print(time.perf_counter() - start)
"""
TRAIN = """
import time
start = time.perf_counter()
from penguin_model.ops.orchestration.session import api
with api() as session:
    from penguin_model.flows.training import training
    with session():
        training()
print(time.perf_counter() - start)
"""


def measure(project: Path, code: str, *arguments: str) -> tuple[float, float]:
    """Run a program in the project; return the seconds that it printed, and its peak memory in MiB."""
    command = [str(project / ".venv/bin/python"), "-c", code, *arguments]
    with subprocess.Popen(
        command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as run:
        assert run.stdout
        said = run.stdout.read().splitlines()
        _, status, usage = os.wait4(run.pid, 0)
        run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        sys.exit(f"A program of the bench ended with {run.returncode}:\n{code}")
    return float(said[-1]), usage.ru_maxrss / 1024


def show(name: str, rows: int, own: tuple[float, float], bare: tuple[float, float]) -> None:
    """Print a row: seconds and MiB of the project, of the bare script, and the ratio of the seconds."""
    ratio = own[0] / bare[0]
    figures = f"{own[0]:>9.1f}{own[1]:>8.0f}{bare[0]:>9.1f}{bare[1]:>8.0f}{ratio:>8.2f}"
    print(f"{name:<26}{rows:>12,}{figures}", flush=True)


def main(project: Path) -> None:
    """Adopt tables of growing size, and print what their way from ingest to features takes."""
    print(f"\n{'':<26}{'rows':>12}{'seconds':>9}{'MiB':>8}{'bare s':>9}{'MiB':>8}{'ratio':>8}")
    for rows in SIZES:
        table = project.parent / f"rows-{rows}.parquet"
        subprocess.run([str(project / ".venv/bin/python"), "-c", MAKE, str(rows), str(table)], check=True)
        adopt = [str(project / ".venv/bin/penguin-model"), "adopt", str(table), "--target", "y"]
        subprocess.run(adopt, cwd=project, check=True, stdout=subprocess.DEVNULL)
        params = project / "params.yaml"
        text = params.read_text(encoding="utf-8")
        params.write_text(text.replace("features: {}", "features: {ratio: n0 / (n1 + 1)}"), encoding="utf-8")
        bare = measure(project, BARE, str(table))
        show("ingest to features", rows, measure(project, STEPS), bare)
        if rows <= 10**6:
            show("the training task", rows, measure(project, TASK), measure(project, BARE_TASK))
            bare = measure(project, FIT, str(table))
            show("all of the training flow", rows, measure(project, TRAIN), bare)
        table.unlink()
