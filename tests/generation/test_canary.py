"""The search of the canary names every package that breaks a check, in invented sets of versions."""

import re
from collections.abc import Sequence

import pytest
from bump import admitting, oldest, raised
from canary import PROJECT, Failure, Versions, find_culprits

NAMES = [f"package{number:02}" for number in range(59)]


class World:
    """Packages of version 1 that all have a version 2, and what breaks: a check by the packages it needs."""

    def __init__(self, **broken: set[str]) -> None:
        self.broken, self.checks = broken, 0

    def resolve(self, lifted: Sequence[str]) -> Versions:
        return {name: "2" if name in lifted else "1" for name in NAMES}

    def check(self, versions: Versions, only: str | None) -> Failure | None:
        self.checks += 1
        for name, needed in self.broken.items():
            if only in {None, name} and all(versions[package] == "2" for package in needed):
                return Failure(name, f"{name} failed")
        return None


def names(world: World) -> list[tuple[str, str]]:
    culprits, passing = find_culprits(NAMES, world.resolve, world.check)
    # All the rest is new.
    held = {name for name, version in passing.items() if version == "1"}
    assert held == {culprit.name for culprit in culprits}
    assert world.check(passing, None) is None
    return [(culprit.name, culprit.failure.check) for culprit in culprits]


def test_nothing_is_named_when_all_checks_pass() -> None:
    world = World()
    assert names(world) == []
    assert world.checks == 2


@pytest.mark.parametrize("number", range(0, 59, 7))
def test_one_culprit_is_found_by_halving(number: int) -> None:
    world = World(training={NAMES[number]})
    assert names(world) == [(NAMES[number], "training")]
    assert world.checks <= 11


@pytest.mark.parametrize(("first", "second"), [(3, 40), (40, 3), (0, 58), (7, 8)])
def test_two_culprits_are_both_found(first: int, second: int) -> None:
    world = World(schedule={NAMES[first]}, training={NAMES[second]})
    assert sorted(names(world)) == sorted([(NAMES[first], "schedule"), (NAMES[second], "training")])


def test_of_a_pair_that_fails_only_together_one_is_held_back() -> None:
    assert names(World(training={NAMES[5], NAMES[50]})) == [(NAMES[50], "training")]


def test_tested_set_that_fails_itself_is_no_fault_of_a_release() -> None:
    with pytest.raises(SystemExit, match="With the tested versions, too, this fails: training"):
        names(World(training=set()))


@pytest.mark.parametrize(
    ("line", "newest", "bumped"),
    [
        ('"prefect>=3.8.8,<3.9",', "3.9.1", '"prefect>=3.9.1,<3.10",'),
        ('"prefect>=3.8.8,<3.9",', "3.8.12", '"prefect>=3.8.12,<3.9",'),
        ('"prefect>=3.8.8,<3.9",', "3.8.8", '"prefect>=3.8.8,<3.9",'),
        ('"numpy>=2.3,<3",', "2.5.1", '"numpy>=2.5,<3",'),
        ('"numpy>=2.3,<3",', "3.0.0", '"numpy>=3.0,<4",'),
        ('"ruamel.yaml>=0.18,<0.20",', "0.19.2", '"ruamel.yaml>=0.19,<0.20",'),
        ('    "psycopg[binary]>=3.3.6,<3.4", # why', "3.4.0", '    "psycopg[binary]>=3.4.0,<3.5", # why'),
        ('    "dvc[{{ gs }}]>=3.67.1,<3.68",', "3.68", '    "dvc[{{ gs }}]>=3.68,<3.69",'),
        (
            "\"uvloop>=0.23,<0.24; sys_platform != 'win32'\",",
            "0.24.1",
            "\"uvloop>=0.24,<0.25; sys_platform != 'win32'\",",
        ),
        ('requires-python = ">=3.11"', "3.14", 'requires-python = ">=3.11"'),
    ],
)
def test_bounds_are_raised_as_exact_as_they_were(line: str, newest: str, bumped: str) -> None:
    name = re.match(r"\W*([\w.]+)", line)
    assert name
    assert raised(admitting(line, {name[1]: newest}), {name[1]: newest}) == bumped


def test_lower_bound_is_the_version_of_the_oldest_python() -> None:
    constraints = (
        "numpy==2.4.6 ; python_full_version < '3.12'\nnumpy==2.10.0 ; python_full_version >= '3.12'\n"
    )
    assert oldest(f"{constraints}pandas==3.1.2\n") == {"numpy": "2.4.6", "pandas": "3.1.2"}


def test_bump_knows_every_dependency() -> None:
    text = (PROJECT / "pyproject.toml").read_text()
    newest = dict.fromkeys(re.findall(r'^    "([\w.-]+)', text, re.MULTILINE), "9999.9.9")
    bounds = re.findall(r'^    "[^"]*?>=([\d.]+),<', raised(admitting(text, newest), newest), re.MULTILINE)
    assert len(bounds) > 40
    assert all(bound.startswith("9999") for bound in bounds)
