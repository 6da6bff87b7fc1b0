"""What the experiment is, as params.yaml has it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, WrapValidator, model_validator

from .settings import Strict, read_yaml

Problem = Literal["classification", "regression"]
METRICS: dict[Problem, tuple[str, ...]] = {
    "classification": ("f1_macro", "accuracy", "balanced_accuracy", "log_loss", "roc_auc"),
    "regression": ("rmse", "mae", "r2"),
}


class Data(Strict):
    """The table, and what is to be learned from it."""

    source: str
    origin: str | None = None
    query: str | None = None
    null_values: list[str] = []
    problem: Problem
    target: str
    drop: list[str] = []


class Split(Strict):
    """How rows are kept back to judge the model."""

    by: Literal["random", "stratified", "group", "time"] = "random"
    column: str | None = None
    holdout: Annotated[float, Field(gt=0, lt=1)]
    seed: int

    @model_validator(mode="after")
    def column_fits(self) -> Self:
        """Want a column where one is needed, and only there."""
        if self.by in {"group", "time"} and self.column is None:
            raise ValueError(f"split.by is '{self.by}', which needs split.column, the name of a column of the table")
        if self.by in {"random", "stratified"} and self.column is not None:
            raise ValueError(f"split.column is '{self.column}', but split.by is '{self.by}', which looks at no column")
        return self


class Model(Strict):
    """The estimator by its dotted path, and its parameters."""

    estimator: str
    params: dict[str, Any] = {}
    trusted: list[str] = []


# A finite number that stays whole if it is.
Number = Annotated[
    float,
    Field(allow_inf_nan=False),
    WrapValidator(lambda value, validate: value if type(value) is int else validate(value)),
]


class Distribution(Strict):
    """Numbers to draw from; whole ones if both ends are whole."""

    low: Number
    high: Number
    log: bool = False


def _kind(values: object) -> str | None:
    if isinstance(values, list):
        return "(list)"
    return "(distribution)" if isinstance(values, dict | Distribution) else None


# What to draw a parameter from. The tags keep pydantic's findings to the one that was meant; `explain` drops them.
Values = Annotated[
    Annotated[list[Any], Tag("(list)"), Field(min_length=1)] | Annotated[Distribution, Tag("(distribution)")],
    Discriminator(
        _kind,
        custom_error_type="neither",
        custom_error_message="Give a list like [1, 2, 5], or a distribution like {low: 0.01, high: 1.0, log: true}",
    ),
]


class Search(Strict):
    """Which parameters of the model to try; none by default."""

    params: dict[str, Values] = {}
    candidates: Annotated[int, Field(ge=1)] = 20
    folds: Annotated[int, Field(ge=2)] = 5
    metric: str | None = None

    @model_validator(mode="after")
    def ends_span_something(self) -> Self:
        """Refuse distributions that have nothing to draw."""
        for name, values in self.params.items():
            if isinstance(values, Distribution) and (values.low >= values.high or (values.log and values.low <= 0)):
                above = "above 0 and " if values.log else ""
                ends = f"search.params.{name} goes from low {values.low} to high {values.high}"
                raise ValueError(f"{ends}; low must be {above}below high")
        return self


class Gate(Strict):
    """What a model must reach to become the champion."""

    metric: str
    minimum: float | None = None
    improvement: Annotated[float, Field(ge=0)] = 0
    allow_worse_than_dummy: bool = False
    slices: list[str] = []


class Params(Strict):
    """The experiment."""

    data: Data
    features: dict[str, str] = {}
    split: Split
    model: Model
    search: Search = Search()
    gate: Gate

    @model_validator(mode="after")
    def metrics_fit_problem(self) -> Self:
        """Refuse a metric that the problem does not have."""
        allowed = METRICS[self.data.problem]
        for name, metric in {"gate.metric": self.gate.metric, "search.metric": self.search.metric}.items():
            if metric not in {*allowed, None} or (metric is None and name == "gate.metric"):
                raise ValueError(f"{name} is '{metric}'; {self.data.problem} has {', '.join(allowed)}")
        if self.split.by == "stratified" and self.data.problem == "regression":
            raise ValueError("split.by is 'stratified', which is for classes; regression has random, group and time")
        return self


def read_params() -> Params:
    """Read what the experiment is; raise ProjectError naming file, key and what is allowed."""
    return read_yaml("params.yaml", Params)
