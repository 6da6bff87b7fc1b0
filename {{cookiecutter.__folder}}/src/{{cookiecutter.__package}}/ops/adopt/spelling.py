"""Find out how text spells numbers and dates; refuse text that is nearly a number, or that can be read in two ways."""

import re
import shlex
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import polars as pl

from ...config import Column, Type
from ...errors import ProjectError
from ...model.casting import cast, plain, uniform
from ...steps import dialect, ingest
from .shapes import CURRENCY, EXAMPLES, Shape, examples, shape_of

# Ways to read a column are chosen by so many rows and different values, and then checked against all.
GUESSED, VALUES = 10_000, 1000
# So many columns are counted at once: Polars keeps all different values of each.
AT_ONCE = 250
# A way that reads a smaller share of the values is not considered.
MOST = 0.5
# Text is nearly a number or a date if at most so many rows are not, or at least so many of its different values are:
# mistakes, or a word for missing values; but not labels such as 0, 1, 2, 3+ or house numbers such as 12, 12a, 14.
MISTAKES, NEARLY = 0.02, 0.9
# More different numbers of two digits behind the names of months may be days.
YEARS = 12
# Whole numbers before a word are classes in a target that has so few of them: 2WD, 4WD.
CLASSES = 20
# Decimal mark and thousands separator; of those that read all values alike, the first counts.
MARKS: tuple[tuple[Any, Any], ...] = (
    *((".", None), (",", None), (None, ","), (",", ".")),
    *((mark, thousands) for thousands in " '_" for mark in (None, ",")),
)
SEPARATORS = ".,'_ "
UNITS = rf"^[-+(]*\s*({CURRENCY})\s*[-+(]*[\d.,]", r"\d(?:[.,]-{0,2})?\s*([^\p{N}\s.,()-][^\d)]{0,14}?[23]?)\s*\)?$"
NUMERIC = r"^\D{0,6}\d+(?:[., '_]\d+)*[.,]?(?:[eE][-+]?\d+)?\D{0,18}[23]?$"
# 007, +49 301 234 567 and 20 digits are names, and so are 12345 and 12345-6789 in one column.
NAME = r"^\W*0\d|^\d{5}-\d{4}$|^\d{20}"
THOUSANDS = r"^[-+]?(?:\d{1,3}|[1-9]\d{0,2}(?:\.\d{3})+)$"
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y %m %d", "%d.%m.%Y", "%d.%m.%y"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y", "%m-%d-%Y", "%d %m %Y"),
    *("%d/%m/%y", "%m/%d/%y", "%y/%m/%d", "%d-%m-%y", "%m-%d-%y", "%y-%m-%d"),
    *("%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%m-%Y", "%B %Y", "%B-%Y", "%B-%y", "%Y-%B", "%YM%m"),
    *(f"%d{mark}%B{mark}%{year}" for mark in (*" -/.", "") for year in "Yy"),
    *("%Y%m%dT%H%M%S", "%a %B %d %H:%M:%S %Y", "%Y年%m月%d日"),
    *("%d. %B %Y", "%B %d, %Y", "%B %d %Y", "%Y-%B-%d", "%Y %B %d"),
    *("%a, %d %B %Y", "%a %d %B %Y", "%a, %B %d, %Y", "%A, %d %B %Y", "%A %d %B %Y", "%A, %B %d, %Y"),
)
CLOCKS = ("%H:%M", "%H:%M:%S", "%H:%M:%S%.f", "%I:%M %p", "%I:%M:%S %p", "%I:%M%p", "%I:%M:%S%p")
ZONES = ("", "%#z", " %z", "Z", " UTC", " GMT", " Uhr")
SOME_DAY = datetime(2023, 12, 31, 14, 30, 5, tzinfo=UTC)
DATE_NAME = re.compile(r"(.*[\W_])?(date|day|datum|tag|dt|ymd|dob)([\W_].*)?|.*[a-z]Date", re.IGNORECASE)


class Hints(NamedTuple):
    """What the user says about the spelling."""

    decimal: str | None = None
    thousands: str | None = None
    date_formats: Sequence[str] = ()
    text: Sequence[str] = ()

    def allow(self, column: Column) -> bool:
        """Tell whether a way to read a column follows a hint."""
        if column.format:
            return column.format in self.date_formats
        mark = column.decimal or "."
        return (
            bool(self.decimal or self.thousands)
            and self.decimal in {None, mark}
            and self.thousands != mark
            and (column.thousands is None or self.thousands in {None, column.thousands})
        )


NO_HINTS = Hints()
Key = TypeVar("Key")


class Spelling(NamedTuple):
    """Columns whose text spells numbers or dates in a way of their own, and sentences about them."""

    columns: dict[str, Column]
    sentences: list[str]


class Text(NamedTuple):
    """A column of text, and how many of its values each way to read it reads."""

    name: str
    present: int
    fits: dict[Column, int]

    @property
    def whole(self) -> list[Column]:
        """Return the ways that read all values."""
        return [column for column, count in self.fits.items() if count == self.present]


def find(file: Path, table: pl.LazyFrame, types: Mapping[str, Type | None], target: str, hints: Hints) -> Spelling:
    """Find the columns of a table, read as text, that spell numbers or dates unlike -1234.5 and 2023-12-31.

    Raises ProjectError for columns that can be read in two ways, and for those that are nearly numbers or dates.
    """
    if unknown := [name for name in hints.text if name not in types]:
        raise ProjectError(f"--text is '{unknown[0]}'; the table has {', '.join(types)}.")
    texts = readings(table, types, target, hints)
    ways = {text.name: _different(table, text) for text in texts}
    chosen = {name: columns[0] for name, columns in ways.items() if len(columns) == 1}
    known = _evidence(table, types, chosen)
    reasons = dict.fromkeys(chosen, "")
    shapes = {
        name: shape
        for name, values in _samples(table, [name for name, kind in types.items() if kind == "string"], hints).items()
        if not ways.get(name) and (shape := shape_of(values))
    }
    mixed = {
        text.name: _mixed(file, table, text, refused=text.name in shapes and not shapes[text.name].classes)
        for text in texts
        if text.fits and not ways[text.name]
    }
    found = mixed | {name: _shaped(file, table, name, shape) for name, shape in shapes.items() if name not in mixed}
    refusals = [sentence for refused, sentence in found.values() if refused]
    for name, columns in ways.items():
        evident = [column for column in columns if _mark(column) in known]
        allowed = [column for column in columns if hints.allow(column)] or evident
        if len(columns) > 1 and len(allowed) == 1:
            chosen[name] = allowed[0]
            reasons[name] = f", as in '{known[_mark(allowed[0])]}'" if allowed is evident else ""
        elif len(columns) > 1 and (types[name] == "string" or _looks_grouped(table, name)):
            refusals.append(_two_ways(file, table, name, columns))
    if refusals:
        raise ProjectError(*refusals)
    spelled = _typed(table, {name: column for name, column in chosen.items() if column.spelling})
    alike: dict[tuple[str, str], list[str]] = {}
    for name, column in spelled.items():
        alike.setdefault((str(column.spelling), reasons[name]), []).append(name)
    sentences = [_sentence(table, names, spelled[names[0]], reason) for (_, reason), names in alike.items()]
    text = {name: Column(type="string") for name in hints.text}
    return Spelling(spelled | text, [*sentences, *(sentence for _, sentence in found.values())])


def lookalikes(table: pl.LazyFrame, names: Sequence[str]) -> list[str]:
    """Return a sentence per column of text with values that differ only in case, blanks or invisible characters.

    One more is about the names of columns that differ so.
    """
    pairs = _alike(table.collect_schema())
    sentences = [f"Columns differ only in case, blanks or the like, and are kept: {', '.join(pairs)}."] if pairs else []
    levels = {name: pl.col(name).cast(pl.String).drop_nulls().unique().sort().implode() for name in names}
    for name, values in compute(table, levels).items():
        if pairs := _alike(values):
            shown = ", ".join(pairs[:EXAMPLES])
            what = "case, blanks or invisible characters"
            sentences.append(f"Values of '{name}' differ only in {what}, and count as different: {shown}.")
    return sentences


def _alike(values: Iterable[str]) -> list[str]:
    """Return the values that differ only in case, blanks or invisible characters, those that are alike in one text."""
    same: dict[str, list[str]] = {}
    for value in values:
        same.setdefault(unicodedata.normalize("NFKC", dialect.look_of(value)).casefold(), []).append(value)
    return [" and ".join(map(repr, group)) for group in same.values() if len(group) > 1]


def readings(
    table: pl.LazyFrame, types: Mapping[str, Type | None], target: str | None = None, hints: Hints = NO_HINTS
) -> list[Text]:
    """Return the columns of text that can be read as numbers or dates, at least for the most part, and how."""
    ways: dict[str, list[Column]] = {}
    for name, values in _samples(table, list(types), hints).items():
        columns = _ways(name, types[name], values, hints, labels=name == target)
        read = compute(values.alias(name).to_frame().lazy(), {column: _fits(name, column) for column in columns})
        if kept := [column for column, count in read.items() if count >= MOST * len(values)]:
            ways[name] = kept
    marks = [(name, column.thousands) for name, columns in ways.items() for column in columns if column.thousands]
    seen = compute(
        table, {(name, mark): uniform(pl.col(name)).str.contains(mark, literal=True).any() for name, mark in marks}
    )
    # Ways that differ only in a mark that no value has read all alike.
    ways = {name: [way for way in ways[name] if not way.thousands or seen[name, way.thousands]] for name in ways}
    counted: dict[tuple[str, Column | str], pl.Expr] = {}
    for name, columns in ways.items():
        text, is_number = uniform(pl.col(name)), pl.lit(columns[0].unit is not None)
        is_name = ~is_number & (text.str.contains(NAME).any() | text.str.starts_with("+").all())
        counted |= {(name, "present"): pl.col(name).count(), (name, "is name"): is_name}
        counted |= {(name, column): _fits(name, column) for column in columns}
    counts = compute(table, counted)
    texts = []
    for name, columns in ways.items():
        allowed = [way for way in columns if way.format or not counts[name, "is name"]]
        fits = {way: counts[name, way] for way in allowed if counts[name, way]}
        texts.append(Text(name, counts[name, "present"], fits))
    return texts


def _samples(table: pl.LazyFrame, names: Sequence[str], hints: Hints) -> dict[str, pl.Series]:
    """Return some different values of each column of text with digits."""
    schema = table.collect_schema()
    names = [name for name in names if schema[name] == pl.String and name not in hints.text]
    head = table.select(names).head(GUESSED).collect()
    digits = compute(head.lazy(), {name: pl.col(name).str.contains(r"\d").any() for name in names})
    return {
        name: head.select(uniform(pl.col(name))).to_series().drop_nulls().unique(maintain_order=True).head(VALUES)
        for name in names
        if digits[name]
    }


def _fits(name: str, column: Column) -> pl.Expr:
    return pl.col(name).count() - cast(name, pl.String(), column).lost.sum()


def _ways(name: str, kind: Type | None, values: pl.Series, hints: Hints, *, labels: bool) -> list[Column]:
    """Return the ways that may read these values, the plainest first."""
    if kind == "float" and values.str.contains(THOUSANDS).all() and values.str.contains(".", literal=True).any():
        return [Column(type="float"), Column(type="float", decimal=",", thousands=".")]
    if kind == "integer" and DATE_NAME.fullmatch(name) and values.str.contains(r"^(19|20)\d{6}$").all():
        return [Column(type="date", format="%Y%m%d")]
    if kind != "string" or values.is_empty():
        return []
    formats = _formats().get(Counter(map(_mask, values)).most_common(1)[0][0], [])
    # Jan-05 is a month of a year, unless there are too many different years.
    if "%B-%y" in formats and values.str.extract(r"(\d+)$").n_unique() > YEARS:
        formats = [form for form in formats if form != "%B-%y"]
    formats = [*hints.date_formats, *formats]
    dates = [Column(type="datetime" if re.search("%[HIT]", form) else "date", format=form) for form in formats]
    return [*_numbers(values, labels=labels), *dates]


def _numbers(values: pl.Series, *, labels: bool) -> Iterator[Column]:
    unit = None
    for pattern in UNITS:
        common = Counter(values.str.extract(pattern).drop_nulls()).most_common(1)
        if common and common[0][1] >= MOST * len(values) and common[0][0].casefold() not in {"uhr", "am", "pm"}:
            unit = common[0][0]
    if (labels and unit and unit.isalpha() and len(values) <= CLASSES) or values.str.contains(
        NUMERIC
    ).sum() < MOST * len(values):
        return
    for decimal, thousands in MARKS:
        yield Column(type="float", decimal=None if unit and decimal == "." else decimal, thousands=thousands, unit=unit)


@cache
def _formats() -> dict[str, list[str]]:
    """Return the formats of dates and times by their shape."""
    formats: dict[str, list[str]] = {}
    clocks = [f"{joint}{clock}{zone}" for clock in CLOCKS for joint in (" ", "T", ", ", ":") for zone in ZONES]
    for form in (f"{date}{clock}" for date in DATES for clock in ("", *clocks)):
        shown = SOME_DAY.strftime(form.replace("%.f", ".%f").replace("%#z", "+00:00"))
        formats.setdefault(_mask(shown), []).append(form)
    return formats


def _mask(text: str) -> str:
    """Return the shape of a text: 4 for four digits, 1 for others, a for letters."""

    def shape(found: re.Match[str]) -> str:
        return "a" if found[1] is None else "4" if len(found[1]) == 4 else "1"  # noqa: PLR2004

    return re.sub(r"(\d+)|[A-Za-z]+", shape, text).replace("+", "-")


def _different(table: pl.LazyFrame, text: Text) -> list[Column]:
    """Return the ways that read all values, and not all of them alike."""
    different: list[Column] = []
    for column in text.whole:
        values = cast(text.name, pl.String(), column).value
        others = {other: (values != cast(text.name, pl.String(), other).value).any() for other in different}
        if all(compute(table, others).values()):
            different.append(column)
    return different


def _mark(column: Column) -> str:
    return column.format or column.decimal or "."


def _evidence(table: pl.LazyFrame, types: Mapping[str, Type | None], chosen: Mapping[str, Column]) -> dict[str, str]:
    """Return the decimal marks and formats that are certain, each with a column that has it."""
    known = {
        _mark(column): name
        for name, column in chosen.items()
        if column.format or column.decimal == "," or column.thousands == ","
    }
    schema = table.collect_schema()
    floats = [name for name, kind in types.items() if kind == "float" and schema[name] == pl.String]
    points = compute(table, {name: (~pl.col(name).str.contains(THOUSANDS)).any() for name in floats})
    pointed = [name for name, point in points.items() if point]
    return known | ({".": pointed[0]} if pointed else {})


def _looks_grouped(table: pl.LazyFrame, name: str) -> bool:
    """Tell whether numbers look like 950 and 1.200: neither all rounded to three digits, nor without needless zeros."""
    text = uniform(pl.col(name))
    looks = {"whole": ~text.str.contains(".", literal=True).all(), "zeros": text.str.contains(r"\.\d\d0$").any()}
    return all(compute(table, looks).values())


def _typed(table: pl.LazyFrame, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Make numbers integers where none has a decimal mark or an exponent."""
    floats = {name: column for name, column in columns.items() if column.type == "float"}
    numbers = {name: column.model_copy(update={"type": "integer"}) for name, column in floats.items()}
    fractions = {
        name: plain(pl.col(name), column).str.contains("[.eE]").any() | cast(name, pl.String(), column).lost.any()
        for name, column in numbers.items()
    }
    return dict(columns) | {name: numbers[name] for name, found in compute(table, fractions).items() if not found}


def _mixed(file: Path, table: pl.LazyFrame, text: Text, *, refused: bool) -> tuple[bool, str]:
    """Tell whether text that is mostly numbers or dates is refused, and describe it."""
    name, (column, count) = text.name, max(text.fits.items(), key=lambda item: item[1])
    lost = cast(name, pl.String(), column).lost
    values = {"good": pl.col(name).filter(~lost).drop_nulls().n_unique(), "all": pl.col(name).drop_nulls().n_unique()}
    values["odd"] = pl.col(name).filter(lost).unique(maintain_order=True).head(EXAMPLES).implode()
    good, different, odd = compute(table, values).values()
    shown = ", ".join(_place(file, table, name, value) for value in odd)
    example = _example(table, name, column)[0]
    numbers = f"{count} of {text.present} values are {'dates' if column.format else 'numbers'} like {example!r}"
    nearly = column.format or text.present - count <= MISTAKES * text.present or good >= NEARLY * different
    if not (nearly or refused):
        return False, f"'{name}' stays text: {numbers}, but not {shown}."
    # What has digits is hardly a word for a missing value, but 00.00.0000 may be.
    words = [value for value in odd if not re.search("[1-9]" if column.format else r"\d", value)]
    missing = f", or add --missing {shlex.quote(words[0])} if that means a missing value" if words else ""
    return True, f"Column '{name}': {numbers}, but not {shown}. Correct the table{missing}, or {_as_text(name)}."


def _shaped(file: Path, table: pl.LazyFrame, name: str, shape: Shape) -> tuple[bool, str]:
    """Tell whether text of this shape is refused, and describe it."""
    values = table.select(name).head(GUESSED).collect().to_series().drop_nulls().unique(maintain_order=True)
    shown = ", ".join(_place(file, table, name, value) for value in examples(values))
    if shape.classes:
        return False, f"'{name}' stays text: it holds {shape.what}, such as {shown}, and its values have no order."
    return True, f"Column '{name}' holds {shape.what}, such as {shown}: {shape.right}, or {_as_text(name)}."


def _as_text(name: str) -> str:
    return f"add --text {shlex.quote(name)} to keep the column as text"


def _two_ways(file: Path, table: pl.LazyFrame, name: str, columns: Sequence[Column]) -> str:
    values = [cast(name, pl.String(), column).value for column in columns]
    differ = pl.concat_list(values).list.n_unique().arg_max()
    shown = {place: value.get(differ) for place, value in enumerate([pl.col(name), *values])}
    example, *read = compute(table, shown).values()
    options = [
        f"--date-format {shlex.quote(column.format)}" if column.format else f"--decimal {column.decimal or '.'}"
        for column in columns
    ]
    ways = " or ".join(f"{value} ({option})" for value, option in zip(read, options, strict=True))
    return f"Column '{name}': {_place(file, table, name, example)} may be {ways}: add the right option."


def _sentence(table: pl.LazyFrame, names: Sequence[str], column: Column, why: str) -> str:
    example, value = _example(table, names[0], column)
    where = ", ".join(f"'{name}'" for name in names)
    if column.format:
        years = ""
        if "%y" in column.format:
            dates = cast(names[0], pl.String(), column).value.dt.year()
            ends = compute(table, {"first": dates.min(), "last": dates.max()})
            years = f"; two-digit years are {ends['first']} to {ends['last']}"
        return f"Dates in {where} use {column.format}{why}: {example!r} is {value}{years}."
    parts = [
        {",": "a decimal comma", ".": _signs(example)}.get(column.decimal or ""),
        f"{column.thousands!r} between thousands" if column.thousands else None,
        f"the unit {column.unit!r}" if column.unit else None,
    ]
    return f"Numbers in {where} use {' and '.join(filter(None, parts))}{why}: {example!r} is {value}."


def _signs(example: str) -> str:
    if re.search("[.,][-\u2013\u2014]{1,2}$", example):
        return "a dash for no cents"
    if example.endswith(("-", ")")):
        return "parentheses for negative numbers" if example.endswith(")") else "a minus at the end"
    return "characters of their own"


def _example(table: pl.LazyFrame, name: str, column: Column) -> tuple[str, Any]:
    """Return a value that needs the spelling, the longest of the first, and how it is read."""
    value, lost = cast(name, pl.String(), column)
    odd = pl.col(name).cast(pl.Float64, strict=False).is_null()
    some = (
        table.filter(~lost, pl.col(name).is_not_null()).head(VALUES).select(text=name, value=value, odd=odd).collect()
    )
    text, read, _ = max(some.iter_rows(), key=lambda row: (row[2], len(row[0])))
    return text, f"{read:.15g}" if isinstance(read, float) else read


def _place(file: Path, table: pl.LazyFrame, name: str, value: str) -> str:
    """Show a value, and the line of the file (of files with types: the row) where the column first has it."""
    if ingest.form(file):
        return f"{value!r} (row {compute(table, {name: pl.arg_where(pl.col(name) == value).first()})[name] + 1})"
    line = dialect.line_of(file, table.collect_schema().names().index(name), value)
    return f"{value!r} (line {line})" if line else repr(value)


def compute(table: pl.LazyFrame, expressions: Mapping[Key, pl.Expr], at_once: int = AT_ONCE) -> dict[Key, Any]:
    """Compute a value per expression, many of them in one streaming query."""
    named = [expression.alias(str(index)) for index, expression in enumerate(expressions.values())]
    values: list[Any] = []
    for start in range(0, len(named), at_once):
        values += table.select(named[start : start + at_once]).collect(engine="streaming").row(0)
    return dict(zip(expressions, values, strict=True))
