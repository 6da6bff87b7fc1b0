"""Build the features, with the same function in training, scoring and serving."""

from collections.abc import Mapping

import polars as pl
import polars.selectors as cs
from polars.testing import assert_series_equal

from ..errors import ProjectError

# Features that SQL cannot express, by name: Polars expressions over the raw columns of one row, for example
# "weekday": pl.col("day").dt.weekday()
EXPRESSIONS: dict[str, pl.Expr] = {}


def build(rows: pl.LazyFrame, features: Mapping[str, str], hidden: str) -> pl.LazyFrame:
    """Add the features of params.yaml and of EXPRESSIONS to raw rows; NaN and infinity become null.

    `hidden` is the target: a feature that uses it raises ProjectError.
    """
    expressions = read(features)
    for name, expression in expressions.items():
        _check(f"The feature {name}", expression, rows, hidden)
    new = cs.by_name(*expressions) & cs.float()
    built = rows.with_columns(expression.alias(name) for name, expression in expressions.items())
    return built.with_columns(pl.when(new.is_finite()).then(new))


def check_alone(rows: pl.DataFrame, features: Mapping[str, str], hidden: str) -> None:
    """Raise ProjectError for a feature that uses other rows: a row must have the same features alone and in a batch.

    A handful of rows is enough: each is built alone, and all twice in one batch, so that every sum and rank differs.
    """
    alone = pl.concat([build(rows[index].lazy(), features, hidden) for index in range(rows.height)]).collect()
    batch = build(pl.concat([rows, rows]).lazy(), features, hidden).collect().head(rows.height)
    for name in read(features):
        try:
            # Polars may round the last digit differently in a batch.
            assert_series_equal(alone.get_column(name), batch.get_column(name), rel_tol=1e-9, abs_tol=0)
        except AssertionError:
            message = f"The feature {name} uses other rows; it may use only the columns of its own row."
            raise ProjectError(message) from None


def read(features: Mapping[str, str]) -> dict[str, pl.Expr]:
    """Return the expression of each feature by its name; raise ProjectError for invalid SQL."""
    expressions = dict(EXPRESSIONS)
    for name, sql in features.items():
        try:
            expressions[name] = pl.sql_expr(sql)
        except (pl.exceptions.SQLInterfaceError, pl.exceptions.SQLSyntaxError) as error:
            message = f"params.yaml: features.{name} is '{sql}', which is not a Polars SQL expression: {error}."
            raise ProjectError(message) from None
    return expressions


def needed(features: Mapping[str, str]) -> set[str]:
    """Return the columns that the features use."""
    return {column for expression in read(features).values() for column in expression.meta.root_names()}


def _check(feature: str, expression: pl.Expr, rows: pl.LazyFrame, hidden: str) -> None:
    columns = rows.collect_schema().names()
    used = expression.meta.root_names()
    if hidden in used:
        raise ProjectError(f"{feature} uses the target '{hidden}'; it may use every other column.")
    if unknown := [column for column in used if column not in columns]:
        raise ProjectError(f"{feature} uses {', '.join(unknown)}; the table has only {', '.join(columns)}.")
    try:
        rows.select(expression).collect_schema()
    except pl.exceptions.PolarsError as error:
        raise ProjectError(f"{feature} cannot be computed: {str(error).partition(chr(10))[0].rstrip('.')}.") from None
