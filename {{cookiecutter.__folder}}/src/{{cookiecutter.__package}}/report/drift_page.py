"""One page about a comparison of new rows with a model's training data. Its words are in drift.html.jinja."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from .drift import METRIC, PREDICTIONS, PSI, ColumnDrift, Drift
from .intervals import Interval
from .page import environment

# What is drawn and listed; drift.json has everything.
MAX_PICTURES, MAX_COLUMNS, MAX_BINS, MAX_COMPARISONS = 12, 100, 14, 30
# The size of a series in the units of its SVG, and the margin around its points.
WIDTH, HEIGHT, MARGIN = 320, 90, 8


class Comparison(NamedTuple):
    """A comparison with a version; `values` are those of `Drift`, `retraining` says what came of it."""

    when: datetime
    version: int
    verdict: str
    values: Mapping[str, float]
    retraining: str


class Findings(NamedTuple):
    """What the page shows; `history` is in order of time and ends with this comparison."""

    name: str
    drift: Drift
    history: Sequence[Comparison]
    origin: Mapping[str, str]


class Bin(NamedTuple):
    """The shares of the rows in a bin, and how long their bars are in per cent."""

    label: str
    reference: float
    current: float
    reference_bar: float
    current_bar: float


class Series(NamedTuple):
    """A value over the last comparisons: points and limits, as places in an SVG."""

    title: str
    points: Sequence[tuple[float, float, float, Comparison]]
    limit: float | None
    band: tuple[float, float] | None

    @property
    def line(self) -> str:
        """The places of the points, as a polyline has them."""
        return " ".join(f"{x:.1f},{y:.1f}" for x, y, *_ in self.points)


def render(findings: Findings) -> str:
    """Return the page."""
    drift, history = findings.drift, findings.history[-MAX_COMPARISONS:]
    columns = drift.columns[:MAX_PICTURES]
    moved = [series(each.column, PREDICTIONS, history, each.limit) for each in drift.predictions]
    moved += [series(each.column, PSI, history, each.limit) for each in columns]
    metrics = [series(each.metric, METRIC, history, band=each.holdout_interval) for each in drift.metrics]
    template = environment().get_template("drift.html.jinja")
    return template.render(
        **findings._replace(history=history)._asdict(),
        listed=[*drift.predictions, *drift.columns[:MAX_COLUMNS]],
        more=len(drift.columns) - MAX_COLUMNS,
        pictures=[(each, bins(each)) for each in [*drift.predictions, *columns]],
        psi_series=[each for each in moved if len(each.points) > 1],
        metric_series=[each for each in metrics if len(each.points) > 1],
        size=(WIDTH, HEIGHT),
        max_bins=MAX_BINS,
    )


def bins(drift: ColumnDrift) -> list[Bin]:
    """Return the bins of a column in order; of many categories, those with the largest shares."""
    shares = list(zip(drift.bins, drift.reference, drift.current, strict=True))
    shares = [share for share in shares if share[1] or share[2]]
    shown = sorted(shares, key=lambda share: -max(share[1:]))[:MAX_BINS]
    longest = max((max(share[1:]) for share in shown), default=1)
    return [
        Bin(label, before, now, 100 * before / longest, 100 * now / longest)
        for label, before, now in shares
        if (label, before, now) in shown
    ]


def series(
    title: str, prefix: str, history: Sequence[Comparison], limit: float | None = None, band: Interval | None = None
) -> Series:
    """Place the value of this name in each comparison that has it, and its limits, in an SVG."""
    values = [(past.values[name], past) for past in history if (name := f"{prefix}{title}") in past.values]
    ends = [*(number for number, _ in values), *([limit, 0] if limit is not None else []), *(band or ())]
    low, high = min(ends, default=0), max(ends, default=1)
    step = (WIDTH - 2 * MARGIN) / max(len(values) - 1, 1)

    def place(number: float) -> float:
        return HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (number - low) / ((high - low) or 1)

    points = [(MARGIN + step * i, place(number), number, past) for i, (number, past) in enumerate(values)]
    return Series(
        title, points, None if limit is None else place(limit), (place(band.high), place(band.low)) if band else None
    )
