"""What the experiment is, as params.yaml has it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

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


class Distribution(Strict):
    """Numbers to draw from; whole ones if both ends are whole."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def ordered(self) -> Self:
        """Refuse ends that span nothing."""
        if self.low >= self.high or (self.log and self.low <= 0):
            above = "above 0 and " if self.log else ""
            raise ValueError(
                f"a distribution goes from low {self.low} to high {self.high}; low must be {above}below high"
            )
        return self


class Search(Strict):
    """Which parameters of the model to try; none by default."""

    params: dict[str, list[Any] | Distribution] = {}
    candidates: Annotated[int, Field(ge=1)] = 20
    folds: Annotated[int, Field(ge=2)] = 5
    metric: str | None = None


class Gate(Strict):
    """What a model must reach to become the champion."""

    metric: str
    minimum: float | None = None
    improvement: Annotated[float, Field(ge=0)] = 0
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
