"""Numbers and dates as people write them: read as they are meant, or refused with column, line and example."""

import datetime as dt
import shutil
from pathlib import Path

import polars as pl
import pytest
from conftest import PROJECT
from mlflow.types.schema import AnyType
from prefect.logging import disable_run_logger

from penguin_model.config import Column, Contract
from penguin_model.errors import ProjectError
from penguin_model.flows import training
from penguin_model.model import casting
from penguin_model.model.predictor import Recipe
from penguin_model.ops.adopt import profile, shapes, spelling
from penguin_model.ops.adopt.adopt import AdoptRequest, adopt
from penguin_model.ops.adopt.spelling import Hints
from penguin_model.ops.files import File
from penguin_model.ops.settings import read_contract, read_params
from penguin_model.ops.tracking import runs
from penguin_model.ops.versioning import git
from penguin_model.steps import ingest, validate

PRICES = [round(7.31 * 1.13**n, 2) for n in range(60)]
WHOLE = [int(number) for number in PRICES]
DAYS = [dt.datetime(2020, 1, 5, 9, 30) + dt.timedelta(days=11 * n) for n in range(60)]
EARLY = [day for day in DAYS if day.day <= 12]


def find(file: Path, columns: dict[str, list[str]], *, target: str = "y", **hints) -> spelling.Spelling:
    """Write text to a CSV file, and find out how it is spelled."""
    pl.DataFrame(columns).write_csv(file)
    words = profile.missing_words(ingest.read_table(file))
    table = ingest.read_table(file, words)
    return spelling.find(file, table, profile.types_of(table), target, Hints(**hints))


def read(column: Column, values: list[str]) -> list:
    contract = Contract(columns={"x": column})
    return casting.conform(pl.LazyFrame({"x": values}), contract).collect()["x"].to_list()


ARABIC = str.maketrans("0123456789.,", "٠١٢٣٤٥٦٧٨٩\u066b\u066c")


def german(number: float) -> str:
    return f"{number:,.2f}".translate(str.maketrans(",.", ".,"))


def indian(number: int) -> str:
    head, tail = str(number)[:-3], str(number)[-3:]
    pairs = [head[max(at - 2, 0) : at] for at in range(len(head), 0, -2)]
    return ",".join([*reversed(pairs), tail])


@pytest.mark.parametrize(
    ("spelled", "keys"),
    [
        (lambda n: f"{n}".replace(".", ","), {"decimal": ","}),
        (lambda n: f"{n:.3E}".replace(".", ","), {"decimal": ","}),
        (german, {"decimal": ",", "thousands": "."}),
        (lambda n: f"{n:,.2f}", {"thousands": ","}),
        (lambda n: f"{n:,.2f}".replace(",", "'"), {"thousands": "'"}),
        (lambda n: f"{n:,.2f}".replace(",", "\u2019"), {"thousands": "'"}),
        (lambda n: f"{n:_.2f}", {"thousands": "_"}),
        *(
            (
                lambda n, blank=blank: german(n).replace(".", blank),
                {"decimal": ",", "thousands": " "},
            )
            for blank in " \u00a0\u2009\u202f"
        ),
        (lambda n: f"{german(n)} €", {"decimal": ",", "thousands": ".", "unit": "€"}),
        (lambda n: f"€{n:,.2f}", {"thousands": ",", "unit": "€"}),
        (lambda n: f"US$ {n}", {"unit": "US$"}),
        (lambda n: f"CHF {n:,.2f}".replace(",", "'"), {"thousands": "'", "unit": "CHF"}),
        (lambda n: f"SFr. {n:,.2f}".replace(",", "'"), {"thousands": "'", "unit": "SFr."}),
        (lambda n: f"AED {n}", {"unit": "AED"}),
        (lambda n: f"{n:,.2f}".translate(ARABIC), {"thousands": ","}),
        (lambda n: f"{n}".translate(ARABIC), {"decimal": "."}),
        (lambda n: f"{n} EUR", {"unit": "EUR"}),
        (lambda n: f"{n}%", {"unit": "%"}),
        (lambda n: f"{n}\u00a0%".replace(".", ","), {"decimal": ",", "unit": "%"}),
        (lambda n: f"{n} km/h", {"unit": "km/h"}),
        (lambda n: f"{n} m2", {"unit": "m2"}),
        (lambda n: f"{n}/-", {"unit": "/-"}),
        (lambda n: f"{n} m²", {"unit": "m²"}),
        (lambda n: f"{n}".translate({ord(digit): 0xFEE0 + ord(digit) for digit in "0123456789."}), {"decimal": "."}),
        (lambda n: "0" if n < 10 else f"{n} kg", {"unit": "kg"}),
    ],
)
def test_numbers_are_read_as_they_are_spelled(spelled, keys, tmp_path):
    numbers = [number for number in PRICES if number > 10 or "kg" not in str(keys)] + [0.0] * ("kg" in str(keys))
    values = [spelled(number) for number in numbers]
    found = find(tmp_path / "t.csv", {"x": values})
    assert found.columns == {"x": Column(type="float", **keys)}
    assert read(found.columns["x"], values) == pytest.approx(numbers, rel=1e-3)
    assert found.sentences[0].startswith("Numbers in 'x' use ")


@pytest.mark.parametrize(
    "spelled",
    [
        lambda n: f"({n})",
        lambda n: f"( {n} )",
        lambda n: f"{n}-",
        lambda n: f"\u2212{n}",
        lambda n: f"\u2013 {n}",
        lambda n: f"(${n:,})",
        lambda n: f"-${n:,}",
        lambda n: f"$-{n:,}",
        lambda n: f"-{n}%",
    ],
)
def test_negative_numbers_have_signs_of_many_kinds(spelled, tmp_path):
    positive = {"$": lambda n: f"${n:,}", "%": lambda n: f"+{n}%"}
    plain = next((form for sign, form in positive.items() if sign in spelled(1)), str)
    numbers = [*WHOLE, 1234567]
    values = [spelled(number) if number % 2 else plain(number) for number in numbers]
    found = find(tmp_path / "t.csv", {"x": values})
    assert found.columns["x"].type == "integer"
    assert read(found.columns["x"], values) == [-number if number % 2 else number for number in numbers]


@pytest.mark.parametrize(
    "spelled",
    [
        lambda n: f"{n:,}.\u2013".replace(",", "'"),
        lambda n: f"CHF {n}.--",
        lambda n: f"{n},-",
        lambda n: german(n).replace(",00", ",-- €"),
    ],
)
def test_dash_instead_of_cents_is_no_minus(spelled, tmp_path):
    values = [spelled(number) for number in WHOLE]
    [column] = find(tmp_path / "t.csv", {"x": values}).columns.values()
    assert (column.type, read(column, values)) == ("integer", WHOLE)


def test_lakhs_are_numbers(tmp_path):
    values = [indian(10**5 + 98765 * number) for number in WHOLE]
    found = find(tmp_path / "t.csv", {"x": values})
    assert found.columns == {"x": Column(type="integer", thousands=",")}
    assert read(found.columns["x"], values) == [10**5 + 98765 * number for number in WHOLE]


@pytest.mark.parametrize(
    "form",
    [
        *("%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y/%m/%d", "%d-%m-%Y", "%m-%d-%Y", "%Y.%m.%d", "%d.%m.%y", "%m/%d/%y"),
        *("%d %B %Y", "%B %d, %Y", "%d-%B-%y", "%d. %B %Y", "%A, %B %d, %Y", "%d.%m.%Y %H:%M", "%d.%m.%Y, %H:%M Uhr"),
        *("%m/%d/%Y %I:%M %p", "%Y/%m/%dT%H:%M:%S", "%d/%B/%Y:%H:%M:%S +0000", "%a, %d %B %Y %H:%M:%S GMT"),
        *("%a %B %d %H:%M:%S %Y", "%Y%m%dT%H%M%S", "%Y年%m月%d日", "%d%B%Y", "%d%B%y", "%d%B%Y:%H:%M:%S"),
    ],
)
@pytest.mark.parametrize("month", ["%B", "%b"])
def test_dates_are_read_as_they_are_spelled(form, month, tmp_path):
    values = [day.strftime(form.replace("%B", month)) for day in DAYS]
    [column] = find(tmp_path / "t.csv", {"x": values}).columns.values()
    expected = DAYS if column.type == "datetime" else [day.date() for day in DAYS]
    assert column.format == form.replace("+0000", "%z")
    assert read(column, values) == expected


@pytest.mark.parametrize("form", ["%Y-%m", "%m/%Y", "%B %Y", "%B-%y", "%YM%m"])
def test_months_are_dates(form, tmp_path):
    values = [day.strftime(form) for day in DAYS]
    [column] = find(tmp_path / "t.csv", {"x": values}).columns.values()
    assert read(column, values) == [day.date().replace(day=1) for day in DAYS]


def test_offsets_of_dates_count(tmp_path):
    values = [day.strftime("%d/%m/%Y %H:%M:%S+02:00") for day in DAYS]
    [column] = find(tmp_path / "t.csv", {"x": values}).columns.values()
    assert read(column, values) == [day - dt.timedelta(hours=2) for day in DAYS]


def test_digits_are_a_date_where_their_column_says_so(tmp_path):
    values = [day.strftime("%Y%m%d") for day in DAYS]
    found = find(tmp_path / "t.csv", {"start_date": values, "number": values})
    assert found.columns == {"start_date": Column(type="date", format="%Y%m%d")}


# Names, and amounts of which there are so few that they are classes.
SHAPELESS = [
    [f"{10 * (n % 6)}-{10 * (n % 6) + 9}" for n in range(60)],
    [f"{n % 12}:{n % 4 + 10}" for n in range(60)],
    [("1/2", "3/4", "7/8")[n % 3] for n in range(60)],
    [("5 kg", "300 g", "12 €", "13 $")[n % 4] for n in range(60)],
    [("< 1 year", "1 year", "2 years", "10+ years")[n % 4] for n in range(60)],
    [("<=50K", ">50K")[n % 2] for n in range(60)],
    [f"{n + 1} {chr(65 + n % 14)}ark Street" for n in range(60)],
    *([f"{word}{n}" for n in range(60)] for word in ("size ", "A", "Unit ", "INV-", "EU ", "v1.", "0x7a")),
    [f"{n // 2 + 1}{'ABCDEF'[n % 6]}" for n in range(60)],
    [f"({200 + n}) 555-{1000 + n}" for n in range(60)],
    [f"{100 + n}-{10 + n}-{1000 + n}" for n in range(60)],
    [f"+4930{10000 + n}" for n in range(60)],
    [f"{10**21 + n}" for n in range(60)],
    [f"4111 1111 {1000 + n} {2000 + n}" for n in range(60)],
    [f"10.0.0.{n}:80" for n in range(60)],
    [f"{n}. e4 e5" for n in range(60)],
    [f"Marathon {n} of 2019" for n in range(60)],
]


@pytest.mark.parametrize(
    "values",
    [
        [f"{1067 + 701 * n:05}" for n in range(60)],
        [f"{10001 + n}" if n % 9 else f"{10001 + n}-1234" for n in range(60)],
        [f"{n % 3}.{n % 7}.{n}" for n in range(60)],
        [f"1.{n % 12 + 1}.{n % 10}" for n in range(60)],
        [f"+49 301 {100 + n} 4{n % 10}7" for n in range(60)],
        [f"0301 {100 + n}" for n in range(60)],
        [f"555-{n:04}" for n in range(60)],
        [f"{n % 30 + 1}{'a' * (n % 7 == 0)}{'b' * (n % 11 == 0)}" for n in range(60)],
        [f"A{n % 9}" for n in range(60)],
        [f"SW{n % 20} {n % 9}AB" for n in range(60)],
        [f"192.168.{n}.{n}" for n in range(60)],
        [f"Q{n % 4 + 1} 2023" for n in range(60)],
        ["1", "2", "3+", "<5"] * 15,
        ["yes", "no", "ja", "t"] * 15,
        [f"{n} Main Street {n}" for n in range(60)],
        *SHAPELESS,
    ],
)
def test_words_with_digits_stay_text(values, tmp_path):
    assert not find(tmp_path / "t.csv", {"x": values}).columns


def test_labels_before_a_word_are_classes_of_a_target(tmp_path):
    values = {"y": ["36 months", "60 months"] * 30}
    assert find(tmp_path / "t.csv", values, target="x").columns == {"y": Column(type="integer", unit="months")}
    assert not find(tmp_path / "t.csv", values).columns


GROUPS = [f"{1 + n},{100 + 7 * n}" for n in range(60)]


def test_three_digits_after_a_comma_are_read_as_the_user_says(tmp_path):
    with pytest.raises(ProjectError, match=r"'1,100' \(line 2\) may be 1\.1 \(--decimal ,\) or 1100"):
        find(tmp_path / "t.csv", {"x": GROUPS})
    comma, thousands = Column(type="float", decimal=","), Column(type="integer", thousands=",")
    for hints, column in (
        ({"decimal": ","}, comma),
        ({"decimal": ",", "thousands": "."}, comma),
        ({"decimal": "."}, thousands),
        ({"thousands": ","}, thousands),
    ):
        assert find(tmp_path / "t.csv", {"x": GROUPS}, **hints).columns == {"x": column}


def test_other_columns_tell_what_a_comma_is(tmp_path):
    for price, column in (
        (str, Column(type="integer", thousands=",")),
        (german, Column(type="float", decimal=",")),
    ):
        found = find(tmp_path / "t.csv", {"x": GROUPS, "price": [price(number) for number in PRICES]})
        assert found.columns["x"] == column
        assert any("as in 'price'" in sentence for sentence in found.sentences)
    with pytest.raises(ProjectError, match="Column 'x'"):
        find(tmp_path / "t.csv", {"x": GROUPS, "a": [str(n) for n in PRICES], "b": [german(n) for n in PRICES]})


def test_three_digits_after_a_point_may_be_thousands(tmp_path):
    rounded = [f"{n / 7:.3f}" for n in range(60)]
    grouped = [f"{n:,}".replace(",", ".") for n in range(950, 9500, 150)]
    assert not find(tmp_path / "t.csv", {"x": rounded}).columns
    with pytest.raises(ProjectError, match=r"'1\.100' \(line 3\) may be 1\.1 \(--decimal \.\) or 1100"):
        find(tmp_path / "t.csv", {"x": grouped})
    assert not find(tmp_path / "t.csv", {"x": grouped}, decimal=".").columns
    expected = Column(type="integer", decimal=",", thousands=".")
    assert find(tmp_path / "t.csv", {"x": grouped}, thousands=".").columns["x"] == expected
    commas = [german(n) for n in PRICES[: len(grouped)]]
    assert find(tmp_path / "t.csv", {"x": grouped, "price": commas}).columns["x"] == expected


def test_days_and_months_are_read_as_the_user_says(tmp_path):
    values = [day.strftime("%d/%m/%Y") for day in EARLY]
    with pytest.raises(ProjectError, match=r"--date-format %d/%m/%Y\) or .*--date-format %m/%d/%Y\)"):
        find(tmp_path / "t.csv", {"x": values})
    for form in ("%d/%m/%Y", "%m/%d/%Y"):
        found = find(tmp_path / "t.csv", {"x": values}, date_formats=[form])
        assert found.columns == {"x": Column(type="date", format=form)}
    both = {"x": values, "z": [day.strftime("%d/%m/%Y") for day in DAYS[: len(values)]]}
    assert find(tmp_path / "t.csv", both).columns["x"].format == "%d/%m/%Y"
    with pytest.raises(ProjectError, match="%y/%m/%d"):
        find(tmp_path / "t.csv", {"x": [day.strftime("%d/%m/%y") for day in EARLY]})
    assert (
        find(tmp_path / "t.csv", {"x": [day.strftime("%d.%m.%Y") for day in EARLY]}).columns["x"].format == "%d.%m.%Y"
    )


PLAIN = [str(number) for number in PRICES]


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ([*PLAIN, "unknown"], r"60 of 61 values are numbers like .* but not 'unknown' \(line 62\)"),
        (["ca. 80", *PLAIN, "n. a."], r"'ca\. 80' \(line 2\), 'n\. a\.' \(line 63\)"),
        (["unknown" if n % 3 else value for n, value in enumerate(PLAIN)], r"not 'unknown' \(line 3\)"),
        (["1", "2", "3"] * 20 + ["see note"], r"'see note' \(line 62\)"),
        ([*(german(n) for n in PRICES), "12.50"], r"'12\.50' \(line 62\)"),
        ([*(f"{n} kg" for n in PRICES), "500 g"], r"numbers like '.* kg', but not '500 g'"),
        ([*(day.strftime("%Y-%m-%d") for day in DAYS), "2023-13-45"], r"dates like .* but not '2023-13-45'"),
        ([*(day.strftime("%d.%m.%Y") for day in DAYS), "31.02.2023"], r"'31\.02\.2023' \(line 62\)"),
        ([day.strftime("%d.%m.%Y" if day.day > 9 else "%Y-%m-%d") for day in DAYS], "dates like"),
    ],
)
def test_what_is_nearly_a_number_or_a_date_is_refused(values, place, tmp_path):
    with pytest.raises(ProjectError, match=place) as refused:
        find(tmp_path / "t.csv", {"x": values})
    assert str(refused.value).startswith("Column 'x': ")
    words = ("unknown", "n. a.", "see note")
    assert ("--missing" in str(refused.value)) == any(word in values for word in words)
    found = find(tmp_path / "t.csv", {"x": values}, text=["x"])
    assert found.columns == {"x": Column(type="string")}


def alternately(*forms) -> list[str]:
    return [forms[n % len(forms)](number) for n, number in enumerate(PRICES)]


def dates(*forms: str) -> list[str]:
    return [day.strftime(forms[n % len(forms)]) for n, day in enumerate(DAYS)]


def days(form: str, months: str) -> list[str]:
    return [form.format(day.day, months.split()[day.month - 1], day.year) for day in DAYS]


UNREAD_DATES = (
    *("%Y_%m_%d", "%d_%m_%Y", "%Y:%m:%d", "%Y:%m:%d %H:%M:%S", "%Y%m%d_%H%M%S"),
    *("%Y%m%dT%H%M%SZ", "%d-%b-%y %I.%M.%S.000000 %p", "%Y%b%d", "%b '%y"),
    *("%Y년 %m월 %d일", "%Y. %m. %d.", "'%Y-%m-%d", "#%Y-%m-%d#", "/Date(1%j0000000)/"),
)
ROMAN = ["I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"]
GERMAN = "Januar Februar März April Mai Juni Juli August September Oktober November Dezember"
FRENCH = "janv. févr. mars avr. mai juin juil. août sept. oct. nov. déc."
SPANISH = "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre"


@pytest.mark.parametrize(
    ("values", "what"),
    [
        (alternately(lambda n: f"{n} €", lambda n: f"{n} $"), r"numbers like '.* €', but not '8\.26 \$' \(line 3\)"),
        (alternately(lambda n: f"€{n}", lambda n: f"${n}"), "numbers like"),
        (alternately(lambda n: f"{n} kg", lambda n: f"{n} g"), "numbers like"),
        (alternately(lambda n: f"{n} kg", str), "numbers like"),
        (alternately(str, german), "numbers like"),
        (alternately(lambda n: f"<{n}", str), r"but not '<7\.31' \(line 2\)"),
        (alternately(lambda n: f"{n}*", *[str] * 6), r"but not '7\.31\*' \(line 2\)"),
        (
            alternately(lambda n: f"{n} kg", lambda n: f"{n} g", lambda n: f"{n} lb"),
            r"holds amounts with units or signs, such as '7\.31 kg' \(line 2\), '8\.26 g' \(line 3\), ",
        ),
        (alternately(lambda n: f"€{n}M", lambda n: f"€{n}K"), "holds amounts"),
        (alternately(lambda n: f"~{n}"), r"holds amounts .* '~7\.31' \(line 2\)"),
        (alternately(lambda n: f'="{n}"'), "holds amounts"),
        (alternately(lambda n: f"{int(n)}½"), "holds amounts"),
        (alternately(lambda n: f"{n} (kg)"), "holds amounts"),
        ([f"{n}-{n + 10}" for n in range(60)], r"holds ranges, such as '0-10' \(line 2\)"),
        ([f"${n},000 - ${n + 5},000" for n in range(1, 60)], "holds ranges"),
        ([f"{n} to {n + 5} kg" for n in range(1, 60)], "holds ranges"),
        ([f"{n % 24}:{n:02}" for n in range(60)], r"holds times, such as '0:00' \(line 2\)"),
        ([f"{n % 24}.{n:02} Uhr" for n in range(60)], "holds times"),
        ([f"{n % 12 + 1}:{n:02} {'ap'[n % 2]}m" for n in range(60)], "holds times"),
        ([f"{n % 3}h {n}m" for n in range(60)], "holds amounts in several units"),
        ([f"{5 + n % 5}ft {n % 12}in" for n in range(60)], "holds amounts in several units"),
        ([f"PT{n}M" for n in range(60)], "holds amounts in several units"),
        ([f"{n} days 01:00:00" for n in range(60)], "holds amounts in several units"),
        ([f"P{n % 9}DT{n}H0.5S" for n in range(60)], "holds amounts in several units"),
        ([f"{n} {['1/2', '3/4', '5/16'][n % 3]}" for n in range(60)], "holds fractions, such as '0 1/2'"),
        ([f'{n}-7/8"' if n % 5 else f"{n}" for n in range(1, 60)], "holds fractions"),
        ([f"{n}/{n + 3}" for n in range(1, 60)], "holds several numbers"),
        ([f"{n / 7:.4f}, {n / 9:.4f}" for n in range(60)], "holds several numbers"),
        ([f"{n} x {n + 2} cm" for n in range(60)], "holds several numbers"),
        ([f"{n / 7:.2f} ± 0.1" for n in range(60)], "holds several numbers"),
        ([f"{n} bhp @ {n}rpm" for n in range(60)], "holds several numbers"),
        (days("{}. {} {}", GERMAN), r"holds dates, such as '5\. Januar 2020' \(line 2\), .*März 2020'.* as 2023-12-31"),
        (days("{0}. {1} {2} 09:30", GERMAN), "holds dates"),
        (days("{1} {2}", GERMAN), "holds dates"),
        (days("{} {} {}", FRENCH), "holds dates"),
        (days("{} de {} de {}", SPANISH), "holds dates"),
        ([f"{day:%B} {day.day}th, {day:%Y}" for day in DAYS], "holds dates"),
        (dates("%d.%m.%Y", "%Y-%m-%d"), "dates like"),
        (dates("%d.%m.%Y", "%Y-%m-%d", "%d/%m/%Y"), "holds dates"),
        (dates("%d.%m.%Y %H:%M CET"), "holds dates"),
        *((dates(form), r"holds dates, such as .* \(line 2\)") for form in UNREAD_DATES),
        ([f"令和{day.year - 2018}年{day.month}月{day.day}日" for day in DAYS], "holds dates"),
        ([f"{day.day}.{ROMAN[day.month - 1]}.{day.year}" for day in DAYS], "holds dates"),
        (dates("%G-W%V"), "holds weeks, quarters or the like"),
        *((dates(form), "holds days without a year") for form in ("%m-%d", "%B %d", "%b-%d", "%d %b")),
        ([f"{n % 24:02}h{n:02}" for n in range(60)], "holds times"),
        ([f"{n % 24:02}.{n:02}.{7 * n % 60:02}" for n in range(60)], "holds times"),
        (dates("%d/%m"), "holds days without a year"),
        (dates("%d.%m"), "holds days without a year"),
        ([f"{n % 24:02}.{n:02}" for n in range(60)], "holds times"),
        *((dates(form), "holds days of a year or serial numbers") for form in ("%Y-%j", "%Y/%j", "%j/%Y")),
        ([f"2023-{n:03}" for n in range(300)], "holds days of a year or serial numbers"),
        (dates("%d-%b"), "holds days without a year"),
    ],
)
def test_amounts_and_dates_that_cannot_be_read_are_refused(values, what, tmp_path):
    with pytest.raises(ProjectError, match=f"^Column 'x'.*{what}.*add --text x to keep the column as text") as refused:
        find(tmp_path / "t.csv", {"x": values})
    assert "--missing" not in str(refused.value)
    assert find(tmp_path / "t.csv", {"x": values}, text=["x"]).columns == {"x": Column(type="string")}


@pytest.mark.parametrize("form", ["Q{0} {1}", "{1}-Q{0}", "{0}Q{2}", "H{0} {1}", "FY{2}", "{1}/{2}"])
def test_few_periods_stay_text_and_are_named(form, tmp_path):
    values = [form.format(number % 2 + 1, 2020 + number % 3, 20 + number % 3) for number in range(60)]
    found = find(tmp_path / "t.csv", {"x": values})
    [sentence] = found.sentences
    assert sentence.startswith(f"'x' stays text: it holds weeks, quarters or the like, such as '{values[0]}' (line 2)")
    assert not found.columns


def test_dates_with_other_dashes_are_read(tmp_path):
    values = [day.strftime("%Y\u2013%m\u2013%d") for day in DAYS]
    [column] = find(tmp_path / "t.csv", {"x": values}).columns.values()
    assert read(column, values) == [day.date() for day in DAYS]


def test_lines_are_those_of_the_file(tmp_path):
    (tmp_path / "t.csv").write_text('a;x\n"two\nlines";1\n' + "".join(f"w;{n}\n" for n in PLAIN) + "w;x\n")
    table = ingest.read_table(tmp_path / "t.csv")
    with pytest.raises(ProjectError, match=r"'x' \(line 64\)"):
        spelling.find(tmp_path / "t.csv", table, profile.types_of(table), "y", Hints())
    pl.DataFrame({"x": [*PLAIN, "soon"]}).write_parquet(tmp_path / "t.parquet")
    table = ingest.read_table(tmp_path / "t.parquet")
    with pytest.raises(ProjectError, match=r"'soon' \(row 61\)"):
        spelling.find(tmp_path / "t.parquet", table, profile.types_of(table), "y", Hints())


def test_text_with_many_numbers_is_named(tmp_path):
    labels = ["0"] * 30 + ["1"] * 20 + ["3+"] * 10
    found = find(tmp_path / "t.csv", {"x": labels})
    assert found.columns == {}
    assert found.sentences == ["'x' stays text: 50 of 60 values are numbers like '0', but not '3+' (line 52)."]


def test_a_dash_is_missing_among_numbers_of_any_spelling(tmp_path):
    values = [*(german(n) for n in PRICES), "-", "?"]
    assert find(tmp_path / "t.csv", {"x": values}).columns == {"x": Column(type="float", decimal=",", thousands=".")}


def test_values_that_differ_only_in_case_or_blanks_are_named():
    looks = ["Yes", "yes ", "\ufeffyes", "No", "caf\u00e9", "cafe\u0301"]
    table = pl.LazyFrame({"y": looks, "z": ["a", "b", "c", "d", "e", "f"]})
    [sentence] = spelling.lookalikes(table, ["y", "z"])
    assert r"'Yes' and 'yes ' and '\ufeffyes'" in sentence
    assert "caf" in sentence
    assert "'y'" in sentence
    [sentence] = spelling.lookalikes(table.rename({"z": "Y"}), [])
    assert "Columns differ only in case, blanks or the like, and are kept: 'y' and 'Y'." in sentence


@pytest.fixture
def project(tmp_path, monkeypatch) -> Path:
    """Return a project of its own, with git and DVC."""
    folder = tmp_path / "project"
    for name in ("params.yaml", "contract.yaml", ".dvc/config", ".dvc/.gitignore"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    git.run_git("init", "--quiet", cwd=folder)
    monkeypatch.setenv("PROJECT_ROOT", str(folder))
    return folder


def test_contract_says_how_numbers_and_dates_are_spelled(project, tmp_path):
    days, prices = [f"{day:%d.%m.%Y}" for day in DAYS], [f"{german(n)} €" for n in PRICES]
    table = pl.DataFrame({"Tag": days, "Preis": prices, "Lage": ["gut", "Gut ", "schlecht"] * 20})
    table.write_csv(tmp_path / "t.csv", separator=";")
    summary = "\n".join(adopt(AdoptRequest(str(tmp_path / "t.csv"), "Lage", time="Tag")))
    assert "Dates in 'Tag' use %d.%m.%Y: " in summary
    assert "differ only in case, blanks or invisible characters" in summary
    contract = read_contract()
    assert contract.columns["Tag"].format == "%d.%m.%Y"
    assert contract.columns["Preis"].spelling == {"decimal": ",", "thousands": ".", "unit": "€"}
    rows = ingest.read_table(project / read_params().data.source, types=contract.types)
    validate.check(rows, contract)
    assert casting.conform(rows, contract).collect()["Preis"].to_list() == PRICES
    wrong = rows.with_columns(pl.col("Preis").str.replace(".", "", literal=True).str.replace(",", ".", literal=True))
    with pytest.raises(ProjectError, match=r"type: float \(decimal ',', thousands '\.', unit '€'\)' in 60 row"):
        validate.check(wrong, contract)


@pytest.mark.parametrize(
    ("dtype", "values", "kind"),
    [
        (pl.Float16, [0.5, 1.5], "float"),
        (pl.Int128, [7, -7], "integer"),
        (pl.Int128, [2**70, 7], "float"),
        (pl.UInt64, [7, 8], "integer"),
        (pl.UInt64, [2**64 - 1, 8], "float"),
        (pl.UInt128, [7, 8], "integer"),
        (pl.Decimal(20, 0), [7, 8], "integer"),
        (pl.Decimal(20, 2), [7.25, 8.5], "float"),
        (pl.Int8, [7, 8], "integer"),
        (pl.Duration, [dt.timedelta(minutes=1)], "float"),
        (pl.Time, [dt.time(0, 1)], "float"),
        (pl.Categorical, ["a", "b"], "string"),
        (pl.Enum(["a", "b"]), ["a", "b"], "string"),
    ],
)
def test_every_number_of_parquet_is_a_number(dtype, values, kind, tmp_path):
    pl.DataFrame({"x": pl.Series(values, dtype=dtype)}).write_parquet(tmp_path / "t.parquet")
    table = ingest.read_table(tmp_path / "t.parquet")
    [described] = profile.profile(table)
    assert described.type == kind
    contract = Contract(columns={"x": Column(type=kind)})
    validate.check(table, contract)
    [first, *_] = casting.conform(table, contract).collect()["x"]
    assert first == (
        60 if dtype in {pl.Duration, pl.Time} else pytest.approx(values[0]) if kind == "float" else values[0]
    )


def test_adopt_and_training_skip_the_same_rows(project, tmp_path):
    numbers = [None if n % 9 == 0 else float(n % 13) + 0.5 for n in range(90)]
    odd = [float("nan") if n % 9 == 1 else float("inf") if n % 9 == 2 else y for n, y in enumerate(numbers)]
    table = pl.DataFrame({"x": range(90), "kind": ["a", "b", "c"] * 30, "y": odd})
    text = table.with_columns(pl.col("y").cast(pl.String))
    text.write_csv(tmp_path / "t.csv")
    text.write_parquet(tmp_path / "text.parquet")
    table.write_parquet(tmp_path / "t.parquet")
    for name in ("t.csv", "t.parquet", "text.parquet"):
        counted = "30 of 90 rows have no target (NaN and infinity count as missing); training skips them."
        assert counted in adopt(AdoptRequest(str(tmp_path / name), "y"))
        params, contract = read_params(), read_contract()
        with disable_run_logger():
            source = File.at(Path(params.data.source))
            [rows] = training.ingest_table.fn(source, params.data.null_values, dict(contract.types))
            parts = training.build_features.fn(rows, Recipe.of(params, contract), params.split)
        built = pl.concat([part.scan() for part in parts]).collect()
        assert (built.height, built["y"].null_count(), built["y"].is_finite().all()) == (60, 0, True)


@pytest.mark.parametrize(
    ("column", "sentence"),
    [("kind", "whose type is string"), ("gaps", r"which is missing in 2 row\(s\)")],
)
def test_rows_are_ordered_by_a_date_or_a_number_without_gaps(column, sentence, project, tmp_path):
    gaps = pl.Series([float("nan"), None, *range(28)], dtype=pl.Float64)
    table = pl.DataFrame({"gaps": gaps, "kind": ["a", "b"] * 15, "y": ["u", "v", "w"] * 10})
    table.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(ProjectError, match=sentence):
        adopt(AdoptRequest(str(tmp_path / "t.parquet"), "y", time=column))


def test_served_models_take_text_as_it_is_spelled_and_numbers():
    column = Column(type="date", format="%d.%m.%Y")
    [spec] = runs.inputs(Contract(columns={"x": column}))
    assert isinstance(spec.type, AnyType)


def test_number_that_begins_with_zero_has_no_thousands(tmp_path):
    rates, shares = [f"{n},5 %" for n in range(60)], [f"-0.{n + 100}" for n in range(60)]
    file = tmp_path / "t.csv"
    pl.DataFrame({"rate": rates, "share": shares, "y": [n % 2 for n in range(60)]}).write_csv(file, separator=";")
    table = ingest.read_table(file)
    found = spelling.find(file, table, profile.types_of(table), "y", Hints())
    assert set(found.columns) == {"rate"}
    grouped = Column(type="float", decimal=",", thousands=".")
    value, lost = casting.cast("share", pl.String(), grouped)
    assert table.select(lost.all() & value.is_null().all()).collect().item()


@pytest.mark.parametrize("values", [[f"P{n:03}" for n in range(60)], [f"P{n}" for n in range(60)]])
def test_names_of_patients_are_no_durations(values):
    assert shapes.shape_of(pl.Series(values)) is None
