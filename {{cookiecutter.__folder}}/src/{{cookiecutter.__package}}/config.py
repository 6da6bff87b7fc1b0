"""The keys of params.yaml (the experiment) and contract.yaml (the raw table), as types; no file is read here."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, WrapValidator, model_validator

Problem = Literal["classification", "regression"]
Type = Literal["string", "integer", "float", "boolean", "date", "datetime"]
METRICS: dict[Problem, tuple[str, ...]] = {
    "classification": ("f1_macro", "accuracy", "balanced_accuracy", "log_loss", "roc_auc"),
    "regression": ("rmse", "mae", "r2"),
}
# The prefix of the metrics of a dummy model, which ignores all columns: any model should beat it.
DUMMY = "dummy."


class Strict(BaseModel):
    """A section of a file: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Strict):
    """The table, and what to learn from it."""

    source: str
    origin: str | None = None
    query: str | None = None
    null_values: list[str] = []
    problem: Problem
    target: str
    drop: list[str] = []


class Split(Strict):
    """How rows are held out to evaluate the model."""

    by: Literal["random", "stratified", "group", "time"] = "random"
    column: str | None = None
    holdout: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0, lt=2**32)]

    @model_validator(mode="after")
    def column_fits(self) -> Self:
        """Require a column for group and time, and only for these."""
        if self.by in {"group", "time"} and self.column is None:
            raise ValueError(f"split.by is '{self.by}', which needs split.column, the name of a column")
        if self.by in {"random", "stratified"} and self.column is not None:
            raise ValueError(f"split.column is '{self.column}', but split.by is '{self.by}', which uses no column")
        return self


class Model(Strict):
    """The estimator, by its import path, and its parameters."""

    estimator: str
    params: dict[str, Any] = {}
    trusted: list[str] = []


# A finite number; an integer of 64 bits stays an integer.
Number = Annotated[
    float,
    Field(allow_inf_nan=False),
    WrapValidator(lambda value, validate: value if type(value) is int and abs(value) < 2**63 else validate(value)),
]


class Distribution(Strict):
    """A range to draw numbers from: integers, if both ends are."""

    low: Number
    high: Number
    log: bool = False


def _kind(values: object) -> str | None:
    if isinstance(values, list):
        return "(list)"
    return "(distribution)" if isinstance(values, dict | Distribution) else None


# The values of a parameter. The tags keep pydantic's errors to the kind that was meant; `explain` removes them.
Values = Annotated[
    Annotated[list[Any], Tag("(list)"), Field(min_length=1)] | Annotated[Distribution, Tag("(distribution)")],
    Discriminator(
        _kind,
        custom_error_type="neither",
        custom_error_message="Use a list like [1, 2, 5], or a distribution like {low: 0.01, high: 1.0, log: true}",
    ),
]


class Search(Strict):
    """The parameters of the model to tune; none by default."""

    params: dict[str, Values] = {}
    candidates: Annotated[int, Field(ge=1)] = 20
    folds: Annotated[int, Field(ge=2)] = 5
    metric: str | None = None

    @model_validator(mode="after")
    def distributions_are_not_empty(self) -> Self:
        """Refuse distributions without values."""
        for name, values in self.params.items():
            if isinstance(values, Distribution) and (values.low >= values.high or (values.log and values.low <= 0)):
                above = "above 0 and " if values.log else ""
                ends = f"search.params.{name} has low {values.low} and high {values.high}"
                raise ValueError(f"{ends}; low must be {above}below high")
        return self


class Gate(Strict):
    """What a model must reach to become the champion."""

    metric: str
    minimum: float | None = None
    improvement: Annotated[float, Field(ge=0)] = 0
    tolerance: Annotated[float, Field(ge=0)] = 0
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
            if metric not in {*allowed, None}:
                raise ValueError(f"{name} is '{metric}'; {self.data.problem} has {', '.join(allowed)}")
        if self.split.by == "stratified" and self.data.problem == "regression":
            raise ValueError("split.by is 'stratified', which is for classification; use random, group or time")
        return self


class Column(Strict):
    """What one column of the raw table must be."""

    type: Type
    decimal: Literal[".", ","] | None = None
    thousands: Literal[".", ",", " ", "'", "_"] | None = None
    unit: Annotated[str, Field(min_length=1)] | None = None
    format: Annotated[str, Field(min_length=1)] | None = None
    nullable: bool = False
    allowed: list[str] | list[int] | None = None
    min: Number | None = None
    max: Number | None = None
    unique: bool = False

    @property
    def spelling(self) -> dict[str, str]:
        """How text spells the values; empty for numbers such as -1234.5 and for dates as in ISO 8601."""
        return self.model_dump(include={"decimal", "thousands", "unit", "format"}, exclude_none=True)

    def __str__(self) -> str:
        spelling = ", ".join(f"{key} '{value}'" for key, value in self.spelling.items())
        return f"{self.type} ({spelling})" if spelling else self.type


class Rows(Strict):
    """How many rows the raw table must have, and whether they must be unique."""

    min: Annotated[int, Field(ge=0)] = 1
    max: int | None = None
    unique: bool = False


class Contract(Strict):
    """What the raw table must be."""

    rows: Rows = Rows()
    columns: dict[str, Column]

    @model_validator(mode="after")
    def rules_fit_types(self) -> Self:
        """Refuse rules that do not fit the type of their column."""
        for name, column in self.columns.items():
            where = f"columns.{name} has type {column.type}"
            kind = {"string": str, "integer": int}.get(column.type)
            if column.allowed is not None and not all(kind and isinstance(value, kind) for value in column.allowed):
                raise ValueError(f"{where} and allows {column.allowed}; `allowed` is for strings and integers")
            if column.type not in {"integer", "float"} and (column.min is not None or column.max is not None):
                raise ValueError(f"{where} and `min` or `max`, which are for integers and floats")
            numbers, dates = column.type in {"integer", "float"}, column.type in {"date", "datetime"}
            if misplaced := [key for key in column.spelling if not (dates if key == "format" else numbers)]:
                raise ValueError(
                    f"{where} and `{misplaced[0]}`; `format` is for dates and datetimes, `decimal`, `thousands` and "
                    "`unit` are for integers and floats"
                )
            if column.thousands == (column.decimal or "."):
                raise ValueError(f"{where} and `thousands: '{column.thousands}'`, which is the decimal mark, too")
        return self

    @property
    def types(self) -> dict[str, Type]:
        """The type to read each column with: text, where the contract says how it is spelled."""
        return {name: "string" if column.spelling else column.type for name, column in self.columns.items()}
