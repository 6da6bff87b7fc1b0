"""The example row: typical values that the contract allows, and nothing rare of the data."""

import json

import polars as pl
import pytest

from penguin_model.config import Contract
from penguin_model.serving.example import TEXT, example_row
from penguin_model.serving.schema import RequestSchema
from penguin_model.steps.profile import Profile

ROWS = pl.DataFrame(
    {
        "mass": [3000, 3500, 4000] * 20,
        "bill": [39.1234567, 44.0, None] * 20,
        "island": ["Dream", "Dream", "Biscoe"] * 20,
        "wild": [False, False, True] * 20,
        "name": [f"person {number}" for number in range(60)],
        "empty": pl.Series([None] * 60, dtype=pl.Float64),
        "rooms": [7, 7, 7] * 20,
    }
)


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("mass", {"type": "integer"}, 3500),
        ("mass", {"type": "integer", "max": 3400.5}, 3400),
        ("mass", {"type": "float", "decimal": ",", "unit": "g"}, 3500.0),
        ("bill", {"type": "float", "nullable": True, "min": 39}, 39.12),
        ("bill", {"type": "float", "nullable": True, "min": 39.123}, 39.123),
        ("rooms", {"type": "integer", "allowed": [1, 8]}, 8),
        ("island", {"type": "string"}, "Dream"),
        ("island", {"type": "string", "allowed": ["Torgersen", "Biscoe"]}, "Biscoe"),
        ("wild", {"type": "boolean"}, False),
        ("name", {"type": "string", "nullable": True}, None),
        ("name", {"type": "string"}, TEXT),
        ("empty", {"type": "float", "nullable": True}, 0.0),
        ("unprofiled", {"type": "integer", "min": 3}, 3),
        ("unprofiled", {"type": "integer", "min": 1e300, "max": 1e301}, 2**63 - 1),
        ("unprofiled", {"type": "date"}, "2026-01-01"),
        ("unprofiled", {"type": "date", "format": "%d.%m.%Y"}, "01.01.2026"),
        ("unprofiled", {"type": "datetime"}, "2026-01-01T00:00:00"),
        ("unprofiled", {"type": "datetime", "format": "%Y-%m-%d %H:%M %z"}, "2026-01-01 00:00 +0000"),
    ],
)
def test_example_is_typical_and_allowed(name, column, expected):
    contract = Contract.model_validate({"columns": {name: column}})
    profile = Profile.of(ROWS.lazy())
    row = example_row(contract, profile)
    assert row == {name: expected}
    if name != "unprofiled" or column.get("min") != 1e300:
        RequestSchema(contract, [], ["NA"], max_rows=1).read(json.dumps(row).encode())


def test_example_without_profile_satisfies_the_contract():
    contract = Contract.model_validate({"columns": {"sex": {"type": "string", "allowed": ["female", "male"]}}})
    assert example_row(contract, None) == {"sex": "female"}
