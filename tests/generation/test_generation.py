"""The generated project, checked for every value of every question. Fast: nothing is installed."""

import re
from typing import Any

import pytest
from cookiecutter.generate import is_copy_only_path
from template import CHOICES, EVERY_VALUE, OTHER_VALUES, PROJECT, TEMPLATE, Bake

each_value = pytest.mark.parametrize("answers", EVERY_VALUE)
each_other_value = pytest.mark.parametrize("answers", OTHER_VALUES)

Answers = dict[str, Any]


@pytest.mark.parametrize("deployment", CHOICES["deployment"])
def test_another_name_reaches_what_is_copied_too(bake: Bake, deployment: str) -> None:
    project = bake(project_slug="snow-petrel", deployment=deployment)
    texts = project.texts()
    assert not [name for name, text in texts.items() if re.search("penguin.model", text)]
    assert "from snow_petrel" in texts["tests/test_model.py"]
    if deployment == "kubernetes":
        assert "name: snow-petrel\n" in texts["kubernetes/namespace.yaml"]


@pytest.mark.parametrize("name", ["compute", "notifications"])
def test_the_chosen_variant_takes_the_place_of_the_standard(bake: Bake, name: str) -> None:
    module = {"compute": "ops/orchestration/task_runner.py", "notifications": "ops/notify/channel.py"}[name]
    for choice in CHOICES[name]:
        project = bake(**{name: choice})
        path = next(path for path in project.answers["__variants"] if path.endswith(module))
        source = PROJECT / "src/{{cookiecutter.__package}}" / module
        variant = source.with_stem(f"{source.stem}_{choice}")
        expected = variant if variant.exists() else source
        assert (project.path / path).read_text() == expected.read_text()


def test_raw_data_is_copied_not_rendered(bake: Bake) -> None:
    raw = [path for path in (PROJECT / "data/raw").iterdir() if path.is_file()]
    assert raw
    for path in raw:
        name = path.relative_to(PROJECT)
        assert is_copy_only_path(str(name), {"cookiecutter": TEMPLATE}), name
        assert (bake().path / name).read_bytes() == path.read_bytes(), name


def changes(bake: Bake, answers: Answers) -> set[str]:
    """Return the files of code and configuration that differ from the default project."""
    project, default = bake(**answers).texts(), bake().texts()
    return {
        name
        for name in project.keys() | default.keys()
        if project.get(name) != default.get(name) and not name.endswith(".md")
    }


@each_other_value
def test_no_answer_is_without_effect(bake: Bake, answers: Answers) -> None:
    assert changes(bake, answers)


def test_problem_changes_only_the_parameters_and_the_record(bake: Bake) -> None:
    assert changes(bake, {"problem": "regression"}) == {"params.yaml", ".cruft.json"}


def test_commands_printed_last_exist(bake: Bake, capfd: pytest.CaptureFixture[str]) -> None:
    project = bake(project_slug="printed")
    assert re.findall(r"^    (.+)$", capfd.readouterr().out, re.MULTILINE) == [
        "cd printed",
        "make setup",
        "make train",
    ]
    assert {"setup", "train"} <= set(re.findall(r"^([a-z]+):", project.texts()["Makefile"], re.MULTILINE))
