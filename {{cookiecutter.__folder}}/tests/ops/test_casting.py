"""Values become the types of the contract, or are refused."""

import datetime as dt
from decimal import Decimal

import polars as pl
import pytest

from penguin_model.config import Contract
from penguin_model.model import casting


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("integer", ["7", " 7.0 ", "1e3"], [7, 7, 1000]),
        ("integer", [1.0, None, float("nan")], [1, None, None]),
        ("float", [1, 2], [1.0, 2.0]),
        ("float", [float("inf"), 1.0], [None, 1.0]),
        ("float", [dt.time(0, 1), None], [60.0, None]),
        ("float", [dt.timedelta(minutes=1)], [60.0]),
        ("float", [Decimal("1.5")], [1.5]),
        ("boolean", ["True", "false", None], [True, False, None]),
        ("boolean", [0, 1], [False, True]),
        ("date", ["2020-02-29"], [dt.date(2020, 2, 29)]),
        ("datetime", ["2020-02-29", "2020-02-29 12:30"], [dt.datetime(2020, 2, 29), dt.datetime(2020, 2, 29, 12, 30)]),
        ("datetime", ["2020-02-29T12:30:00+02:00"], [dt.datetime(2020, 2, 29, 10, 30)]),
        ("datetime", [dt.datetime(2020, 2, 29, tzinfo=dt.UTC)], [dt.datetime(2020, 2, 29)]),
        ("string", [1, 2], ["1", "2"]),
    ],
)
def test_values_get_the_type_of_the_contract(kind, given, expected):
    contract = Contract.model_validate({"columns": {"x": {"type": kind, "nullable": True}}})
    assert casting.conform(pl.LazyFrame({"x": given}), contract).collect()["x"].to_list() == expected


@pytest.mark.parametrize(("kind", "given"), [("integer", 2.5), ("date", "soon"), ("boolean", 2), ("float", "many")])
def test_values_of_another_type_are_refused(kind, given):
    contract = Contract.model_validate({"columns": {"x": {"type": kind}}})
    with pytest.raises(pl.exceptions.InvalidOperationError) as refused:
        casting.conform(pl.LazyFrame({"x": [given]}), contract).collect()
    assert casting.refusal(refused.value) == f"column 'x' must be of type {kind}, not '{given}'"
