"""Choose the rows that are kept back to judge the model."""

import numpy as np
import polars as pl
from sklearn.model_selection import train_test_split

from ..errors import ProjectError


def holdout(target: pl.Series, share: float, seed: int, *, stratify: bool) -> pl.Series:
    """Mark the rows to keep back: a Boolean per row, the same for the same target and seed.

    With `stratify`, each class is kept back in proportion, unless one has a single row.
    """
    even = stratify and target.value_counts().get_column("count").min() != 1
    try:
        _, kept = train_test_split(
            np.arange(len(target)), test_size=share, random_state=seed, stratify=target.to_numpy() if even else None
        )
    except ValueError as error:
        raise ProjectError(f"params.yaml: split.holdout is {share}, but with {len(target)} rows: {error}") from None
    mask = np.zeros(len(target), dtype=bool)
    mask[kept] = True
    return pl.Series("holdout", mask)
