"""Names and values from tables do nothing to what shows them: terminals, logs, pages, messages, spreadsheets."""

import ast
import csv
import html
import logging
import pickle
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest
from conftest import PROJECT

from penguin_model.config import Contract
from penguin_model.errors import ProjectError, printable
from penguin_model.flows import evaluation
from penguin_model.ops import markdown
from penguin_model.ops.orchestration import violations
from penguin_model.ops.orchestration.session import one_sentence
from penguin_model.report import drift, drift_page, importance, plots
from penguin_model.steps import validate
from penguin_model.steps.evaluate import Predictions
from penguin_model.steps.profile import Profile

# A terminal's title, a bell, a line, text from right to left, text without width, half of a character.
HOSTILE = [
    "\x1b]0;owned\x07",
    "\x9b31m",
    "a\nb",
    "a\r\nb",
    "\u202egnp.exe",
    "\u2066x\u2069",
    "a\u200bb",
    "\ud800",
    "\x00",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_control_characters_are_shown_and_do_nothing(name):
    assert printable(name).isprintable()
    assert printable(printable(name)) == printable(name)
    error = ProjectError(f"column '{name}' is missing.", "Another sentence.")
    assert str(error).splitlines() == [printable(f"column '{name}' is missing."), "Another sentence."]
    assert str(pickle.loads(pickle.dumps(error))) == str(error)  # noqa: S301
    record = logging.LogRecord("x", logging.INFO, "x", 1, "Read %s, %d rows\nof two lines", (name, 3), None)
    assert one_sentence(record)
    assert record.getMessage().splitlines() == [f"Read {printable(name)}, 3 rows", "of two lines"]


@pytest.mark.parametrize("name", ["Größe (m²)", "价格", "température", "🐧", "a b", "100 %", "C:\\x"])
def test_other_names_are_shown_as_they_are(name):
    assert printable(name) == name


def test_log_shows_no_secret_of_an_address():
    record = logging.LogRecord("x", logging.INFO, "x", 1, "Failed at https://u:pw@host/t.csv?sig=s3cret", (), None)
    one_sentence(record)
    assert record.getMessage() == "Failed at https://host/t.csv"


def test_sentences_of_an_error_are_given_one_by_one():
    """A line break in a sentence is shown as \\n, because it may be that of a name."""
    for file in (PROJECT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error"):
                texts = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)]
                assert not [text for text in texts if isinstance(text, str) and "\n" in text], (file, node.lineno)


def test_names_with_line_breaks_do_not_break_the_sentences_of_a_contract():
    contract = Contract.model_validate({"columns": {"a\nb": {"type": "string", "allowed": ["x"]}}})
    with pytest.raises(ProjectError) as error:
        validate.check(pl.LazyFrame({"a\nb": ["\x1b]0;owned\x07", "x"]}), contract)
    assert len(str(error.value).splitlines()) == 1
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a|b", r"a\|b"),
        ("`x` *y* _z_ a_b", r"\`x\` \*y\* \_z\_ a_b"),
        ("<img src=x onerror=alert(1)>", r"\<img src=x onerror=alert(1)\>"),
        ("[x](javascript:alert(1))", r"\[x\](javascript:alert(1))"),
        ("&lt;", r"\&lt;"),
        ("# x", r"\# x"),
        ("- x", r"\- x"),
        ("1. x", r"1\. x"),
        ("~~x~~", r"\~\~x\~\~"),
        ("a\nb", r"a\\nb"),
        ("-1.5", "-1.5"),
        ("bill_length_mm is 3.5, not (yet) 4.", "bill_length_mm is 3.5, not (yet) 4."),
    ],
)
def test_markdown_shows_text_as_it_is(text, escaped):
    assert markdown.escape(text) == escaped


def test_rows_that_break_the_contract_are_text_on_prefects_pages(monkeypatch, tmp_path):
    shown = {}
    monkeypatch.setattr(
        violations, "create_table_artifact", lambda table, **options: shown.update(options, table=table)
    )
    monkeypatch.setenv("PROJECT_ROOT", str(tmp_path))
    contract = Contract.model_validate({"columns": {"a|b": {"type": "string", "allowed": ["x"]}}})
    with pytest.raises(ProjectError), violations.violations_kept():
        validate.check(pl.LazyFrame({"a|b": ["<img>", None]}), contract)
    row, missing = shown["table"]
    assert (row[r"a\|b"], missing[r"a\|b"]) == (r"\<img\>", None)
    assert r"'a\|b'" in shown["description"]


def test_column_names_are_no_formulas_in_a_spreadsheet(tmp_path):
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "size", "bill-length"]
    evaluation.write_importance([(name, -0.5, 0.25) for name in names], tmp_path / "importance.csv")
    with (tmp_path / "importance.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["column"] for row in rows] == [f"'{name}" for name in names[:5]] + names[5:]
    assert {(row["importance"], row["spread"]) for row in rows} == {("-0.5", "0.25")}


@pytest.mark.parametrize("name", [*HOSTILE, "$\\frac{1}{0}$", "<script>alert(1)</script>", "a & b"])
def test_plots_show_every_name(name, tmp_path):
    importances = [importance.Importance(name, 0.5, 0.1)]
    plots.draw("regression", Predictions(np.array([1.0, 2.0]), np.array([1.0, 2.0]), None, None), importances, tmp_path)
    shown = "".join(ET.parse(tmp_path / "importance.svg").getroot().itertext())  # noqa: S314
    assert printable(name)[:10] in shown


@pytest.mark.parametrize("name", [*HOSTILE[:7], HOSTILE[8], "<script>alert(1)</script>", "a & b"])
def test_page_of_drift_shows_every_name(name):
    rows = pl.LazyFrame({name: ["a", "b"] * 100})
    result = drift.compare(rows.select(pl.lit(name).alias(name)), Profile.of(rows), version=1)
    history = [drift_page.Comparison(datetime(2026, 1, d, tzinfo=UTC), 1, "fine", result.values, "") for d in (1, 2)]
    page = drift_page.render(drift_page.Findings("p", result, history, {"source": name}))
    assert html.escape(printable(name)) in page
    assert name not in page
    # As a column, an unseen category, a title and the source.
    assert page.count(html.escape(printable(name))) >= 5
