"""One page that says all about a model: self-contained HTML, with nothing to load from anywhere."""

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

# The plots in the order of the page, and what each shows.
CAPTIONS = {
    "confusion_matrix": (
        "Confusion matrix",
        "How many rows of each class were taken for which; the diagonal is right.",
    ),
    "predicted_against_actual": ("Predicted against actual", "On the dashed line, a prediction is exact."),
    "residuals": ("Residuals", "What is left over; a pattern here is something that the model has not learned."),
    "roc": ("ROC", "What share of a class is found, at which share of false alarms; each class against the rest."),
    "precision_recall": ("Precision and recall", "How many of the alarms are true, as more of a class is to be found."),
    "calibration": ("Calibration", "What came true over what the model said; on the dashed line the two agree."),
    "importance": ("Permutation importance", "How much worse the metric becomes when a column is shuffled."),
    "search": ("Search", "The mean score of each candidate over the folds, by each parameter that was searched."),
}


class Findings(NamedTuple):
    """All that the page tells."""

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
    """Return the page, with the plots of the folder in it."""
    template = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    ).get_template("page.html.jinja")
    figures = [
        (*caption, base64.b64encode(file.read_bytes()).decode())
        for name, caption in CAPTIONS.items()
        if (file := plots / f"{name}.svg").is_file()
    ]
    return template.render(**findings._asdict(), figures=figures)
