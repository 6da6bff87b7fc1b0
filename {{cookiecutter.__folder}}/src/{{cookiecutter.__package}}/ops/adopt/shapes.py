"""Find text that holds amounts or dates that are neither one number nor a date that can be read."""

import re
from typing import NamedTuple

import polars as pl

# So many of the different values have the shape; fewer different amounts are classes, such as 18-24 and 25-34.
NEARLY, CLASSES = 0.9, 20
# More different words behind numbers are names, such as those of streets.
UNITS = 12
EXAMPLES = 3
YEAR, DAY = r"(?:1[5-9]|20)\d\d", r"\d\d?(?:st|nd|rd|th|er|[.ºª])?"
# How months begin in English, German, French, Spanish, Italian, Portuguese, Dutch and Swedish.
MONTH = (
    r"(?:jan|gen|ene|f[eé][bv]|m[aä]r|mrt|maa|a[pvb]r|ma[ijyg]|mei|ju[nl]|jui|giu|lug|a[uo][gû]|sep|set|o[ckt]t|out|nov"
    r"|d[eéi][czs])[a-zà-ÿ]*\.?"
)
WEEKDAY = r"\p{L}{2,10}\.?"
SIGN = r"[^\p{L}\d]"
# Between day, month and year: blanks and signs, or what East Asia writes behind each.
MARK = r"(?:[^\p{L}\p{Nd}]{1,2}|[年月년월] ?)"
ERA = r"\p{Han}{2}"  # such as 令和
CLOCK = r"\d{4,6}Z?"
MONTH_NUMBER, DAY_NUMBER = "(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
DATE = "|".join(
    [
        rf"{DAY}[-/. _]*(?:de |of )?{MONTH}[-/., _]*(?:de |del )?(?:{YEAR}|'?\d\d)",
        rf"{MONTH} {DAY}(?:,? {YEAR}| [\d:]+ (?:\w+ )?{YEAR})",
        rf"{MONTH}[-/ _]*(?:de )?{YEAR}|{MONTH} ?'\d\d|{YEAR}[-/ _]*{MONTH}[-/ _]*\d\d?",
        rf"{YEAR}{MARK}\d\d?{MARK}\d\d?|\d\d?{MARK}\d\d?{MARK}{YEAR}|{ERA}\d\d?年\d\d?月\d\d?",
        rf"\d\d?{MARK}[IVX]+{MARK}{YEAR}",
        rf"{YEAR}{MONTH_NUMBER}{DAY_NUMBER}[-T_ ]?{CLOCK}|Date\(\d+",
    ]
)
CURRENCY = (
    r"[A-Za-z]{0,3}\p{Sc}|AED|ARS|AUD|BGN|BRL|CAD|CHF|CLP|CNY|COP|CZK|DKK|EGP|EUR|GBP|HKD|HUF|IDR|ILS|INR|JPY|KES|KRW|MXN"
    r"|MYR|NGN|NOK|NZD|PHP|PKR|PLN|RMB|RON|RSD|RUB|SAR|SEK|SGD|THB|TRY|TWD|UAH|USD|VND|ZAR|S?Fr\.?|Ft|kr\.?|Kč|[Ll]ei|Rs\.?|zł"
)
NUMBER = r"(?:\d{1,3}(?:[., '_]\d{3})+(?:[.,]\d+)?|\d+(?:,\d\d)*(?:[.,]\d+)?|[.,]\d+)"
AMOUNT = rf"[<>=~≈≤≥±('\"]*(?:ca\. ?)?[-+]?(?:(?:{CURRENCY}) ?)?[-+]?{NUMBER}"
# One letter behind a number is a unit if it is one of these; others belong to houses and seats.
UNIT = r"(?:[kKmMgGtTbBlLhsWVCFNSEW]|\p{Sc}|[^\p{L}\d\s.,:/-]+|\[\d+\]|[^\d\s.,:/()-]\D{1,17}[23]?)"
JOINT = r"(?:/|x|\xd7|\*|:|;|@|±|\+/-|,|of|von|\(|'|°)"


class Shape(NamedTuple):
    """What values are, what to write instead, and their pattern; `names` may look alike, such as telephone numbers.

    Of a column: whether it has so few different values that they may be `classes`.
    """

    what: str
    right: str
    pattern: str
    names: bool = False
    classes: bool = False


DATES = Shape("dates", "write them as 2023-12-31", rf"(?i)^{SIGN}?(?:{WEEKDAY},? )?(?:{DATE})(?:\D.*)?$")
RANGES = Shape(
    "ranges",
    "write two columns, or one number",
    rf"^{AMOUNT} ?{UNIT}? ?(?:-|to|bis|\.\.) ?{AMOUNT} ?{UNIT}?$",
    names=True,
)
AMOUNTS = Shape(
    "amounts with units or signs",
    "write plain numbers in one unit",
    rf"^{AMOUNT} ?\(?({UNIT})?\)?$",
    names=True,
)
# The first that fits counts.
SHAPES = (
    DATES,
    Shape(
        "days of a year or serial numbers",
        "write days as 2023-12-31",
        rf"^{YEAR}[-/._ ](?:[0-2]\d\d|3[0-6]\d)$|^(?:[0-2]\d\d|3[0-6]\d)[-/._ ]{YEAR}$",
    ),
    Shape(
        "weeks, quarters or the like",
        "write the date of their first day",
        rf"(?i)^{YEAR}[-/ ]?(?:K?W|[QHST])\d\d?(?:-\d)?$|^(?:K?W|[QHST])\d\d?[-/ ']*{YEAR}$"
        rf"|^FY ?(?:20)?\d\d$|^\d[QHST] ?'?\d\d$|^{YEAR}/\d\d$",
    ),
    Shape(
        "days without a year",
        "add the year, or if they have one, add a --date-format such as %B-%y",
        rf"(?i)^{DAY_NUMBER}[/.]{MONTH_NUMBER}$|^{MONTH_NUMBER}[-/]{DAY_NUMBER}$|^\d\d?\.\d\d?\.$"
        rf"|^{DAY}[- ]{MONTH}$|^{MONTH}[- ]{DAY}$",
    ),
    Shape(
        "times",
        "write minutes or seconds",
        r"(?i)^(?:[01]\d|2[0-3])(?:h[0-5]\d|(?:\.[0-5]\d){1,2})$|^\d{1,3}(?::\d\d){1,2}(?:[.,]\d+)?(?: ?[ap]\.?m\.?)?$"
        r"|^\d\d?(?:[.:h]\d\d){0,2} ?(?:[ap]\.?m\.?|uhr)$",
    ),
    RANGES,
    Shape(
        "amounts in several units",
        "write one number in one unit",
        r"^(?:\d[\d.,]* ?(?:[dhms]|[a-z]{2,10})[., ]*){2,}$|^\d+ days? [\d:.]+$|^-?P(\d+[YMWD])*(T([\d.]+[HMS])+)?$",
    ),
    Shape(
        "fractions",
        "write 0.5 for 1/2",
        r"^[-+]?(?:\d+|(?:\d+[ -])?\d+/(?:[2-9]|1[026]|32|64))\"?$",
        names=True,
    ),
    Shape("several numbers", "write a column for each", rf"^{AMOUNT} ?{UNIT}? ?{JOINT} ?{AMOUNT}", names=True),
    AMOUNTS,
)
# 007, +49 301 234 567, 555-1234 and more digits than a number holds are names.
NAME = r"^\D*0\d|[^\d.,' _]0\d|^\d{3}-\d{4}$|\d{16}|^0x\d*[a-f]"


def shape_of(values: pl.Series) -> Shape | None:
    """Return the shape that nearly all of these different values have."""
    is_name = bool(values.str.contains(NAME).any() or values.str.starts_with("+").all())
    for shape in SHAPES:
        found = values.filter(values.str.contains(shape.pattern))
        if len(found) >= NEARLY * len(values) and not (shape.names and is_name):
            few = len(values) <= CLASSES and shape is not DATES
            return None if (few and shape.names) or not _is_meant(shape, found) else shape._replace(classes=few)
    return None


def examples(values: pl.Series) -> list[str]:
    """Return the first values that differ in more than their numbers."""
    different: dict[str, str] = {}
    for value in values:
        different.setdefault(re.sub(r"[\d., ]+", "0", value), value)
    return list(different.values())[:EXAMPLES]


def _is_meant(shape: Shape, found: pl.Series) -> bool:
    """Tell ranges, which rise, and a few units from names."""
    if shape is RANGES:
        ends = [
            found.str.extract(r"(\d[\d.,]*)" + end).str.replace(",", ".").cast(pl.Float64, strict=False)
            for end in (r".*\d", r"\D*$")
        ]
        return bool((ends[0] <= ends[1]).all())
    return shape != AMOUNTS or found.str.extract(shape.pattern).n_unique() <= UNITS
