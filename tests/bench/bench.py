"""Time whole commands beside the same work by a bare script: `make bench`. Asserts nothing.

Kedro's spaceflights starter, the one rival that runs as generated, is in no package
registry, so it is not timed here.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bench_compute
import bench_history
import bench_scale
import bench_serving
import bench_width

ROOT = Path(__file__).parents[2]
RUNS, SHORT = 3, 21
BARE = """
import polars as pl, skops.io
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import train_test_split
from skrub import tabular_pipeline
table = pl.read_csv("data/raw/penguins.csv", null_values="NA")
table = table.with_columns(bill_ratio=pl.col("bill_length_mm") / pl.col("bill_depth_mm"))
learned, kept = train_test_split(table, test_size=0.25, random_state=7, stratify=table["species"])
model = tabular_pipeline(HistGradientBoostingClassifier(max_depth=3, max_iter=60, random_state=0))
model.fit(learned.drop("species"), learned["species"].to_numpy())
score = f1_score(kept["species"].to_numpy(), model.predict(kept.drop("species")), average="macro")
skops.io.dump(model, "bare.skops")
"""
# The same with the least that a run in MLflow is: a metric and a registered model.
LOGGED = (
    BARE
    + """
import mlflow
mlflow.set_tracking_uri("sqlite:///bare.db")
with mlflow.start_run():
    mlflow.log_metric("f1_macro", score)
    mlflow.sklearn.log_model(
        model,
        name="model",
        pip_requirements=["scikit-learn", "skrub"],
        registered_model_name="bare",
        serialization_format="skops",
        skops_trusted_types=skops.io.get_untrusted_types(file="bare.skops"),
    )
"""
)


def seconds(
    command: list[str], folder: Path, prepare: Callable[[], object] = lambda: None, runs: int = RUNS
) -> float:
    """Return the median wall time of a command; `prepare` runs before each run and is not counted."""
    times = []
    for _ in range(runs):
        prepare()
        start = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def empty_template(folder: Path) -> Path:
    """Make a template that renders one empty file: what Cookiecutter itself takes."""
    (folder / "{{cookiecutter.project_slug}}").mkdir(parents=True)
    (folder / "{{cookiecutter.project_slug}}/README.md").touch()
    (folder / "cookiecutter.json").write_text(json.dumps({"project_slug": "empty"}))
    return folder


def generation(empty: Path, project: Path) -> tuple[float, float]:
    """Return the seconds that an empty template and this one take, and leave one project."""
    times: dict[Path, list[float]] = {empty: [], ROOT: []}
    render = [sys.executable, "-m", "cookiecutter", "--no-input", "--output-dir"]
    # By turns, and each in a new folder, so that nothing is deleted in between.
    for run, template in itertools.product(range(SHORT + 1), times):
        place = project.parent / f"{template.name}-{run}"
        times[template].append(seconds([*render, str(place), str(template)], project.parent, runs=1))
    (place / project.name).rename(project)
    # The first warms up.
    return statistics.median(times[empty][1:]), statistics.median(times[ROOT][1:])


def main() -> None:
    """Generate a project in a scratch folder, time its commands, and print each beside the bare script's."""
    # The project has an environment of its own, not that of the template, and keeps its bytecode.
    for name in ("VIRTUAL_ENV", "UV_PROJECT_ENVIRONMENT", "PYTHONDONTWRITEBYTECODE"):
        os.environ.pop(name, None)
    (ROOT / "build").mkdir(exist_ok=True)
    # Not among temporary files: ext4 is slow to create files where many were deleted in the last minutes.
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as scratch:
        folder = Path(scratch)
        project = folder / "penguin-model"
        empty, fresh = generation(empty_template(folder / "template"), project)
        variants()
        print(f"\n{f'median of {RUNS} runs':<42}{'seconds':>9}{'to bare':>9}{'beyond':>9}")
        show(f"generate an empty template ({SHORT} runs)", empty, empty)
        show(f"generate the default project ({SHORT} runs)", fresh, empty)

        subprocess.run(["make", "setup"], cwd=project, check=True, stdout=subprocess.DEVNULL)
        (project / "bare.py").write_text(BARE)
        (project / "logged.py").write_text(LOGGED)
        params = project / "params.yaml"
        rates = iter(range(1, 100))

        def change() -> None:
            text = params.read_text()
            params.write_text(text.replace(_rate(text), f"learning_rate: 0.1{next(rates)}"))

        train = ["make", "train"]
        flow = ["uv", "run", "--quiet", "penguin-model", "train"]
        bare = seconds(["uv", "run", "--quiet", "python", "bare.py"], project)
        show("bare script", bare, bare)
        logged = ["uv", "run", "--quiet", "python", "logged.py"]
        seconds(logged, project, runs=1)  # makes the database
        show("bare script that logs to MLflow", seconds(logged, project), bare)
        show("make train, first (one run)", seconds(train, project, runs=1), bare)
        show("make train, one parameter changed", seconds(train, project, change), bare)
        show("make train, nothing changed", seconds(train, project), bare)
        show("the training flow alone, home warm", seconds(flow, project), bare)
        verbs(project)
        update(project, bare)
        bench_serving.main(project)
        show("make test (one run)", seconds(["make", "test"], project, runs=1), bare)
        bench_history.main(project)
        bench_compute.main(folder)
        bench_scale.main(project)
        bench_width.main(project)


def variants() -> None:
    """Print how many projects are rendered and checked per second, and what one more question costs."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "tests/generation/test_variants.py",
        "-k",
        "hold_together and all",
    ]
    run = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for line in run.stdout.splitlines():
        if "variants" in (figure := line.partition("]: ")[2]) or "question" in figure:
            name, _, value = figure.rpartition(": ")
            print(f"{name:<78}{value:>9}", flush=True)


def update(project: Path, bare: float) -> None:
    """Show the update to another answer, which renders the project twice and merges; undo it."""

    def git(*arguments: str) -> None:
        author = ("-c", "user.name=bench", "-c", "user.email=bench@example.org")
        subprocess.run(["git", *author, *arguments], cwd=project, check=True, stdout=subprocess.DEVNULL)

    git("add", "--all")
    git("commit", "--quiet", "--message", "All")
    git("tag", "before")
    command = ["make", "update", "compute=dask"]
    show(
        " ".join(command),
        seconds(command, project, lambda: git("reset", "--quiet", "--hard", "before")),
        bare,
    )
    git("reset", "--quiet", "--hard", "before")


def verbs(project: Path) -> None:
    """Show the verbs that train nothing beside the import of MLflow."""
    program = str(project / ".venv/bin/penguin-model")
    forth = [program, "promote", "2", "--reason", "to be timed"]
    back = [program, "rollback"]

    def call(command: list[str]) -> Callable[[], object]:
        return lambda: subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)

    # It may be that already.
    subprocess.run([program, "promote", "1", "--reason", "to be timed"], cwd=project, check=False)
    imports = seconds([str(project / ".venv/bin/python"), "-c", "import mlflow"], project)
    show("python -c 'import mlflow'", imports, imports)
    for verb in ("status", "journal", "lineage"):
        show(verb, seconds([program, verb], project), imports)
    # It ends with 1 if it finds something.
    show("doctor", seconds(["sh", "-c", f"'{program}' doctor; test $? -le 1"], project), imports)
    show("rollback", seconds(back, project, call(forth)), imports)
    call(forth)()
    show("promote", seconds(forth, project, call(back)), imports)


def show(name: str, taken: float, bare: float) -> None:
    """Print a row as soon as it is there."""
    print(f"{name:<42}{taken:>9.2f}{taken / bare:>9.2f}{taken - bare:>+9.2f}", flush=True)


def _rate(text: str) -> str:
    return next(line.strip() for line in text.splitlines() if "learning_rate" in line)


if __name__ == "__main__":
    main()
