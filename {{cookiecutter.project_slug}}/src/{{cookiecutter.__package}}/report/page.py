"""One page with everything about a model: self-contained HTML that loads nothing."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..config import Contract, Params
from ..steps.search import Candidate
from .importance import Importance
from .intervals import Interval
from .slices import Slice

# The plots in the order of the page: title and caption.
CAPTIONS = {
    "confusion_matrix": (
        "Confusion matrix",
        "How many rows of each actual class were predicted as each class; the diagonal is correct.",
    ),
    "predicted_against_actual": ("Actual against predicted", "On the dashed line, a prediction is exact."),
    "residuals": ("Residuals", "Actual minus predicted values; a pattern is something that the model has not learned."),
    "roc": ("ROC", "The share of a class that is found, at each share of false alarms; each class against the rest."),
    "precision_recall": ("Precision and recall", "The share of correct alarms, as more of a class is found."),
    "calibration": ("Calibration", "What happened against what was predicted; on the dashed line the two agree."),
    "importance": ("Permutation importance", "How much worse the gate's metric gets when a column is shuffled."),
    "search": ("Search", "The mean score of each candidate over the folds, by each parameter that was searched."),
}


class Findings(NamedTuple):
    """What the page shows."""

    name: str
    params: Params
    contract: Contract
    rows: Mapping[str, int]
    columns: Sequence[str]
    metrics: Mapping[str, float]
    intervals: Mapping[str, Interval]
    slices: Sequence[Slice]
    importance: Sequence[Importance]
    candidates: Sequence[Candidate]
    notes: Sequence[str]
    origin: Mapping[str, str]


def render(findings: Findings, plots: Path) -> str:
    """Return the page, including the plots in the folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    figures = [
        (*caption, base64.b64encode(file.read_bytes()).decode())
        for name, caption in CAPTIONS.items()
        if (file := plots / f"{name}.svg").is_file()
    ]
    return environment.get_template("page.html.jinja").render(**findings._asdict(), figures=figures)


def number(value: float) -> str:
    """Return a number with four digits, or with all before the point."""
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004
