"""The keys of params.yaml (the experiment) and contract.yaml (the raw table), as types; nothing here reads a file."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WrapValidator, model_validator

Problem = Literal["classification", "regression"]
Type = Literal["string", "integer", "float", "boolean", "date", "datetime"]
METRICS: dict[Problem, tuple[str, ...]] = {
    "classification": ("f1_macro", "accuracy", "balanced_accuracy", "log_loss", "roc_auc"),
    "regression": ("rmse", "mae", "r2"),
}
# What the metrics of a dummy are called, behind this: it ignores all columns, and any model must beat it.
DUMMY = "dummy."


class Strict(BaseModel):
    """A section of a file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Column(Strict):
    """What one column of the raw table must be."""

    type: Type
    nullable: bool = False
    allowed: list[str] | list[int] | None = None
    min: float | None = None
    max: float | None = None
    unique: bool = False

    @model_validator(mode="after")
    def rules_fit_type(self) -> Self:
        """Refuse `allowed`, `min` and `max` where values cannot be compared with them."""
        kind = {"string": str, "integer": int}.get(self.type)
        if self.allowed is not None and not all(kind and isinstance(value, kind) for value in self.allowed):
            raise ValueError(f"a column of type {self.type} allows {self.allowed}; `allowed` is for texts and integers")
        if self.type not in {"integer", "float"} and (self.min is not None or self.max is not None):
            raise ValueError(f"a column of type {self.type} has `min` or `max`, which are for integers and floats")
        return self


class Rows(Strict):
    """How many rows the raw table must have, and whether none may stand there twice."""

    min: Annotated[int, Field(ge=0)] = 1
    max: int | None = None
    unique: bool = False


class Contract(Strict):
    """What the raw table must be."""

    rows: Rows = Rows()
    columns: dict[str, Column]

    @property
    def types(self) -> dict[str, Type]:
        """The type of each column."""
        return {name: column.type for name, column in self.columns.items()}
