"""One page with everything about a model: self-contained HTML that loads nothing. Its words are in page.html.jinja."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..config import Contract, Params
from ..errors import printable
from ..steps.search import Candidate
from .importance import Importances
from .intervals import MAX_ROWS, Interval
from .slices import Slice


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
    importance: Importances
    candidates: Sequence[Candidate]
    notes: Sequence[str]
    origin: Mapping[str, str]


def render(findings: Findings, folder: Path) -> str:
    """Return the page, including the plots in the folder."""
    plots = {plot.stem: base64.b64encode(plot.read_bytes()).decode() for plot in folder.glob("*.svg")}
    template = environment().get_template("page.html.jinja")
    return template.render(**findings._asdict(), plots=plots, sampled=MAX_ROWS)


def environment() -> Environment:
    """Return what renders the pages: names and values from tables are escaped."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["number"] = number
    return environment


def number(value: float) -> str:
    """Return a number with four digits, or with all before the point."""
    return f"{value:.4g}" if abs(value) < 1000 else f"{value:,.0f}"  # noqa: PLR2004
