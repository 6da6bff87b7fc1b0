"""Draw the plots, as SVG files that are the same for the same model."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

from ..config import Problem
from ..steps.evaluate import Predictions
from ..steps.search import Candidate
from . import curves
from .importance import Importance

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(
        color=["#2f6fb5", "#d9822b", "#3a9a5b", "#b5445d", "#7a5cab", "#8a6d5a", "#c46aa7", "#5f6b76"]
    ),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.figsize": (6, 4.2),
    "font.size": 10,
    "grid.color": "#e4e7eb",
    "legend.frameon": False,
    "legend.fontsize": 9,
    # Text that the browser sets, in any script; ids that do not differ from run to run; and "$" is no formula.
    "svg.fonttype": "none",
    "svg.hashsalt": "plots",
    "text.parse_math": False,
}
MOST_CLASSES, MOST_COLUMNS, MOST_POINTS, MOST_SEARCHED, LONGEST = 12, 20, 2000, 6, 22


def draw(problem: Problem, made: Predictions, important: Sequence[Importance], folder: Path) -> None:
    """Write every plot that these predictions allow into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if problem == "regression":
        _regression(made, folder)
    else:
        with _plot(folder / "confusion_matrix.svg") as axes:
            _confusion(made, axes)
        _per_class(made, folder)
    if (curve := curves.calibration(problem, made)) and len(curve.x) > 1:
        with _plot(folder / "calibration.svg", *CALIBRATION[problem]) as axes:
            ends = [min(curve.x.min(), curve.y.min()), max(curve.x.max(), curve.y.max())]
            ends = ends if problem == "regression" else [0, 1]
            axes.plot(ends, ends, color="#9aa5b1", linestyle="--", label="perfect")
            axes.plot(curve.x, curve.y, marker="o", label="this model")
            axes.legend()
    if important:
        _importance(important[:MOST_COLUMNS], folder)


CALIBRATION: dict[Problem, tuple[str, str]] = {
    "classification": ("Chance that the model gave", "Share that came true"),
    "regression": ("Predicted (mean of a tenth of the rows)", "Actual (mean)"),
}


@contextmanager
def _plot(path: Path, x: str = "", y: str = "", size: tuple[float, float] | None = None) -> Iterator[Axes]:
    """Give axes to draw on, and write them."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots()
        axes.set(xlabel=x, ylabel=y)
        yield axes
        _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    with warnings.catch_warnings():
        # The browser sets the text, and has more letters than the font by which Matplotlib measures it.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path, metadata={"Date": None})


def _confusion(made: Predictions, axes: Axes) -> None:
    """Draw the counts of actual and predicted classes; those beyond the most frequent are taken together."""
    labels, counts = np.unique(np.concatenate([made.truth, made.predicted]), return_counts=True)
    most = np.sort(np.argsort(-counts, kind="stable")[: MOST_CLASSES - (len(labels) > MOST_CLASSES)])
    number = np.full(len(labels), len(most))
    number[most] = np.arange(len(most))
    names = [shortened(label) for label in labels[most]] + ["others"] * (len(labels) > len(most))
    matrix = np.zeros((len(names), len(names)), dtype=int)
    cells = [number[np.searchsorted(labels, column)] for column in (made.truth, made.predicted)]
    np.add.at(matrix, tuple(cells), 1)
    axes.imshow(matrix, cmap="Blues", aspect="auto", vmin=0)
    for (row, column), value in np.ndenumerate(matrix):
        dark = value > matrix.max() / 2
        axes.text(column, row, f"{value}", ha="center", va="center", color="white" if dark else "#1f2933")
    wide = len("".join(names)) > 50  # noqa: PLR2004 - characters that fit side by side
    axes.set_xticks(range(len(names)), names, rotation=35 if wide else 0, ha="right" if wide else "center")
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="Predicted", ylabel="Actual")
    axes.grid(visible=False)


def _per_class(made: Predictions, folder: Path) -> None:
    """Draw ROC and precision-recall, of the classes with the smallest areas if there are many."""
    for name, kind, x, y in [
        ("roc", curves.roc, "False positive rate", "True positive rate"),
        ("precision_recall", curves.precision_recall, "Recall", "Precision"),
    ]:
        found = sorted(curves.per_class(made, kind).items(), key=lambda item: item[1].area or 0)
        if not found:
            continue
        with _plot(folder / f"{name}.svg", x, y) as axes:
            worst = found[: len(mpl.rcParams["axes.prop_cycle"])]
            for label, curve in worst:
                thin = curves.thin(curve)
                axes.plot(thin.x, thin.y, label=f"{shortened(label)}  {curve.area:.3f}", clip_on=False)
            if name == "roc":
                axes.plot([0, 1], [0, 1], color="#9aa5b1", linestyle="--", label="chance  0.500")
            axes.set(xlim=(0, 1), ylim=(0, 1.02))
            several = f"the {len(worst)} worst of {len(found)} classes" if len(worst) < len(found) else "area"
            axes.legend(title=several, loc="lower right" if name == "roc" else "lower left")


def _regression(made: Predictions, folder: Path) -> None:
    """Draw predicted against actual, and the residuals."""
    drawn = np.random.default_rng(0).permutation(len(made.truth))[:MOST_POINTS]
    truth, predicted = made.truth[drawn].astype(float), made.predicted[drawn]
    look: dict[str, Any] = {"s": 16, "alpha": 0.6, "linewidths": 0}
    with _plot(folder / "predicted_against_actual.svg", "Predicted", "Actual") as axes:
        ends = [min(truth.min(), predicted.min()), max(truth.max(), predicted.max())]
        axes.plot(ends, ends, color="#9aa5b1", linestyle="--")
        axes.scatter(predicted, truth, **look)
    with _plot(folder / "residuals.svg", "Predicted", "Actual less predicted") as axes:
        axes.axhline(0, color="#9aa5b1", linestyle="--")
        axes.scatter(predicted, truth - predicted, **look)


def _importance(important: Sequence[Importance], folder: Path) -> None:
    size = (6, 1 + 0.28 * len(important))
    with _plot(folder / "importance.svg", "How much worse without it", size=size) as axes:
        names = [shortened(one.column) for one in important]
        axes.barh(range(len(names)), [one.mean for one in important], xerr=[one.std for one in important], height=0.65)
        axes.set_yticks(range(len(names)), names)
        axes.margins(y=0.02)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")


def draw_search(candidates: Sequence[Candidate], metric: str, folder: Path) -> None:
    """Draw the scores over each parameter that was searched, if any was."""
    scored = [candidate for candidate in candidates if not candidate.failure]
    names = list(scored[0].params)[:MOST_SEARCHED] if scored else []
    if not names:
        return
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6, 2.8 * len(names)), layout="constrained")
        for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
            values = [candidate.params[name] for candidate in scored]
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
            at = values if numbers else [shortened(value) for value in values]
            axes.errorbar(
                at,
                [candidate.mean for candidate in scored],
                [candidate.std for candidate in scored],
                fmt="o",
                elinewidth=0.7,
            )
            if numbers and min(values) > 0 and max(values) > 20 * min(values):
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter("{x:g}")
            elif all(isinstance(value, int) for value in values):
                axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.set(xlabel=name, ylabel=metric)
        _save(figure, folder / "search.svg")


def shortened(label: object) -> str:
    """Return a label that fits beside an axis: its two ends, for long names often differ at the last."""
    text, half = str(label), LONGEST // 2
    return text if len(text) <= LONGEST else f"{text[:half]}…{text[1 - half :]}"
