"""The model in use: raw rows in, predictions out. MLflow loads it with `_load_pyfunc`, without this project."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import polars as pl
import polars.selectors as cs
from pydantic import BaseModel
from sklearn.pipeline import Pipeline

from ..config import Contract, Data, Params
from ..errors import ProjectError
from . import PIPELINE, RECIPE, casting, features, persistence


class Recipe(BaseModel):
    """What turns raw rows into the columns of the pipeline."""

    data: Data
    features: dict[str, str]
    contract: Contract
    trusted: list[str]

    @classmethod
    def of(cls, params: Params, contract: Contract) -> Self:
        """Return what a prediction needs of the parameters; raise ProjectError if they do not fit the contract."""
        named = {"data.target": [params.data.target], "data.drop": params.data.drop, "gate.slices": params.gate.slices}
        for key, names in named.items():
            if unknown := [name for name in names if name not in contract.columns]:
                columns = ", ".join(contract.columns)
                raise ProjectError(f"params.yaml: {key} names '{unknown[0]}'; contract.yaml has {columns}.")
        for name in features.read(params.features):
            if name in contract.columns or not casting.is_name(name):
                reason = "which a column has" if name in contract.columns else "which Polars cannot use"
                raise ProjectError(f"params.yaml: features has the name {name!r}, {reason}: choose another.")
        return cls(data=params.data, features=params.features, contract=contract, trusted=params.model.trusted)

    @property
    def inputs(self) -> Contract:
        """The raw columns that a prediction needs: those of the model, and those that a feature uses."""
        unseen = {self.data.target, *self.data.drop} - features.needed(self.features)
        return Contract(columns={name: column for name, column in self.contract.columns.items() if name not in unseen})

    @property
    def columns(self) -> list[str]:
        """The columns of the pipeline, in order: raw columns, then features."""
        seen = [name for name in self.inputs.columns if name not in self.data.drop]
        return [*seen, *features.read(self.features)]

    def build_features(self, rows: pl.LazyFrame, *, labelled: bool = False) -> pl.LazyFrame:
        """Cast raw rows and add the features, in the same way for training, scoring and serving.

        Labelled rows have the target and keep all columns of the contract; others need only the inputs.
        """
        kept = self.contract if labelled else self.inputs
        return features.build(casting.conform(rows, kept), self.features, hidden=self.data.target)

    def check_features(self, rows: pl.LazyFrame) -> None:
        """Raise ProjectError for a feature that uses other rows than its own; a handful, with the target, is enough."""
        some = casting.conform(rows, self.contract).collect()
        features.check_alone(some, self.features, hidden=self.data.target)


class Predictor:
    """A fitted pipeline and its recipe."""

    def __init__(self, pipeline: Pipeline, recipe: Recipe) -> None:
        """Combine the two; `load` reads them from a folder."""
        self.pipeline = pipeline
        self.recipe = recipe

    @classmethod
    def load(cls, folder: Path, trusted: Sequence[str] = ()) -> Self:
        """Read the files that `save` wrote; `trusted` are the types of params.yaml that the pipeline may contain."""
        recipe = Recipe.model_validate_json((folder / RECIPE).read_text(encoding="utf-8"))
        return cls(persistence.load(folder / PIPELINE, trusted), recipe)

    def save(self, folder: Path) -> None:
        """Write pipeline (skops) and recipe (JSON) into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        persistence.save(self.pipeline, folder / PIPELINE, self.recipe.trusted)
        (folder / RECIPE).write_text(self.recipe.model_dump_json(indent=2), encoding="utf-8")

    def predict(
        self, rows: pd.DataFrame | pl.DataFrame, params: Mapping[str, Any] | None = None
    ) -> np.ndarray | pd.DataFrame:
        """Predict the target of each raw row.

        With `params={"probabilities": True}` a classifier returns a frame: a column of probabilities per class.
        """
        columns = self.columns(rows if isinstance(rows, pl.DataFrame) else pl.from_pandas(rows))
        with failures_explained(self.pipeline, "predict", columns):
            if params and params.get("probabilities"):
                return pd.DataFrame(self.pipeline.predict_proba(columns), columns=self.pipeline.classes_)
            return np.asarray(self.pipeline.predict(columns))

    def columns(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the columns of the pipeline for raw rows; raise ProjectError if these do not match the contract."""
        try:
            return self.recipe.build_features(rows.lazy()).select(self.recipe.columns).collect()
        except pl.exceptions.InvalidOperationError as error:
            raise ProjectError(f"The rows do not have the types of contract.yaml: {casting.refusal(error)}.") from None


def _load_pyfunc(path: str) -> Predictor:
    """Load the model for MLflow, with the types that it was trained with: whoever calls this trusts its files."""
    recipe = Recipe.model_validate_json((Path(path) / RECIPE).read_text(encoding="utf-8"))
    return Predictor.load(Path(path), recipe.trusted)


@contextmanager
def failures_explained(pipeline: Pipeline, action: str, rows: pl.DataFrame) -> Iterator[None]:
    """Turn any exception of a pipeline into a ProjectError that names the estimator and, if known, the columns."""
    try:
        yield
    except (OSError, ProjectError):
        raise  # transient, or explained already
    except Exception as error:
        last = pipeline[-1]
        # A vote of one translates classes for estimators outside scikit-learn.
        estimator = last.estimators[0][1] if hasattr(last, "voting") else last
        # XGBoost's messages end with a trace of C++.
        reason = " ".join(str(error).partition("Stack trace")[0].split())[:500] or type(error).__name__
        columns = ", ".join(_causes(str(error), rows))
        raise ProjectError(
            f"{type(estimator).__name__} cannot {action}: {reason.rstrip('.')}{f' (in {columns})' if columns else ''}."
        ) from error


def _causes(message: str, rows: pl.DataFrame) -> list[str]:
    """Return the columns that a message of an estimator is about."""
    if text := re.search(r"could not convert string to float: (?:np\.str_\()?'(.*?)'", message):
        found = cs.string().eq(text[1]).any()
    elif re.search(r"\binf|too large", message):
        found = (cs.numeric().cast(pl.Float64).abs() > float(np.finfo(np.float32).max)).any()
    elif re.search(r"\bnan\b|missing", message, re.IGNORECASE):
        found = pl.all().is_null().any()
    else:
        return []
    return [column.name for column in rows.select(found) if column.item()]
