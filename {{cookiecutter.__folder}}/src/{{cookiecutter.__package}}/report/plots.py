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
from sklearn.metrics import ConfusionMatrixDisplay, PredictionErrorDisplay

from ..config import Problem
from ..errors import printable
from ..steps.evaluate import Predictions
from ..steps.search import Candidate
from . import curves
from .importance import Importance

COLORS = ["#2f6fb5", "#d9822b", "#3a9a5b", "#b5445d", "#7a5cab", "#8a6d5a", "#c46aa7", "#5f6b76"]
REFERENCE: Any = {"color": "#9aa5b1", "linestyle": "--"}
STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=COLORS),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 10,
    "grid.color": "#e4e7eb",
    "legend.frameon": False,
    "legend.fontsize": 9,
    # The browser sets the text, in any script; ids do not differ from run to run; "$" does not start a formula.
    "svg.fonttype": "none",
    "svg.hashsalt": "plots",
    "text.parse_math": False,
}
MAX_CLASSES, MAX_COLUMNS, MAX_POINTS, MAX_SEARCHED, MAX_LABEL = 12, 20, 2000, 6, 22
CALIBRATION: dict[Problem, tuple[str, str]] = {
    "classification": ("Predicted probability", "Share that came true"),
    "regression": ("Predicted (mean of the group)", "Actual (mean of the group)"),
}


def draw(problem: Problem, predictions: Predictions, importances: Sequence[Importance], folder: Path) -> None:
    """Write every plot that these predictions allow into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if problem == "regression":
        _errors(predictions, folder)
    else:
        _confusion(predictions, folder)
        _per_class(predictions, folder)
    curve = curves.calibration(problem, predictions)
    if curve and len(curve.x) > 1:
        with _axes(folder / "calibration.svg") as [axes]:
            ends = (min(*curve.x, *curve.y), max(*curve.x, *curve.y)) if problem == "regression" else (0, 1)
            axes.plot(ends, ends, label="perfect", **REFERENCE)
            axes.plot(curve.x, curve.y, marker="o", label="this model")
            axes.set(xlabel=CALIBRATION[problem][0], ylabel=CALIBRATION[problem][1])
            axes.legend()
    if importances:
        _importance(importances[:MAX_COLUMNS], folder)


def draw_search(candidates: Sequence[Candidate], metric: str, folder: Path) -> None:
    """Draw the scores over each parameter that was searched, if any."""
    scored = [candidate for candidate in candidates if not candidate.failure]
    names = list(scored[0].params)[:MAX_SEARCHED] if scored else []
    if not names:
        return
    means, stds = [candidate.mean for candidate in scored], [candidate.std for candidate in scored]
    with _axes(folder / "search.svg", 2.8 * len(names), len(names)) as all_axes:
        for axes, name in zip(all_axes, names, strict=True):
            values = [candidate.params[name] for candidate in scored]
            numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
            at = values if numbers else [shortened(value) for value in values]
            axes.errorbar(at, means, stds, fmt="o", elinewidth=0.7)
            if numbers and min(values) > 0 and max(values) > 20 * min(values):
                axes.set_xscale("log")
                axes.xaxis.set_major_formatter("{x:g}")
            elif all(isinstance(value, int) for value in values):
                axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            axes.set(xlabel=name, ylabel=metric)


@contextmanager
def _axes(path: Path, height: float = 4.2, rows: int = 1) -> Iterator[Sequence[Axes]]:
    """Yield axes to draw on, one below the other, and save them."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        figure = Figure(figsize=(6, height), layout="constrained")
        yield list(figure.subplots(rows, squeeze=False)[:, 0])
        # The browser sets the text, and has more letters than the font by which Matplotlib measures it.
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(path, metadata={"Date": None})


def _confusion(predictions: Predictions, folder: Path) -> None:
    """Draw the counts of actual and predicted classes; all but the most frequent classes count as "others"."""
    both = np.concatenate([predictions.truth, predictions.predicted])
    labels, codes, counts = np.unique(both, return_inverse=True, return_counts=True)
    shown = np.sort(np.argsort(-counts, kind="stable")[: MAX_CLASSES - (len(labels) > MAX_CLASSES)])
    places = np.full(len(labels), len(shown))
    places[shown] = np.arange(len(shown))
    names = [shortened(label) for label in labels[shown]] + ["others"] * (len(labels) > len(shown))
    actual, predicted = np.split(places[codes], 2)
    matrix = np.bincount(len(names) * actual + predicted, minlength=len(names) ** 2).reshape(len(names), -1)
    look = {"cmap": "Blues", "aspect": "auto", "vmin": 0}
    with _axes(folder / "confusion_matrix.svg") as [axes]:
        display = ConfusionMatrixDisplay(matrix, display_labels=names)
        display.plot(ax=axes, im_kw=look, values_format="d", colorbar=False)
        axes.set(xlabel="Predicted", ylabel="Actual")
        axes.grid(visible=False)
        if len("".join(names)) > 50:  # noqa: PLR2004 - characters that fit side by side
            axes.tick_params(axis="x", labelrotation=35, labelrotation_mode="xtick")


def _per_class(predictions: Predictions, folder: Path) -> None:
    """Draw ROC and precision-recall: of all classes, or of those with the smallest areas."""
    for name, kind, x, y, drawstyle in [
        ("roc", curves.roc, "False positive rate", "True positive rate", "default"),
        # Between two points there is no precision to interpolate: the area is that below the steps.
        ("precision_recall", curves.precision_recall, "Recall", "Precision", "steps-pre"),
    ]:
        by_class = sorted(curves.per_class(predictions, kind).items(), key=lambda item: item[1].area or 0)
        worst = by_class[: len(COLORS)]
        if not worst:
            continue
        with _axes(folder / f"{name}.svg") as [axes]:
            for label, curve in worst:
                thin, text = curves.thin(curve), f"{shortened(label)}  {curve.area:.3f}"
                axes.plot(thin.x, thin.y, label=text, drawstyle=drawstyle, clip_on=False)
            if name == "roc":
                axes.plot([0, 1], [0, 1], label="chance  0.500", **REFERENCE)
            axes.set(xlabel=x, ylabel=y, xlim=(0, 1), ylim=(0, 1.02))
            classes = "classes" if len(by_class) < curves.MAX_CLASSES else "most frequent classes"
            some = f"the {len(worst)} worst of the {len(by_class)} {classes}"
            title = some if len(worst) < len(by_class) else "area"
            axes.legend(title=title, loc="lower right" if name == "roc" else "lower left")


def _errors(predictions: Predictions, folder: Path) -> None:
    drawn = predictions.take(np.random.default_rng(0).permutation(len(predictions.truth))[:MAX_POINTS])
    display = PredictionErrorDisplay(y_true=drawn.truth, y_pred=drawn.predicted)
    kinds: Any = {"predicted_against_actual": "actual_vs_predicted", "residuals": "residual_vs_predicted"}
    for name, kind in kinds.items():
        with _axes(folder / f"{name}.svg") as [axes]:
            look = {"s": 16, "alpha": 0.6, "linewidths": 0, "color": COLORS[0]}
            display.plot(axes, kind=kind, scatter_kwargs=look, line_kwargs=REFERENCE)
            for axis in (axes.xaxis, axes.yaxis):
                axis.set_major_locator(MaxNLocator(8))  # scikit-learn's ticks are not round numbers


def _importance(importances: Sequence[Importance], folder: Path) -> None:
    with _axes(folder / "importance.svg", 1 + 0.28 * len(importances)) as [axes]:
        names = [shortened(importance.column) for importance in importances]
        means, stds = [importance.mean for importance in importances], [importance.std for importance in importances]
        axes.barh(range(len(names)), means, xerr=stds, height=0.65)
        axes.set_yticks(range(len(names)), names)
        axes.set_xlabel("How much worse the metric gets")
        axes.margins(y=0.02)
        axes.invert_yaxis()
        axes.grid(visible=False, axis="y")


def shortened(label: object) -> str:
    """Return a label that fits beside an axis: both ends of it, as long names often differ in the last letters."""
    text, half = printable(str(label)), MAX_LABEL // 2
    return text if len(text) <= MAX_LABEL else f"{text[:half]}…{text[1 - half :]}"
