"""What the service reads, and what it refuses: always with row, field, rule and value."""

import json
from datetime import date

import polars as pl
import pytest

from penguin_model.config import Contract
from penguin_model.model.casting import DTYPES
from penguin_model.serving.schema import RefusedError, RequestSchema

CONTRACT = Contract.model_validate(
    {
        "columns": {
            "island": {"type": "string", "allowed": ["Biscoe", "Dream"]},
            "note": {"type": "string", "nullable": True},
            "bill length": {"type": "float", "nullable": True, "min": 20, "max": 80},
            "mass": {"type": "integer", "min": 1, "max": 10000},
            "wild": {"type": "boolean", "nullable": True},
            "seen": {"type": "date", "nullable": True, "format": "%d.%m.%Y"},
            "price": {"type": "float", "nullable": True, "decimal": ",", "thousands": ".", "unit": "€"},
        }
    }
)
ROW = {"island": "Dream", "mass": 3700}


@pytest.fixture
def schema():
    return RequestSchema(CONTRACT, ["species"], ["NA"], max_rows=3)


def read(schema, *rows):
    return schema.frame(schema.read(json.dumps(rows).encode())).rows(named=True)


def test_row_is_read_with_the_types_of_the_contract(schema):
    full = {
        "note": "NA",
        "bill length": 39,
        "mass": 3700.0,
        "wild": True,
        "seen": "31.12.2023",
        "price": "1.234,50 €",
        "species": "?",
    }
    found = schema.frame(schema.read(json.dumps(ROW | full).encode()))
    assert found.schema["mass"] == pl.Int64
    assert found.select(pl.exclude("seen")).rows(named=True) == [
        {"island": "Dream", "note": None, "bill length": 39.0, "mass": 3700, "wild": True, "price": 1234.5}
    ]
    assert str(found["seen"][0]) == "2023-12-31"


def test_numbers_may_replace_their_spelling(schema):
    assert [row["price"] for row in read(schema, ROW | {"price": 2.5}, ROW | {"price": "2,5 €"})] == [2.5, 2.5]


@pytest.mark.parametrize(
    ("row", "field", "rule"),
    [
        (ROW | {"island": "Atlantis"}, "island", "allowed: ['Biscoe', 'Dream']"),
        (ROW | {"bill length": 5}, "bill length", "min: 20"),
        (ROW | {"bill length": 1e300}, "bill length", "max: 80"),
        (ROW | {"bill length": "39"}, "bill length", "type: float"),
        (ROW | {"mass": 3700.5}, "mass", "type: integer"),
        (ROW | {"mass": True}, "mass", "type: integer"),
        (ROW | {"mass": 2**80}, "mass", "max: 10000"),
        (ROW | {"mass": None}, "mass", "type: integer"),
        ({"mass": 3700}, "island", "required"),
        (ROW | {"bill_length": 39}, "bill_length", "unknown field"),
        (ROW | {"wild": "yes"}, "wild", "type: boolean"),
        (ROW | {"seen": "2023-12-31"}, "seen", "type: date (format '%d.%m.%Y')"),
        (ROW | {"price": "12 USD"}, "price", "type: float (decimal ',', thousands '.', unit '€')"),
        (ROW | {"island": ["Dream"]}, "island", "allowed: ['Biscoe', 'Dream']"),
        ([], None, "type"),
    ],
)
def test_bad_row_is_refused_with_field_and_rule(schema, row, field, rule):
    with pytest.raises(RefusedError) as refused:
        read(schema, ROW, row)
    [fault] = refused.value.faults
    assert (fault["row"], fault["field"], fault["rule"]) == (1, field, rule)
    assert "Row 1" in fault["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"3",
        b"\xff{}",
        b'{"island": NaN}',
        b"[" * 10_000,
        b'{"a":' * 10_000,
        json.dumps([ROW] * 4).encode(),
    ],
)
def test_bad_body_is_refused(schema, body):
    with pytest.raises(RefusedError):
        schema.read(body)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_number_that_is_not_finite_is_refused(schema, number):
    with pytest.raises(RefusedError):
        schema.read(b'{"island": "Dream", "mass": 1, "bill length": %s}' % number.encode())


def test_requests_of_a_batch_become_one_table_with_the_types_of_the_contract(schema):
    full = {"note": "x", "bill length": 39.5, "wild": False, "seen": "01.02.2024", "price": "1,5 €", "species": [{}]}
    bodies = [ROW, {"mass": 7.0, "island": "Biscoe", "price": 3}, ROW | full]
    frame = schema.frame([row for body in bodies for row in schema.read(json.dumps(body).encode())])
    assert frame.schema == {name: DTYPES[column.type] for name, column in CONTRACT.columns.items()}
    assert frame["price"].to_list() == [None, 3.0, 1.5]
    assert frame["seen"].to_list() == [None, None, date(2024, 2, 1)]
    assert frame["mass"].to_list() == [3700, 7, 3700]
    assert frame["bill length"].to_list() == [None, None, 39.5]


@pytest.mark.parametrize("name", ["lost", "literal", ""])
def test_spelled_column_may_have_any_name(name):
    schema = RequestSchema(Contract.model_validate({"columns": {name: {"type": "datetime"}}}), [], [], max_rows=3)
    frame = schema.frame(schema.read(json.dumps([{name: "0000-01-01"}, {name: "9999-12-31T23:59:59.999999"}]).encode()))
    assert frame[name].cast(pl.String).to_list() == ["0000-01-01 00:00:00.000000", "9999-12-31 23:59:59.999999"]
