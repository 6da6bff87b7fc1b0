"""Build the features, by the same function in training, scoring and serving."""

from collections.abc import Mapping

import polars as pl
import polars.selectors as cs

from ..errors import ProjectError


def build(rows: pl.LazyFrame, features: Mapping[str, str], hidden: str) -> pl.LazyFrame:
    """Add the features of params.yaml to raw rows; infinities (a division by zero) become missing values.

    `hidden` is the target: a feature that looks at it is refused with ProjectError.
    """
    added = [_expression(name, sql, rows, hidden).alias(name) for name, sql in features.items()]
    finite = pl.when(cs.float().is_finite()).then(cs.float())
    return rows.with_columns(added).with_columns(finite)


def _expression(name: str, sql: str, rows: pl.LazyFrame, hidden: str) -> pl.Expr:
    columns = rows.collect_schema().names()
    where = f"params.yaml: features.{name} is '{sql}'"
    try:
        expression = pl.sql_expr(sql)
    except (pl.exceptions.SQLInterfaceError, pl.exceptions.SQLSyntaxError) as error:
        raise ProjectError(f"{where}, which is no Polars SQL expression: {error}.") from None
    used = expression.meta.root_names()
    if hidden in used:
        raise ProjectError(f"{where}, which looks at the target '{hidden}'; a feature may use every other column.")
    if unknown := [column for column in used if column not in columns]:
        raise ProjectError(f"{where}, and the table has no column {', '.join(unknown)}; it has {', '.join(columns)}.")
    return expression
