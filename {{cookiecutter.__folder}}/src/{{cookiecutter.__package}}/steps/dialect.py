"""How a text file writes its table, by its first lines; a file that holds no table is named, with the line."""

import csv
import gzip
import io
import re
import unicodedata
import zlib
from codecs import BOM_UTF8
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, NamedTuple, cast

import numpy as np

from ..errors import ProjectError

SEPARATORS = ",;\t|"
# The bytes and rows that decide, the bytes that are checked at a time, and those of the longest row.
HEAD, ROWS, BLOCK, LONGEST = 1 << 17, 1000, 1 << 20, 1 << 26
QUOTE, RETURN = b'"\r'
BLANKS = b" \t\r\n"
OTHER_FORMATS = {
    rb"PK\x03\x04": "an Excel workbook or a Zip archive; save the sheet as CSV, or unpack the archive",
    rb"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV",
    rb"PAR1|ARROW1|FEA1|\xff\xff\xff\xff": "an old or compressed Arrow, Feather or Parquet file; save it as Parquet",
    rb"SQLite format 3": "an SQLite database; adopt sqlite:///… with --query",
    rb"%PDF": "a PDF document; save the table as CSV",
    rb"BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!": "compressed, but not with gzip; unpack it",
    rb"(?s)\xff\xfe|.?\x00": "not text in UTF-8; save it as such",
    rb"version https://git-lfs": "a pointer of Git LFS; run `git lfs pull`",
    rb'(\xef\xbb\xbf)?\s*(\{\s*["}]|\[\s*["\[{\d\]-])': "JSON, but not records in UTF-8; save it as CSV or Parquet",
    rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype html|html|head|body)": "an HTML page; download the table itself",
    rb"(\xef\xbb\xbf)?\s*<[?!\w]+[\s>]": "XML; save it as CSV or Parquet",
}
NUMBER = re.compile(r"[-+]?\d*[.,]?\d+([eE][-+]?\d+)?")
# Text in which the separator of other files may mark decimals or thousands.
AMOUNT = re.compile(r"[-+\d.,'%€$£\s]+")
TOTAL = re.compile(
    r"(grand |sub-?)?(totals?|totale|totaal|sum(me|ma|a)?|som(me|a)|(ins)?gesamt\w*|razem|ogółem|celkem|összesen|toplam"
    r"|average|mean|mittelwert|durchschnitt|moyenne|promedio|\u0438\u0442\u043e\u0433\u043e|\u0432\u0441\u0435\u0433\u043e"
    r"|合計|总计|總計|합계)(?!\w)( *\(.*\))? *:?",
    re.IGNORECASE,
)


class NotATable(ProjectError):  # noqa: N818 - says what the file is
    """A file cannot be read as a table; the message is the reason, without the name of the file."""


class Row(NamedTuple):
    """A row of a text file: its values without blanks around them, and its first and last line."""

    values: list[str]
    first: int
    last: int


class Dialect(NamedTuple):
    """How a text file writes its table: what separates values and lines, and where the names of the columns are.

    `blanks` are the values in lines of nothing but blanks and separators; they count as missing.
    """

    separator: str
    eol: str
    heading: Row
    blanks: frozenset[str] = frozenset()

    def notes(self) -> list[str]:
        """Return sentences about what is unusual."""
        notes = [] if self.separator == "," else [f"The columns are separated by {self.separator!r}."]
        if self.heading.first > 1:
            notes.append(f"The heading is line {self.heading.first}; the lines above it are left out.")
        return notes


def look(source: Path) -> Dialect:
    """Tell by its first lines how a file writes its table; raise NotATable if it holds none, or if it is ambiguous."""
    with _opened(source) as file:
        head = file.read(HEAD)
        head += file.readline(LONGEST) if b"\n" in head or b"\r" not in head else b""
        whole = not file.read(1)
    for pattern, what in OTHER_FORMATS.items():
        if re.match(pattern, head):
            raise NotATable(f"it is {what}")
    eol = "\r" if b"\r" in head and b"\n" not in head else "\n"
    if not whole:
        head = head[: head.rfind(eol.encode()) + 1] or head
    _check_bytes(head, eol.encode(), 1)
    text = head.decode("utf-8-sig")
    stated = re.match(r'"?sep=([\t -~])"?\r?[\r\n]', text, re.IGNORECASE)
    separator = stated[1] if stated else _separator(text)
    rows = _rows(text, separator)[bool(stated) :]
    if not rows:
        raise NotATable("it is empty")
    heading = _heading(rows)
    _check_names(heading, [row for row in rows if row.first > heading.last])
    return Dialect(separator, eol, heading)


def check_lines(source: Path, dialect: Dialect) -> Dialect:
    """Raise NotATable, with the line, if a row has more or fewer values than the heading, or if the last is a total.

    Polars fills short rows up with missing values. Blank lines are allowed; return the dialect with their `blanks`.
    """
    eol, total, blanks = dialect.eol.encode(), None, set[str]()
    with _opened(source) as file:
        # Every row comes after the end of a line, so every block starts with one: the end of `line`.
        line = before = dialect.heading.first - 1
        data = eol + b"".join(file.read(BLOCK).removeprefix(BOM_UTF8).split(eol, line)[line:])
        lines = dialect.heading.last - before + 1
        heading = eol.join(data.split(eol, lines)[:lines]) + eol
        numbered = all(map(NUMBER.fullmatch, filter(None, dialect.heading.values)))
        while (block := file.read(BLOCK)) or data != eol:
            data += block or (b"" if data.endswith(eol) else eol)
            end = _check_rows(data, line, dialect, blanks)
            if not end and (not block or len(data) > LONGEST):
                raise NotATable(f"a quote in line {line + 1} is not closed: {_shown(data)}")
            if rows := data[:end].rstrip(BLANKS + dialect.separator.encode()):
                total = _total(data[: data.index(eol, len(rows))], line, dialect)
            if not numbered and (repeated := data.find(heading, int(line == before))) >= 0:
                raise NotATable(f"line {line + data.count(eol, 0, repeated) + 1} repeats the heading; delete it")
            line, data = line + data.count(eol, 0, end), data[end:]
    if total:
        raise NotATable(total)
    return dialect._replace(blanks=frozenset(blanks))


def line_of(source: Path, column: int, value: str) -> int | None:
    """Return the line where the first row with this value in a column, below the heading, ends."""
    separator, _, heading, _ = look(source)
    with _opened(source) as file:
        rows = csv.reader(io.TextIOWrapper(file, "utf-8-sig", newline=None), delimiter=separator)
        lines = (rows.line_num for row in rows if row[column : column + 1] == [value])
        return next((line for line in lines if line > heading.last), None)


def _check_rows(data: bytes, line: int, dialect: Dialect, blanks: set[str]) -> int:
    """Check the rows that end in the data, and add the values of blank ones; return where the last one ends, or 0."""
    eol, separator, columns = ord(dialect.eol), ord(dialect.separator), len(dialect.heading.values)
    codes = np.frombuffer(data, np.uint8)
    places = np.flatnonzero((codes == separator) | (codes == eol) | (codes == QUOTE))
    signs = codes[places]
    # Quotes begin and end a value, or are two within it that enclose no separator.
    quotes = np.flatnonzero(signs == QUOTE)
    pairs = quotes[: len(quotes) // 2 * 2].reshape(-1, 2)
    before, after = codes[places[pairs[:, 0]] - 1], codes.take(places[pairs[:, 1]] + 1, mode="clip")
    within = ~np.isin(before, [separator, eol, QUOTE])
    stray = np.where(within, np.diff(pairs)[:, 0] > 1, ~np.isin(after, [separator, eol, RETURN, QUOTE]))
    faults = [(int(places[at]), "has a quote in a value, where it must be doubled") for at in pairs[stray, 0][:1]]
    returns = np.flatnonzero((codes[:-1] == RETURN) & (codes[1:] != eol) & (eol != RETURN))
    stray = np.searchsorted(places[quotes], returns) % 2 == 0
    faults += [(int(at), "has a carriage return in a value, which must be quoted") for at in returns[stray][:1]]
    if quotes.size:
        outside = ((signs == QUOTE).cumsum() % 2 == 0) & (signs != QUOTE)
        places, signs = places[outside], signs[outside]
    row_ends = np.flatnonzero(signs == eol)
    ends, counts = places[row_ends], np.diff(row_ends)
    _check_bytes(data[: ends[-1]], dialect.eol.encode(), line)
    lengths = np.diff(ends) - (codes[ends[1:] - 1] == RETURN)
    wrong = (counts != columns) & (lengths > 1)
    perhaps_blank = np.isin(codes[ends[:-1] + 1], [separator, *BLANKS]) & (lengths > columns)
    for at in np.flatnonzero(wrong | perhaps_blank):
        text = data[ends[at] : ends[at + 1]].strip(b"\r\n")
        if not text.strip(BLANKS + dialect.separator.encode()):
            blanks.update(text.decode().split(dialect.separator))
        elif wrong[at]:
            what = f"has {counts[at]} instead of {columns} values (separated by {dialect.separator!r})"
            faults.append((int(ends[at + 1]), what))
            break
    for place, what in sorted(faults)[:1]:
        start = int(ends[ends < place][-1]) + 1
        row = data[start:].split(dialect.eol.encode())[0]
        raise NotATable(f"line {line + data.count(dialect.eol.encode(), 0, start)} {what}: {_shown(row)}")
    return int(ends[-1])


def _total(rows: bytes, line: int, dialect: Dialect) -> str | None:
    """Return what is wrong with the last row if it is a total."""
    row = rows.rpartition(dialect.eol.encode())[2]
    values = [value.strip() for value in next(csv.reader([row.decode()], delimiter=dialect.separator), [])]
    first = next(filter(None, values), "")
    named = not values[0] and any(map(TOTAL.fullmatch, values))
    if named or (TOTAL.match(first) if "" in values else TOTAL.fullmatch(first)):
        last = line + rows.count(dialect.eol.encode())
        return f"line {last}, the last, looks like a total of the others; delete it: {_shown(row)}"
    return None


def _separator(text: str) -> str:
    """Return what separates the values: most rows have the same number of them, with no other separator inside."""
    scores = {separator: _score(text, separator) for separator in SEPARATORS}
    best = max(scores.values())
    likely = [separator for separator in SEPARATORS if scores[separator] == best]
    if best and len(likely) > 1:
        raise NotATable(
            f"{' and '.join(map(repr, likely))} separate its values equally well; "
            f"add a first line that says which one does: sep={likely[-1]}"
        )
    return likely[0]


def _score(text: str, separator: str) -> float:
    """Return the share of rows with the usual number of values, times that of values without another separator."""
    rows = [row.values for row in _rows(text, separator)]
    columns, count = Counter(map(len, rows)).most_common(1)[0] if rows else (1, 0)
    if columns == 1:
        return 0
    others = set(SEPARATORS) - {separator}
    values = [value for row in rows if len(row) == columns for value in row]
    pure = sum(others.isdisjoint(value) or AMOUNT.fullmatch(value) is not None for value in values)
    return count / len(rows) * pure / len(values)


def _rows(text: str, separator: str) -> list[Row]:
    """Split text into rows, without blank ones."""
    csv.field_size_limit(LONGEST)
    reader, rows, line = csv.reader(io.StringIO(text, newline=None), delimiter=separator), [], 0
    for values in islice(reader, ROWS):
        rows.append(Row([value.strip() for value in values], line + 1, reader.line_num))
        line = reader.line_num
    return [row for row in rows if any(row.values)]


def _heading(rows: Sequence[Row]) -> Row:
    """Return the first row with as many values as most; above it there may be a title and comments."""
    columns = Counter(len(row.values) for row in rows).most_common(1)[0][0]
    for row in rows:
        alone = row.values[0] != "" and not any(row.values[1:])
        if len(row.values) == columns and not (alone and columns > 2):  # noqa: PLR2004 - a table may have two columns
            return row
        if not alone and not row.values[0].startswith("#"):
            break
    raise NotATable(
        f"line {row.first} has {len(row.values)} values, but most lines have {columns}; the heading needs as many"
    )


def _check_names(heading: Row, below: Sequence[Row]) -> None:
    """Raise NotATable if the heading is a row of data, or gives two columns one name."""
    names = heading.values
    words = [(at, name) for at, name in enumerate(names) if name and not NUMBER.fullmatch(name)]
    numbers = [float(name.replace(",", ".")) for name in names if NUMBER.fullmatch(name)]
    # Years, numbers from 0 on and wavelengths may be names.
    ordered = numbers in (sorted(set(numbers)), sorted(set(numbers), reverse=True))
    named = ordered and (len(numbers) > 4 or all(map(float.is_integer, numbers)))  # noqa: PLR2004 - not by chance
    repeated = [row.first for row in below if row.values == names]
    if words and 0 < 10 * len(repeated) < len(below):  # more often it is a row of data
        raise NotATable(f"line {repeated[0]} repeats the heading; delete it")
    occurs = [any(name in row.values[at : at + 1] for row in below) for at, name in words]
    if not named or (occurs and all(occurs) and len(names) > 1):
        raise NotATable(
            f"line {heading.first} looks like data; add a heading, a line with the names of the columns: {names}"
        )
    if doubled := [name for name, count in Counter(names).items() if count > 1 and name]:
        places = {name: " and ".join(str(at) for at, other in enumerate(names, 1) if other == name) for name in doubled}
        columns = ", ".join(f"columns {at} are named {name!r}" for name, at in places.items())
        raise NotATable(f"{columns}; give each a name of its own")


def _check_bytes(data: bytes, eol: bytes, line: int) -> None:
    """Raise NotATable, with the line, if data that starts in `line` is not text in UTF-8."""
    place, what = data.find(b"\0"), "a NUL byte, so it is not text"
    try:
        if not data.isascii():
            data.decode()
    except UnicodeDecodeError as error:
        if place < 0:
            place, what = error.start, "text that is not UTF-8; save the file as UTF-8"
    if place >= 0:
        shown = data[data.rfind(eol, 0, place) + 1 :].partition(eol)[0]
        raise NotATable(f"line {line + data.count(eol, 0, place)} holds {what}: {_shown(shown)}")


def _shown(row: bytes) -> str:
    """Show the start of a row; one that is not UTF-8 is most often Windows-1252."""
    try:
        return repr(row.strip().decode()[:80])
    except UnicodeDecodeError:
        return repr(row.strip().decode("cp1252", errors="replace")[:80])


def look_of(text: str) -> str:
    """Return a text as it looks: in one form, without invisible characters, and with one blank between words."""
    visible = (char for char in text if char.isspace() or unicodedata.category(char) not in {"Cc", "Cf"})
    return unicodedata.normalize("NFC", " ".join("".join(visible).split()))


def as_utf8(source: Path) -> Path | io.BytesIO:
    """Return the file, or its text if that is UTF-16, which begins with a byte order mark."""
    with source.open("rb") as file:
        head = file.read(4)
        if not head.startswith((b"\xff\xfe", b"\xfe\xff")) or head.endswith(b"\0\0"):  # the end of UTF-32's mark
            return source
        try:
            return io.BytesIO((head + file.read()).decode("utf-16").encode())
        except UnicodeDecodeError:
            raise NotATable("its UTF-16 is damaged or incomplete; get the file again") from None


@contextmanager
def _opened(source: Path) -> Iterator[IO[bytes]]:
    """Open a file as UTF-8, and unpack it if it is compressed."""
    with source.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
    text = gzip.GzipFile(source) if compressed else as_utf8(source)
    try:
        with text.open("rb") if isinstance(text, Path) else text as opened:
            yield cast("IO[bytes]", opened)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        raise NotATable("its compression is damaged or incomplete; get the file again") from None
