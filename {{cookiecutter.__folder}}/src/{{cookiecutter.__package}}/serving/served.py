"""A model in memory, ready to answer."""

import logging
from collections.abc import Hashable, Mapping
from typing import Any, NamedTuple, Self

import polars as pl
from pydantic_core import to_json

from ..config import Contract
from ..errors import ProjectError, printable
from ..ops import faults, predictions
from ..steps.profile import Profile
from .example import TEXT, example_row
from .schema import RequestSchema, answers

LOGGER = logging.getLogger(__name__)
SHOWN = 500  # characters of a reason
WARM_UP = 3  # predictions, until all is imported and compiled that the first one needs


class Served(NamedTuple):
    """A model, the schema of its requests with an example, and what it says of itself."""

    identity: Hashable  # of the model at its location: another means another model
    name: str
    version: int | None  # None for a model from a folder, as the time of its training
    trained: float | None  # in seconds since 1970
    predictor: Any
    schema: RequestSchema
    example: Mapping[str, Any]
    about: Mapping[str, Any]

    @classmethod
    def of(cls, predictor: Any, profile: Profile | None, max_rows: int, **described: Any) -> Self:
        """Combine a predictor with the schema of its requests; `described` are the other fields."""
        recipe = predictor.recipe
        # A version may have been packed with an earlier form of the contract.
        inputs = Contract.model_validate(recipe.inputs.model_dump())
        ignored = [name for name in recipe.contract.columns if name not in inputs.columns]
        schema = RequestSchema(inputs, ignored, recipe.data.null_values, max_rows)
        return cls(predictor=predictor, schema=schema, example=example_row(inputs, profile), **described)

    def predictions(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Return the predictions for rows that the schema has read, as a table."""
        try:
            return predictions.predict(self.predictor, rows)
        except Exception as error:
            # A packed model raises its own class of this name.
            if isinstance(error, ProjectError) or type(error).__name__ != ProjectError.__name__:
                raise
            raise ProjectError(str(error)) from None

    def try_example(self) -> None:
        """Answer the example, so that the first request is as fast as later ones; raise ProjectError if that fails."""
        try:
            for _ in range(WARM_UP):
                rows = self.schema.frame(self.schema.read(to_json(self.example)))
                to_json(answers(self.predictions(rows)))
        except Exception as error:  # noqa: BLE001 - its code may be of any age
            if isinstance(error, ProjectError) and TEXT in self.example.values():
                LOGGER.warning("%s refuses its example, which may be due to its text: %s", self.name, reason(error))
                return
            raise ProjectError(f"{self.name.capitalize()} cannot predict its example: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Return one line about an error."""
    line = (str(error).splitlines() or [""])[0]
    return printable(faults.sentence(error) or f"{type(error).__name__}: {line}")[:SHOWN]
