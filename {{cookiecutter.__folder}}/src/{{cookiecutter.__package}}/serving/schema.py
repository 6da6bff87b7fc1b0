"""The request and the answer of `/predict`, made from the contract of a model."""

import math
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, Literal, NotRequired

import polars as pl
from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, with_config
from pydantic.json_schema import WithJsonSchema
from typing_extensions import TypedDict  # pydantic refuses that of Python 3.11

from ..config import Column, Contract
from ..errors import ProjectError
from ..model.casting import DTYPES, cast
from ..ops.predictions import PREDICTION, probability

# The names of pydantic's rules in the words of contract.yaml; for these, the rule is the key of the column.
RULES = {
    "greater_than_equal": "min",
    "less_than_equal": "max",
    "literal_error": "allowed",
    "missing": "required",
    "extra_forbidden": "unknown field",
    "finite_number": "type",
}
TIMES = {"date", "datetime"}
INT64 = 2**63
Row = dict[str, Any]  # a row as JSON has it, but for text that spells a number or a date
SHOWN = 100  # characters of a wrong value, and faults of a request


class Fault(TypedDict):
    """What is wrong with a request: row (from 0), field, the rule that it breaks, and the value."""

    row: Annotated[int | None, Field(description="number of the row, from 0")]
    field: str | None
    rule: Annotated[str, Field(description="the rule of the contract that the value breaks")]
    value: Annotated[Any, Field(description="the refused value")]
    message: str


class RefusedError(ProjectError):
    """A request that breaks the contract."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        """Keep the faults beside the sentences."""
        super().__init__(*(fault["message"] for fault in faults))
        self.faults = faults


class RequestSchema:
    """What a request for a model must be."""

    def __init__(self, inputs: Contract, ignored: Sequence[str], null_values: Sequence[str], max_rows: int) -> None:
        """Build the type of a row; `ignored` are columns of the raw table that the model does not use."""
        self.columns = inputs.columns
        fields: dict[str, Any] = {name: _field(column, null_values) for name, column in self.columns.items()}
        unused = NotRequired[Annotated[Any, WithJsonSchema({"description": "not used by the model"})]]
        fields |= dict.fromkeys(ignored, unused)
        row: Any = with_config(ConfigDict(extra="forbid", strict=True))(TypedDict("Row", fields))  # type: ignore[operator]
        self.one: TypeAdapter[Row] = TypeAdapter(row)
        self.many: TypeAdapter[list[Row]] = TypeAdapter(Annotated[list[row], Field(min_length=1, max_length=max_rows)])
        self.max_rows = max_rows
        self.dtypes = {name: DTYPES[column.type] for name, column in self.columns.items()}
        self.spelled = [name for name, column in self.columns.items() if column.spelling or column.type in TIMES]

    def read(self, body: bytes) -> list[Row]:
        """Return the rows of a JSON body; raise RefusedError if any of them breaks the contract."""
        single = body.lstrip()[:1] == b"{"
        try:
            rows = [self.one.validate_json(body)] if single else self.many.validate_json(body)
        except ValidationError as error:
            raise RefusedError(list(islice(self._faults(error, single=single), SHOWN))) from None
        except UnicodeDecodeError:
            raise RefusedError([_fault(None, None, "encoding", None, "The body is not valid UTF-8.")]) from None
        for name in self.spelled:
            self._cast(name, rows)
        return rows

    def frame(self, rows: Sequence[Row]) -> pl.DataFrame:
        """Return rows that `read` has returned as a table with the columns of the contract."""
        return pl.from_dicts(rows, schema=self.dtypes)

    @property
    def row(self) -> dict[str, Any]:
        """The JSON schema of a row."""
        return self.one.json_schema()

    def _cast(self, name: str, rows: Sequence[Row]) -> None:
        """Replace the text of a column by what training reads in it; raise RefusedError where that is nothing."""
        column = self.columns[name]
        texts = [value if isinstance(value := row.get(name), str) else None for row in rows]
        series = pl.Series(name, texts, pl.String)
        value, lost = cast(name, series.dtype, column)
        if faults := [
            _fault(at, name, f"type: {column}", texts[at], f"must be of type {column}")
            for at in series.to_frame().select(lost).to_series().arg_true()
        ]:
            raise RefusedError(faults[:SHOWN])
        # Days and microseconds since 1970: Python has no year 0.
        values = series.to_frame().select(value.to_physical()).to_series().to_list()
        for row, text, number in zip(rows, texts, values, strict=True):
            if text is not None:
                row[name] = number

    def _faults(self, error: ValidationError, *, single: bool) -> Iterator[Fault]:
        for found in error.errors(include_url=False):
            location = ((0, *found["loc"]) if single else found["loc"]) or (None,)
            row, field = location[0], location[1] if len(location) > 1 else None
            if not isinstance(row, int):
                yield _fault(None, None, found["type"], None, found["msg"])
                continue
            key = RULES.get(found["type"], "type")
            name = None if field is None else str(field)
            column = self.columns.get(name or "")
            setting = None if column is None else getattr(column, key, None)
            rule = key if setting is None else f"{key}: {f'{setting:g}' if isinstance(setting, float) else setting}"
            value = None if key == "required" else found["input"]
            yield _fault(row, name, rule, value, found["msg"][0].lower() + found["msg"][1:])


def answers(predicted: pl.DataFrame) -> list[dict[str, Any]]:
    """Return the prediction of each row, with the probability of each class if the model gives them."""
    labels = predicted[PREDICTION].to_list()
    names = [name for name in predicted.columns if name != PREDICTION]
    if not names:
        return [{"prediction": label} for label in labels]
    classes = [name.removeprefix(probability("")) for name in names]
    shares = predicted.select(names).rows()
    return [
        {"prediction": label, "probabilities": dict(zip(classes, row, strict=True))}
        for label, row in zip(labels, shares, strict=True)
    ]


def integer_bounds(column: Column) -> tuple[int, int]:
    """Return the least and the greatest whole number that the contract and 64 bits allow."""
    low = -INT64 if column.min is None else max(-INT64, math.ceil(column.min))
    high = INT64 - 1 if column.max is None else min(INT64 - 1, math.floor(column.max))
    return low, high


def _field(column: Column, null_values: Sequence[str]) -> Any:
    """Return the type of a field; it may be left out if the column may be missing."""
    kind = _type(column)
    if column.type == "string" and null_values:
        missing = BeforeValidator(lambda value: None if isinstance(value, str) and value in null_values else value)
        kind = Annotated[kind | None if column.nullable else kind, missing]
    elif column.nullable:
        kind |= None
    return NotRequired[kind] if column.nullable else kind


def _type(column: Column) -> Any:
    if column.allowed is not None:
        return Literal[tuple(column.allowed)]
    if column.type in TIMES:
        described = {"type": "string", "description": f"a {column}"}
        return Annotated[str, WithJsonSchema(described if column.format else described | {"format": column.type})]
    kind: Any
    match column.type:
        case "integer":
            low, high = integer_bounds(column)
            # The bounds first: behind the validator, the JSON schema would not have them.
            kind = Annotated[int, Field(ge=low, le=high), BeforeValidator(_whole)]
        case "float":
            kind = Annotated[float, Field(ge=column.min, le=column.max, allow_inf_nan=False)]
        case "boolean":
            return bool
        case _:
            return str
    return kind | str if column.spelling else kind


def _whole(value: object) -> object:
    """Return 7.0 as 7: pandas writes integers so in a column that has missing values."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fault(row: int | None, field: str | None, rule: str, value: Any, reason: str) -> Fault:
    field = None if field is None else _shortened(field)
    where = "" if row is None else f"Row {row}" + (f", field '{field}'" if field is not None else "") + ": "
    return Fault(row=row, field=field, rule=rule, value=_shown(value), message=f"{where}{reason}")


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool) or (isinstance(value, int) and -INT64 <= value < INT64):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else _shortened(str(value))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
