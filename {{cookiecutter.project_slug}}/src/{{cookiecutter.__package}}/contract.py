"""What the raw table must be, as contract.yaml has it."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from .settings import Strict, read_yaml

Type = Literal["string", "integer", "float", "boolean", "date", "datetime"]


class Column(Strict):
    """What one column of the raw table must be."""

    type: Type
    nullable: bool = False
    allowed: list[str] | list[int] | None = None
    min: float | None = None
    max: float | None = None
    unique: bool = False

    @model_validator(mode="after")
    def allowed_fits_type(self) -> Self:
        """Want text allowed for text, and whole numbers for whole numbers."""
        kind = {"string": str, "integer": int}.get(self.type)
        if self.allowed is not None and not all(kind and isinstance(value, kind) for value in self.allowed):
            raise ValueError(f"a column of type {self.type} allows {self.allowed}; `allowed` is for texts and integers")
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


def read_contract() -> Contract:
    """Read what the raw table must be; raise ProjectError naming file, key and what is allowed."""
    return read_yaml("contract.yaml", Contract)
