"""Find rows that belong together, and rows in the order of time, which a split at random tears apart."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import polars as pl

from .leakage import CHANCE, TIME, encode, height_of, rows_wanted
from .sentences import few

# An entity has more than one row on average, and between 2 and 50 unless its name tells.
OFTEN, REPEATS = 1.1, 50
# With fewer values it is a category; of the columns that may name entities so many are looked at.
FEWEST_ENTITIES, CANDIDATES = 5, 8
# So many columns may tell entities of two names apart.
TELLING = 50
# A column belongs to an entity if it agrees in this share of its rows.
AGREEING = 0.98
ENTITY = re.compile(
    r"(cust(omer)?|client|pat(ient)?|person|subj(ect)?|participant|user|member|household|emp(loyee)?|student|player|driver|animal|"
    r"machine|device|sensor|engine|vehicle|station|account|session)s?([\W_]*(id|no|nr|key|code|number|name))?"
    r"|(unit|asset|serial|kunden?)[\W_]*(id|no|nr|key|code|number|nummer)"
    r"|(.*[\W_])?(id|uuid|guid|e-?mail|login|mrn|ssn|vin|iban)",
    re.IGNORECASE,
)
FEWEST_TIMES = 3
# Of so many rows, one may lack its time.
LACKING = 10
# Places and times have many rows that do not belong together.
OTHERS = re.compile(r"zip|plz|post.?code|postal|city|town|county|state|country|region|district|street", re.IGNORECASE)
BIRTH = re.compile(r"birth|born|dob", re.IGNORECASE)


def notes(rows: pl.LazyFrame, target: str) -> list[str]:
    """Return sentences about the entities and the order of rows that a split at random ignores."""
    labelled = rows.drop_nulls(target)
    return [*(list(_entities(labelled, target)) or _pairs(labelled, target)), *_time(labelled, target)]


def _entities(rows: pl.LazyFrame, target: str) -> Iterator[str]:
    """Yield a sentence for each column whose values are entities, such as patients, with several rows each."""
    height, wanted, accepted = height_of(rows), rows_wanted(rows), set[str]()
    for unnamed, count, name in _candidates(rows, target, height):
        # Whole entities, and 100 of them if there are so many.
        share = max(1, min(height // wanted, count // 100))
        some = rows.filter(pl.col(name).is_not_null() & (pl.col(name).hash() % share == 0)).head(wanted)
        part = some.unique(maintain_order=True).collect(engine="streaming")
        codes = {column: encode(part[column]) for column in part.columns}
        own = codes.pop(name)
        first = np.unique(own, return_index=True)[1]
        determined, aliases = _determined(codes, first, first[own], binned=not unnamed)
        if len(own) < OFTEN * len(first) or aliases & accepted or (unnamed and not _independent(determined, codes)):
            continue
        accepted.add(name)
        determines = f" and determines {quoted(determined, 5)}" if determined else ""
        yield (
            f"'{name}' repeats (about {round(height / count, 1):g} rows each){determines}, and the split is random: if "
            f"the rows of each belong together, hold out whole groups ({_option('group', name)})."
        )


def _pairs(rows: pl.LazyFrame, target: str) -> Iterator[str]:
    """Yield a sentence for the first two columns of text that name entities together, such as shop and product.

    A column must tell these apart: one that neither of both determines, with values for at least half of them.
    """
    schema = rows.collect_schema()
    texts = [name for name in schema if schema[name] == pl.String and not OTHERS.search(name)]
    texts = [name for name in texts if name != target and not TIME.fullmatch(name)][:CANDIDATES]
    columns = list(dict.fromkeys([target, *texts, *schema]))[:TELLING]
    some = rows.select(columns).head(rows_wanted(rows) if len(texts) > 1 else 0)
    codes = {column.name: encode(column) for column in some.unique(maintain_order=True).collect(engine="streaming")}
    codes.pop(target)
    for name, other in combinations(texts, 2):
        pair = codes[name] * (codes[other].max() + 1) + codes[other]
        first = np.unique(pair, return_index=True)[1]
        if len(first) < FEWEST_ENTITIES or not OFTEN <= len(pair) / len(first) <= REPEATS:
            continue
        rest = {column: values for column, values in codes.items() if 2 * len(np.unique(values[first])) >= len(first)}
        telling = _belonging(pair, rest)
        for own in (codes[name], codes[other]):
            telling -= _belonging(own, {column: rest[column] for column in telling})
        if telling:
            groups = _option("group", max(name, other, key=lambda column: codes[column].max()))
            yield (
                f"'{name}' and '{other}' together repeat and determine {quoted(sorted(telling), 5)}, and the split is "
                f"random: if the rows of each pair belong together, hold out whole groups of one ({groups})."
            )
            return


def _belonging(own: np.ndarray, codes: Mapping[str, np.ndarray]) -> set[str]:
    """Return the columns that hardly vary within the entities."""
    _, first, number = np.unique(own, return_index=True, return_inverse=True)
    determined, aliases = _determined(codes, first, first[number], binned=True)
    return {*determined, *aliases}


def _candidates(rows: pl.LazyFrame, target: str, height: int) -> list[tuple[bool, int, str]]:
    """Return the columns that may name entities: those named so first, then those with the fewest values."""
    schema = rows.collect_schema()
    names = [name for name, dtype in schema.items() if name != target and (dtype.is_numeric() or dtype == pl.String)]
    facts = rows.select(
        pl.struct(
            count=pl.col(name).drop_nulls().approx_n_unique(),
            whole=pl.lit(True) if schema[name] == pl.String else (pl.col(name) % 1 == 0).all(),  # noqa: FBT003
        ).alias(name)
        for name in names
    )
    candidates = []
    values = facts.collect(engine="streaming").row(0) if names else ()
    for name, (count, whole) in zip(names, map(dict.values, values), strict=True):
        named = bool(ENTITY.fullmatch(name))
        often = 2 * count <= height <= REPEATS * count and not OTHERS.search(name) and not TIME.fullmatch(name)
        if whole and count >= FEWEST_ENTITIES and OFTEN * count <= height and (named or often):
            candidates.append((not named, count, name))
    return sorted(candidates)[:CANDIDATES]


def _determined(
    codes: Mapping[str, np.ndarray], first: np.ndarray, first_of_row: np.ndarray, *, binned: bool
) -> tuple[list[str], set[str]]:
    """Return the columns that hardly vary within an entity, and those that name the entity just as well.

    Not those that group its values in their order, as an age group does, unless `binned`.
    """
    repeated = first_of_row != np.arange(len(first_of_row))
    determined, aliases = [], set()
    for name, values in codes.items():
        shares = np.bincount(values) / len(values)
        chance = (shares**2).sum()
        agreeing = (values == values[first_of_row])[repeated].mean() if repeated.any() else 0
        if agreeing - chance < AGREEING * (1 - chance) or -repeated.sum() * np.log(chance) <= CHANCE:
            continue
        of_entity = values[first]
        distinct = len(np.unique(of_entity))
        if distinct >= AGREEING * len(first):
            aliases.add(name)
        elif binned or np.count_nonzero(np.diff(of_entity)) > 1.1 * distinct:
            determined.append(name)
    return determined, aliases


def _independent(names: Sequence[str], codes: Mapping[str, np.ndarray]) -> bool:
    """Tell whether the columns are more than levels of one hierarchy, such as city and country of a postcode."""
    if not names:
        return False
    finest = max(names, key=lambda name: codes[name].max())
    return any(
        len(np.unique(codes[finest] * (codes[name].max() + 1) + codes[name])) > 1.1 * len(np.unique(codes[finest]))
        for name in names
    )


def _time(rows: pl.LazyFrame, target: str) -> list[str]:
    """Return a sentence if the rows are in the order of time, or have one date each."""
    dates = [name for name, dtype in rows.collect_schema().items() if dtype.is_temporal() and not BIRTH.search(name)]
    numbers = [name for name, dtype in rows.collect_schema().items() if dtype.is_numeric() and TIME.fullmatch(name)]
    names = [name for name in [*dates, *numbers] if name != target]
    facts = rows.select(
        pl.struct(
            missing=pl.col(name).null_count(),
            usable=(present.len() > (1 - 1 / LACKING) * pl.len()) & (present.n_unique() >= FEWEST_TIMES),
            ordered=(present >= present.shift()).all() | (present <= present.shift()).all(),
        ).alias(name)
        for name in names
        for present in [pl.col(name).drop_nulls()]
    )
    found = facts.collect(engine="streaming").row(0, named=True) if names else {}
    usable = [name for name in names if found[name]["usable"]]
    if ordered := [name for name in usable if found[name]["ordered"]]:
        name, what = ordered[0], "The rows are in the order of"
    elif len(dates) == 1 and dates[0] in usable:
        name, what = dates[0], "The rows have a date in"
    else:
        return []
    missing = found[name]["missing"]
    first = f"; first correct or drop the {missing} row(s) without it" if missing else ""
    advice = f"if the model will predict later rows, hold out the latest ({_option('time', name)}{first})"
    return [f"{what} '{name}', and the split is random: {advice}."]


def _option(method: str, name: str) -> str:
    return f"adopt with --{method} {shlex.quote(name)}, or split.by: {method} and split.column: {name} in params.yaml"


def quoted(names: Sequence[str], most: int) -> str:
    """Return names for a sentence, and how many more there are than may be shown."""
    return few([f"'{name}'" for name in names], most)
