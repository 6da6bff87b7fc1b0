"""Rows that violate the data contract: written to a file, and shown in Prefect."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl
from prefect.artifacts import create_table_artifact

from ...steps.validate import ContractError
from ..markdown import escape
from ..paths import VIOLATIONS
from ..settings import artifact_key, project_root

SHOWN = 20


@contextmanager
def violations_kept() -> Iterator[None]:
    """Write the rows of a ContractError to a file and show the first in Prefect; delete the file of an earlier run."""
    file = project_root() / VIOLATIONS
    file.unlink(missing_ok=True)
    try:
        yield
    except ContractError as error:
        if error.rows.collect_schema():
            file.parent.mkdir(parents=True, exist_ok=True)
            error.rows.sink_parquet(file)
            shown = pl.scan_parquet(file, glob=False).head(SHOWN).select(pl.all().cast(pl.String)).collect()
            cells = [{escape(name): value and escape(value) for name, value in row.items()} for row in shown.to_dicts()]
            create_table_artifact(cells, key=artifact_key("violations"), description="\n".join(map(escape, error.args)))
        raise
