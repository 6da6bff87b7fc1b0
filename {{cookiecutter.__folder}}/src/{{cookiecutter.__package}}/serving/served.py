"""A model in memory, ready to answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import polars as pl

from ..config import Contract
from ..ops import predictions
from ..ops.paths import PROFILE
from ..ops.tracking import registry
from ..steps.profile import Profile
from .example import example_row
from .schema import Answer, RequestSchema, answers


class Served(NamedTuple):
    """A registered version, what it says of itself, and its request's schema."""

    version: int | None
    predictor: Any
    schema: RequestSchema
    example: Mapping[str, Any]
    about: Mapping[str, Any]

    @classmethod
    def load(cls, number: int, max_rows: int) -> Self:
        """Load a version from the registry, by the code that it was packed with."""
        with registry.load(number) as package, package.loaded() as predictor:
            profile = read_profile(package.data)
        version = registry.get(number)
        about = {"version": number, "metrics": version.metrics, "lineage": dict(version.tags)}
        return cls.of(number, predictor, profile, about, max_rows)

    @classmethod
    def of(
        cls, number: int | None, predictor: Any, profile: Profile | None, about: Mapping[str, Any], max_rows: int
    ) -> Self:
        """Combine a predictor with the schema of its requests."""
        recipe = predictor.recipe
        # A version may have been packed with an earlier form of the contract.
        inputs = Contract.model_validate(recipe.inputs.model_dump())
        ignored = [name for name in recipe.contract.columns if name not in inputs.columns]
        schema = RequestSchema(inputs, ignored, recipe.data.null_values, max_rows)
        return cls(number, predictor, schema, example_row(inputs, profile), about)

    def predict(self, rows: pl.DataFrame) -> Sequence[Answer]:
        """Answer rows that the schema has read."""
        return answers(self.predictions(rows))

    def predictions(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the predictions for rows that the schema has read, as a table."""
        return predictions.predict(self.predictor, rows)


def read_profile(folder: Path) -> Profile | None:
    """Read the profile that was saved with a model, None if there is none."""
    file = folder / PROFILE
    return Profile.model_validate_json(file.read_text(encoding="utf-8")) if file.exists() else None
