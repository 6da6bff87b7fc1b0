"""How files are written: what is read although it is unusual, and what is refused in one sentence, with its line."""

import gzip

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from penguin_model.errors import ProjectError
from penguin_model.ops import sources
from penguin_model.steps import dialect, ingest

ROWS = [("1.5", "Bonn", "7"), ("2", "", "8"), ("3", 'say "a, b;\n|c"', "9"), ("4", "Köln", "10")]
TABLE = {"area": ["1.5", "2", "3", "4"], "city": [row[1] or None for row in ROWS], "price": ["7", "8", "9", "10"]}


def written(separator: str = ",", eol: str = "\n", *, above: str = "", quoted: bool = False) -> bytes:
    """Write the table in a dialect."""

    def value(text: str) -> str:
        return '"' + text.replace('"', '""') + '"' if quoted or set(text) & set('",;\t|\n') else text

    lines = [separator.join(map(value, row)) for row in [tuple(TABLE), *ROWS]]
    return (above + eol.join(lines) + eol).encode()


def read(tmp_path, content: bytes) -> dict[str, list[str | None]]:
    (tmp_path / "t.csv").write_bytes(content)
    return ingest.read_table(tmp_path / "t.csv").collect().to_dict(as_series=False)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("eol", ["\n", "\r\n"])
@pytest.mark.parametrize("above", ["", "Sales report 2024\n\n", "# by hand\n# on a, rainy day\n", "Sales\n\nof 2024\n"])
@pytest.mark.parametrize("quoted", [False, True])
def test_dialects_are_read_alike(separator, eol, above, quoted, tmp_path):
    content = written(separator, eol, above=above, quoted=quoted)
    utf16 = [content.decode().encode("utf-16"), b"\xfe\xff" + content.decode().encode("utf-16-be")]
    for variant in (
        *utf16,
        content,
        b"\xef\xbb\xbf" + content,
        gzip.compress(content),
        content.rstrip(),
        content + b"\n\r\n",
    ):
        assert read(tmp_path, variant) == TABLE


@pytest.mark.parametrize(
    ("content", "columns", "note"),
    [
        (b"sep=;\na,b;c\n1;2\n", {"a,b": ["1"], "c": ["2"]}, "separated by ';'"),
        (b'"sep=^"\r\na^b\r\n1^2\r\n', {"a": ["1"], "b": ["2"]}, "heading is line 2"),
        (b"a,b\r1,2\r\r3,4\r", {"a": ["1", "3"], "b": ["2", "4"]}, "left out: 1."),
        (b"area, m2;price, EUR\n1;2\n3;4\n", {"area, m2": ["1", "3"], "price, EUR": ["2", "4"]}, "';'"),
        (b"a;b;c\n1,5;x;y\n2,5;u;v\n", {"a": ["1,5", "2,5"], "b": ["x", "u"], "c": ["y", "v"]}, "';'"),
        (b"a, b\n1, 2\n", {"a": ["1"], "b": [" 2"]}, None),
        (b",a,\n0,1,\n1,2,\n", {"unnamed": ["0", "1"], "a": ["1", "2"], "unnamed 0": [None, None]}, None),
        (b"a,A\n1,2\n", {"a": ["1"], "A": ["2"]}, None),
        (b"city,2019,2020\nx,1,2\n", {"city": ["x"], "2019": ["1"], "2020": ["2"]}, None),
        (b"0,1,2\n5,6,7\n", {"0": ["5"], "1": ["6"], "2": ["7"]}, None),
        (b"Report,,\n,,\na,b,c\n1,2,3\n", {"a": ["1"], "b": ["2"], "c": ["3"]}, "heading is line 3"),
        (b"a\n1\n\n2\n", {"a": ["1", "2"]}, "left out: 1."),
        (b"a,b\n\n1,2\n\r\n,\n3,4\n\n", {"a": ["1", "3"], "b": ["2", "4"]}, "everything is missing are left out: 4."),
        (b'a,b\n5" x 6",1\n', {"a": ['5" x 6"'], "b": ["1"]}, None),
    ],
)
def test_the_unusual_is_read_and_said(content, columns, note, tmp_path):
    assert read(tmp_path, content) == columns
    notes = ingest.notes(tmp_path / "t.csv", ingest.read_table(tmp_path / "t.csv"))
    assert (note or "") in " ".join(notes)
    assert note or not notes


GOOD = b"a,b,c\n1,2,x\n3,4,y\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n \r\n", "it is empty"),
        (b"PK\x03\x04rest", "it is an Excel workbook or a Zip"),
        (gzip.compress(b"PK\x03\x04rest"), "it is an Excel workbook or a Zip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1", "it is an old Excel"),
        (b"FEA1\x00\x00", "it is an old or compressed Arrow, Feather"),
        (gzip.compress(b"PAR1 and so on PAR1"), "it is an old or compressed .* Parquet"),
        (b"ARROW1 cut", "the Arrow file is damaged or incomplete"),
        (b"\xff\xff\xff\xff cut", "the Arrow file is damaged or incomplete"),
        (b'{"a": 1}\n\n{"a": ', "line 3 is not a whole record of JSON"),
        (b'[{"a": 1},\n{"a": ', "line 2 is not a whole record of JSON"),
        (b'{"a": 1, "b": 2}\n{"a": 1, "b": 3, "a": 2}\n', "a record of its JSON has the key 'a' twice"),
        (b'[{"a": 1, "a": 1}]', "a record of its JSON has the key 'a' twice"),
        ('[{"a": 1}]'.encode("utf-16"), "it is JSON, but not records in UTF-8"),
        (gzip.compress(b'[{"a": 1}]'), "it is JSON, but not records in UTF-8"),
        (GOOD.decode().encode("utf-16")[:-1], "its UTF-16 is damaged or incomplete"),
        (GOOD.decode().encode("utf-16")[:-2] + b"\x00\xd8", "its UTF-16 is damaged or incomplete"),
        (b'[{"a": 1}, 2]', "its JSON is damaged, or no records"),
        (b'{"a": 1, "b": {"c": 2}}\n', "'b' is nested in its JSON"),
        (b"%PDF-1.7\n", "it is a PDF"),
        (b"SQLite format 3\x00", "it is an SQLite database"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
        (b"BZh91AY", "it is compressed, but not with gzip"),
        (b"[[1, 2], [3, 4]]", "it is JSON"),
        (b"\n<!DOCTYPE html><html>", "it is an HTML page"),
        (b"<?xml version='1.0'?>\n<a/>", "it is XML"),
        *((GOOD.decode().encode(code), "not text in UTF-8") for code in ("utf-16-le", "utf-16-be", "utf-32")),
        (GOOD + "5,6,Köln\n".encode("cp1252"), "line 4 holds text that is not UTF-8; .*'5,6,Köln'"),
        (GOOD + b"5,\x00,z\n", "line 4 holds a NUL byte"),
        (b"\x7fELF\xd0\x00", "line 1 holds a NUL byte, so it is not text"),
        (GOOD + b"5,6\n", "line 4 has 2 instead of 3 values"),
        (GOOD + b"5,6,7,8\n", "line 4 has 4 instead of 3 values"),
        (GOOD + b"# note\n", "line 4 has 1 instead of 3 values"),
        (GOOD + b'5,"6\n6",z\n\n1,2\n', "line 7 has 2 instead of 3 values"),
        (GOOD + b'5,"6,7\n1,2,3\n', "a quote in line 4 is not closed"),
        (GOOD + b'5,6,7" pipe\n1,2,3\n5,6,7" pipe\n', "line 4 has a quote in a value"),
        (GOOD + b'5,"6"7,8\n', "line 4 has a quote in a value"),
        (GOOD + b'5, "6, 7",8\n', "line 4 has a quote in a value"),
        (b"a,b,c\n1,2,x,\n3,4,y,\n", "line 1 has 3 values, but most lines have 4"),
        (b"Sales, 2024\na,b,c\n1,2,x\n3,4,y\n", "line 1 has 2 values, but most lines have 3"),
        (b"y,x,city,y\n1,2,z,3\n", "columns 1 and 4 are named 'y'"),
        (b"a, a,b\n1,2,3\n", "columns 1 and 2 are named 'a'"),
        ("y,b,y\u200b\n1,2,3\n".encode(), r"columns 1 and 3 are named 'y' and 'y\\u200b', which look alike"),
        ("x,\ufeffx\n1,2\n".encode(), r"columns 1 and 2 are named 'x' and '\\ufeffx'"),
        (b"a  b,a b\n1,2\n", "columns 1 and 2 are named 'a  b' and 'a b'"),
        ("ü,u\u0308\n1,2\n".encode(), r"columns 1 and 2 are named '\\xfc' and 'u\\u0308'"),
        (b"48.9,2,Bonn,188.1\n39.3,1,Bonn,139.0\n", "line 1 looks like data"),
        (b"5.1,3.5,1.4,0.2,setosa\n4.9,3.0,1.4,0.2,setosa\n", "line 1 looks like data"),
        (b"red,round\nblue,round\nred,long\n", "line 1 looks like data"),
        (b"Last, First\tage\nDoe, J\t5\nRoe, R\t6\n", "separate its values equally well; .* sep="),
        (GOOD + b"Total,,6\n\n", "line 4, the last, looks like a total"),
        (GOOD + b"Gesamtsumme:,6,\n", "line 4, the last, looks like a total"),
        (GOOD + b",Total,6\n", "line 4, the last, looks like a total"),
        (GOOD + b",6,Total\n", "line 4, the last, looks like a total"),
        *((GOOD + f"{word},6,\n".encode(), "looks like a total") for word in ("Totale", "Razem", "合計", "Итого")),
        (GOOD + b"Grand total,1,6", "line 4, the last, looks like a total"),
        (gzip.compress(GOOD * 99)[:-12], "its compression is damaged or incomplete"),
        (gzip.compress(GOOD) + bytes(99), "invalid gzip header; unpack the file"),
        (GOOD.replace(b"\n", b"\r\r\n"), "line 1 has a carriage return in a value"),
        (GOOD.replace(b"\n", b"\n\r"), "line 2 has a carriage return in a value"),
        (GOOD.replace(b"\n", b"\r", 1), "line 1 has a carriage return in a value"),
        (GOOD + b"5\r,6,z\n", "line 4 has a carriage return in a value"),
        (b'{"a": 1}\n{"a": NaN}\n', "its JSON has NaN, which JSON does not allow; write null"),
        (b"[{}]", "it has no columns"),
        (b"PAR1 and no end", "the Parquet file is damaged or incomplete"),
    ],
)
def test_the_unreadable_is_one_sentence_with_its_line(content, reason, tmp_path):
    (tmp_path / "t.csv").write_bytes(content)
    sentence = f"^Cannot read 'my table' as a table: .*{reason}"
    with pytest.raises(ProjectError, match=sentence) as error, ingest.readable("my table"):
        ingest.read_table(tmp_path / "t.csv").collect()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("fault", [b"5,6\n", b"5,6,7,8\n", b'5,"6\n', b"5,\xff,7\n"])
def test_a_fault_far_down_is_found_with_its_line(fault, tmp_path, monkeypatch):
    monkeypatch.setattr(dialect, "BLOCK", 64)
    good = b"a,b,c\n" + b'1,"2\n2",x\n\n' * 400
    for at in range(0, 40, 7):
        (tmp_path / "t.csv").write_bytes(good + fault + b"1,2,x\n" * at)
        with pytest.raises(ProjectError, match="line 1202"):
            ingest.read_table(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_bytes(good)
    assert ingest.read_table(tmp_path / "t.csv").collect().height == 400


@pytest.mark.parametrize("name", ["t.csv", "[t]*.json"])
def test_arrow_and_json_are_read_as_parquet(name, tmp_path):
    table = pl.DataFrame({"a": [1.5, None, 3.0], "b": ["x", "?", None], "c": [True, False, None]})
    write = {
        ".arrow": table.write_ipc,
        ".arrows": table.write_ipc_stream,
        ".jsonl": table.write_ndjson,
        ".json": table.write_json,
    }
    for ending, writer in write.items():
        writer(tmp_path / name)
        assert ingest.form(tmp_path / name) == ending
        assert ingest.read_table(tmp_path / name, ["?"]).collect().rows() == [
            (1.5, "x", True),
            (None, None, False),
            (3.0, None, None),
        ]
        assert not ingest.is_as_kept(tmp_path / name)


@pytest.mark.parametrize("content", [b'{"a": 1}\r\n\r\n{"a": 2}', b'\n [ {"a": 1},\n{"a": 2} ]\n'])
def test_json_may_begin_with_a_byte_order_mark(content, tmp_path):
    assert read(tmp_path, content) == read(tmp_path, b"\xef\xbb\xbf" + content) == {"a": [1, 2]}


def test_content_counts_and_not_the_name(tmp_path):
    pl.DataFrame(TABLE).write_parquet(tmp_path / "t.csv")
    (tmp_path / "t.parquet").write_bytes(written())
    for name in ("t.csv", "t.parquet"):
        assert ingest.read_table(tmp_path / name).collect().to_dict(as_series=False) == TABLE


def test_rows_in_which_everything_is_missing_are_left_out(tmp_path):
    table = pl.DataFrame({"a": [1.0, float("nan"), None, 4.0], "b": ["x", "?", None, None]})
    table.write_parquet(tmp_path / "t.parquet")
    assert ingest.read_table(tmp_path / "t.parquet", ["?"]).collect().rows() == [(1.0, "x"), (4.0, None)]
    # Categories are text, too.
    table.cast({"b": pl.Categorical}).write_parquet(tmp_path / "t.parquet")
    assert ingest.read_table(tmp_path / "t.parquet", ["?"]).collect().rows() == [(1.0, "x"), (4.0, None)]
    (tmp_path / "t.csv").write_text("a,b\n1,x\nNA,\n\nNA,NA\n4,NA\n")
    types = {"a": "float", "b": "string"}
    assert ingest.read_table(tmp_path / "t.csv", ["NA"], types).collect().rows() == [(1.0, "x"), (4.0, None)]


@pytest.mark.parametrize(("origin", "reason"), [("/dev/zero", "is a device or a pipe"), ("", "holds no .parquet file")])
def test_what_holds_no_table_is_refused(origin, reason, tmp_path):
    with pytest.raises(ProjectError, match=reason):
        sources.take(origin or str(tmp_path), None, tmp_path / "t.parquet")


def test_large_row_group_is_read_in_batches_as_it_would_be_at_once(tmp_path, monkeypatch):
    columns = {"a": range(50), "a.b": [f"x{row % 7}" for row in range(50)], "c": [0.1 * row for row in range(50)]}
    table = pl.DataFrame(columns).with_columns(
        pl.col("a.b").cast(pl.Categorical).alias("kind"),
        pl.when(pl.col("a") % 3 > 0).then("c").cast(pl.Decimal(9, 2)).alias("price"),
        pl.from_epoch("a").dt.replace_time_zone("Europe/Berlin").alias("at"),
        pl.from_epoch("a").dt.time().alias("time"),
        pl.col("a").cast(pl.UInt8).alias("small"),
        pl.lit(None).alias("nothing"),
        pl.col("a.b").cast(pl.Enum([f"x{row}" for row in range(7)])).alias("one of"),
    )
    table.write_parquet(tmp_path / "t.parquet")
    typed, table = table, table.with_columns(pl.col("kind", "one of").cast(pl.String))
    table.write_parquet(tmp_path / "kept.parquet")
    assert ingest.is_as_kept(tmp_path / "kept.parquet")
    monkeypatch.setattr(ingest, "LARGE", 0)
    monkeypatch.setattr(ingest, "BATCH", 8)
    assert not ingest.is_as_kept(tmp_path / "kept.parquet")
    rows = ingest.read_table(tmp_path / "t.parquet")
    assert "PYTHON SCAN" in rows.explain()
    assert_frame_equal(rows.collect(engine="streaming"), table)
    assert_frame_equal(rows.select("c", "a").collect(), table.select("c", "a"))
    assert_frame_equal(rows.filter(pl.col("a") % 2 == 1).collect(), table[1::2])
    assert_frame_equal(ingest._typed_rows(tmp_path / "t.parquet").head(11).collect(), typed[:11])  # noqa: SLF001
    assert ingest.notes(tmp_path / "t.parquet", rows) == []
    monkeypatch.setattr(ingest, "LARGE", 10**8)
    assert "PYTHON SCAN" not in ingest.read_table(tmp_path / "t.parquet").explain()


@pytest.mark.parametrize(("folders", "batches"), [(("b", "a-1", "a"), True), (("year=2024", "year=2025"), False)])
def test_large_row_groups_of_a_folder_are_read_in_batches_as_they_would_be_at_once(
    folders, batches, tmp_path, monkeypatch
):
    for number, folder in enumerate(folders):
        (tmp_path / "t" / folder).mkdir(parents=True)
        pl.DataFrame({"a": range(20), "b": [folder] * 20}).write_parquet(tmp_path / f"t/{folder}/{number}.PARQUET")
    at_once = pl.scan_parquet(tmp_path / "t").collect()
    monkeypatch.setattr(ingest, "LARGE", 0)
    monkeypatch.setattr(ingest, "BATCH", 8)
    # What the names of the folders add, only Polars reads.
    assert ("PYTHON SCAN" in ingest.scan_parquet(tmp_path / "t").explain()) is batches
    sources.take(str(tmp_path / "t"), None, tmp_path / "t.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "t.parquet"), at_once)


def test_damage_in_a_large_row_group_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest, "LARGE", 0)
    pl.DataFrame({"a": range(5000)}).write_parquet(tmp_path / "t.parquet")
    content = bytearray((tmp_path / "t.parquet").read_bytes())
    content[40:4000] = b"?" * 3960
    (tmp_path / "t.parquet").write_bytes(content)
    for use in (pl.LazyFrame.collect, lambda rows: rows.sink_parquet(tmp_path / "u.parquet", engine="streaming")):
        with pytest.raises(ProjectError, match=r"^Cannot read 'mine' as a table: .*damaged"), ingest.readable("mine"):
            ingest.read(tmp_path / "t.parquet", [], {}, use)
    (tmp_path / "u.parquet").unlink(missing_ok=True)
    with pytest.raises(ProjectError, match=r"^Cannot read '.*' as a table: the Parquet file is damaged"):
        sources.take(str(tmp_path), None, tmp_path / "copy")


def test_folder_of_text_is_refused(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/1.csv").write_bytes(written())
    with pytest.raises(ProjectError, match=r"parts' holds 1\.csv; adopt that file"):
        sources.take(str(tmp_path / "parts"), None, tmp_path / "t.parquet")


@pytest.mark.parametrize("ending", ["arrow", "feather", "json", "jsonl", "ndjson", "parquet"])
def test_typed_file_of_a_storage_is_read_as_a_local_one(ending, tmp_path):
    table = pl.DataFrame({"a": [1, 1, 1], "b": ["x", "x", None]})
    write = {"json": table.write_json, "parquet": table.write_parquet, "arrow": table.write_ipc}
    write.get({"feather": "arrow"}.get(ending, ending), table.write_ndjson)(tmp_path / f"t.{ending}")
    sources._stream(str(tmp_path / f"t.{ending}"), tmp_path / "copy")  # noqa: SLF001 - a storage is not at hand
    assert ingest.read_table(tmp_path / "copy").collect().equals(table)


@pytest.mark.parametrize("name", ["t.arrow", "t.arrows", "t.parquet", "t.xlsx", "t.csv"])
def test_file_of_a_storage_that_is_not_what_its_name_says_is_refused(name, tmp_path):
    (tmp_path / name).write_bytes("a,b\n1,2\n".encode("utf-16") * 9)
    with pytest.raises(ProjectError, match=rf"{name}' is damaged, .* only \.csv, .*\.arrow.* and Parquet are") as error:
        sources._stream((tmp_path / name).as_uri(), tmp_path / "copy")  # noqa: SLF001 - a storage is not at hand
    assert not isinstance(error.value, sources.UnreachableError)


def test_texts_of_a_storage_are_copied_by_line(tmp_path):
    for number, content in enumerate((written(";", "\r\n"), written(";"))):
        (tmp_path / f"part{number}.csv").write_bytes(content)
    for origin, copies in ((tmp_path / "part0.csv", 1), (tmp_path / "part*.csv", 2)):
        sources._stream(str(origin), tmp_path / "t.csv")  # noqa: SLF001 - a storage is not at hand
        copied = ingest.read_table(tmp_path / "t.csv").collect().to_dict(as_series=False)
        assert copied == {name: values * copies for name, values in TABLE.items()}


def test_thousands_of_columns_are_read_in_linear_time(tmp_path):
    # A filter by all of these columns took minutes.
    width = 4000
    (tmp_path / "t.csv").write_text(",".join(f"x{i}" for i in range(width)) + "\n" + ",".join("1" * width) + "\n")
    assert ingest.read_table(tmp_path / "t.csv").collect().shape == (1, width)


def test_lines_are_checked_once_until_the_file_changes(tmp_path, monkeypatch):
    checked, check = [], dialect.check_lines

    def counted(*args: object) -> dialect.Dialect:
        checked.append(args)
        return check(*args)

    monkeypatch.setattr(dialect, "check_lines", counted)
    file = tmp_path / "t.csv"
    file.write_text("a,b\n1,2\n3,4\n")
    for _ in range(3):
        assert ingest.read_table(file).collect().height == 2
    file.write_text("a;b\n1;2\n3;4\n")  # as long as before
    assert ingest.read_table(file).collect().columns == ["a", "b"]
    assert len(checked) == 2
    file.write_text("a,b\n1,2\n3,4,5\n")
    for _ in range(2):
        with pytest.raises(ProjectError, match="line 3 has 3 instead of 2 values"):
            ingest.read_table(file)


@pytest.mark.parametrize("head", ["a,b", 'a,"b\nc"'])
@pytest.mark.parametrize("rows", [1, 2000])
def test_repeated_heading_is_named(rows, head, tmp_path, monkeypatch):
    monkeypatch.setattr(dialect, "BLOCK", 64)
    file = tmp_path / "t.csv"
    text = f"note\n{head}\n" + rows * "1,2\n" + f"\n{head}\n"
    file.write_text(text + 20 * "3,4\n")
    line = text.count("\n") - head.count("\n")
    with pytest.raises(ProjectError, match=f"line {line} repeats the heading; delete it"):
        ingest.read_table(file)


@pytest.mark.parametrize("content", ["0,1,2\n3,4,5\n0,1,2\n" + 20 * "6,7,8\n", "a,b,c\n1,2,3\nSumatra,,4\n"])
def test_row_like_a_heading_of_numbers_or_a_total_stays(content, tmp_path):
    (tmp_path / "t.csv").write_text(content)
    assert ingest.read_table(tmp_path / "t.csv").collect().height == content.count("\n") - 1


@pytest.mark.parametrize("types", [{}, {"a": "integer", "b": "float"}])
@pytest.mark.parametrize("eol", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("blank", ["", "   ", "\t", "|", "||||", " | | ", "  | \t"])
def test_lines_of_blanks_are_left_out_and_counted(blank, separator, eol, types, tmp_path):
    lines = [f"{n}|{n / 2}|word {n}" for n in range(9)]
    lines = [blank, "a|b|c", *lines, blank, *lines, blank, blank]
    text = eol.join(lines).replace("|", separator)
    (tmp_path / "t.csv").write_text(text, newline="")
    table = ingest.read(tmp_path / "t.csv", [], types, lambda rows: rows.collect())
    assert table.shape == (18, 3)
    assert not sum(table.null_count().row(0))
    if types:
        assert table.dtypes == [pl.Int64, pl.Float64, pl.String]
    if blank:
        assert "left out: 3." in ingest.notes(tmp_path / "t.csv", table.lazy())[-1]


@pytest.mark.parametrize("blank", ["", "  ", ",,", ",,,,"])
def test_total_before_lines_of_blanks_is_named(blank, tmp_path):
    (tmp_path / "t.csv").write_text("a,b,c\n1,2,3\n4,5,6\nTotal,7,\n" + f"{blank}\n" * 3)
    with pytest.raises(ProjectError, match="line 4, the last, looks like a total"), ingest.readable("t.csv"):
        ingest.read_table(tmp_path / "t.csv")
