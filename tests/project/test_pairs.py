"""Every pair of answers: projects that are installed from what they declare, run, used and updated. Slow.

Each push runs one of the rows, by the seed, and the night all. Each answer does what it promises, or the
table below says where that is tested.
"""

import json
import os
import re
from collections.abc import Callable
from itertools import cycle
from typing import NamedTuple

import pytest
import yaml
from pipelines import Pipeline
from releases import Template, commit, merged, resolve, work
from running import PYTHONS, Running, ask, pages, passed
from servers import served
from storages import SERVED, push_and_pull
from template import CHOICES, SLUGS
from tiers import in_turn
from variants import Row, covering_rows

pytestmark = pytest.mark.slow

TEXTS = (
    ("Пингвины «Юга»", 'Says "so": 100 % of \\them, & more', "Ада Л. & Søren O'Hara"),
    ("ペンギン模型", "- #1 <b>yes</b> `no` $HOME", "名無し"),
    ("نموذج البطريق", "key: value # and no comment", "'quoted' \"twice\""),
)
# Quick, and candidates are drawn at random, so that no two are equal.
SEARCHED = """model:
  estimator: sklearn.ensemble.RandomForest{kind}
  params: {{n_estimators: 5}}
  trusted: []

search:
  params: {{max_depth: {{low: 2, high: 9}}, max_features: {{low: 0.2, high: 1.0}}}}
  candidates: 4
  folds: 2

gate:"""
# A table of the owner's, with a target that one column almost decides.
OWN = "size,colour,grown\n" + "".join(
    f"{at % 17 + at / 40},{'rgb'[at % 3]},{at % 17 + 3 * (at % 3) + at % 5 / 2}\n" for at in range(160)
)


class Case(NamedTuple):
    """A row of answers, and the texts that go with it."""

    row: Row
    slug: str
    texts: tuple[str, str, str]


def case_of(row: Row, slug: str, texts: tuple[str, str, str]) -> Case:
    """Return a case; a namespace of Kubernetes has no underscores."""
    return Case(row, slug.replace("_", "-") if row["deployment"] == "kubernetes" else slug, texts)


ROWS = covering_rows(CHOICES | {"python_version": PYTHONS})
CASES = [case_of(*each) for each in zip(ROWS, cycle(SLUGS), cycle(TEXTS), strict=False)]


def in_process(project: Running) -> None:
    """Let a worker run the flow."""
    project.make("deploy")
    with project.started("-m", project.package, "worker", "--pool", project.path.name) as worker:
        run = project.run_deployment(f"scoring/{project.path.name}")
        assert project.wait_for_run(run)["state_name"] == "Completed"
        worker.terminate()
        worker.communicate(timeout=60)


def in_container(project: Running) -> None:
    """Run the flow by the container's command, as there is no engine; test_stack.py has the image."""
    project.make("deploy")
    run = project.run_deployment(f"scoring/{project.path.name}")
    project.uv("run", project.path.name, "prefect", "flow-run", "execute", run)
    assert project.wait_for_run(run)["state_name"] == "Completed"
    log = project.path.parent / "docker.log"
    assert f"build --tag {project.path.name}:latest " in log.read_text(encoding="utf-8")


def managed(project: Running) -> None:
    """See it refused: only Prefect Cloud has such work pools."""
    with pytest.raises(
        AssertionError, match="no work pools of type prefect:managed: only Prefect Cloud has it"
    ):
        project.make("deploy")


DEPLOYED: dict[str, Callable[[Running], None]] = {
    "process": in_process,
    "docker": in_container,
    "kubernetes": in_container,
    "managed": managed,
}
PREDICTED = """
import json
import polars as pl
predictions = pl.read_parquet("scored/**/*.parquet")["prediction"]
print(json.dumps([len(predictions), predictions.null_count()]))
"""
# Stands in for docker, which builds and pushes the image before flows are deployed.
DOCKER = """#!/bin/sh
echo "$@" >> {log}
"""


class Pairs:
    """What is true of every row. The tests are run in their order; a class is what one worker runs."""

    @pytest.fixture(scope="class")
    @classmethod
    def case(cls, request: pytest.FixtureRequest) -> Case:
        return CASES[int(request.param)]

    @pytest.fixture(scope="class")
    @classmethod
    def template(cls, case: Case, tmp_path_factory: pytest.TempPathFactory) -> Template:
        return Template(tmp_path_factory.mktemp(case.slug[:8]) / "template")

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, case: Case, template: Template) -> Running:
        """Generate, install and set the project up."""
        names = ("project_name", "description", "author")
        folder = template.folder.parent
        answers = dict(zip(names, case.texts, strict=True)) | case.row
        project = template.generate(folder, case.row["python_version"], project_slug=case.slug, **answers)
        project.make("setup")
        return project

    @pytest.fixture(scope="class")
    @classmethod
    def pipeline(
        cls, case: Case, project: Running, tmp_path_factory: pytest.TempPathFactory
    ) -> Pipeline | None:
        system = case.row["ci"]
        return None if system == "none" else Pipeline(project, system, tmp_path_factory.mktemp("jobs"))

    def test_installs_the_tested_set(self, project: Running) -> None:
        listed = (project.path / "constraints.txt").read_text(encoding="utf-8")
        tested = set(re.findall(r"^[\w.-]+==[^\s;]+", listed, flags=re.MULTILINE))
        python = str(project.environment / "bin/python")
        installed = set(project.uv("pip", "freeze", "--exclude-editable", "--python", python).split())
        assert installed
        assert installed <= tested

    def test_is_clean(self, project: Running, pipeline: Pipeline | None) -> None:
        if pipeline:
            assert not pipeline.fails("check")
        else:
            project.make("check")

    def test_passes_its_own_tests(self, project: Running, pipeline: Pipeline | None) -> None:
        if pipeline:
            assert not pipeline.fails("test")
        else:
            passed(project.make("test"))

    def test_trains_a_champion_by_a_search(
        self, case: Case, project: Running, told: tuple[str, list[str]]
    ) -> None:
        kind = "Classifier" if case.row["problem"] == "classification" else "Regressor"
        params = project.path / "params.yaml"
        text, pattern = (
            params.read_text(encoding="utf-8"),
            re.compile(r"^model:.*^gate:", re.DOTALL | re.MULTILINE),
        )
        params.write_text(pattern.sub(SEARCHED.format(kind=kind), text), encoding="utf-8")
        assert "training" in json.loads(project.uv("run", "dvc", "status", "--json"))
        notified = case.row["notifications"] != "none"
        told[1].clear()
        with project.settings(**{"NOTIFY_WEBHOOK_URL": told[0]} if notified else {}):
            project.make("train")
        assert json.loads(project.uv("run", "dvc", "status", "--json")) == {}
        recorded = project.recorded()
        assert recorded["flows"] == ["Completed"]
        assert len(recorded["depths"]) == 5
        assert (recorded["champion"], recorded["status"]) == (1, "FINISHED")
        metrics = json.loads((project.path / "reports/metrics.json").read_text(encoding="utf-8"))
        assert metrics.items() <= recorded["metrics"].items()
        assert ["champion" in message for message in told[1]] == [True] * notified
        assert "version 1: champion" in project.make("status")

    def test_commands_of_agents_md_have_run(self, project: Running) -> None:
        text = (project.path / "AGENTS.md").read_text(encoding="utf-8")
        [block] = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        commands = [line.partition("#")[0].strip() for line in block.splitlines()]
        assert commands == [f"make {target}" for target in ("setup", "check", "test", "train", "status")]

    def test_dvc_lock_and_the_model_name_each_other(self, project: Running) -> None:
        lock = yaml.safe_load((project.path / "dvc.lock").read_text(encoding="utf-8"))["stages"]["training"]
        recorded = {entry["path"]: entry["md5"] for entry in lock["deps"] + lock["outs"]}
        tags = dict(project.rows("mlflow.db", "SELECT key, value FROM model_version_tags"))
        tied = json.loads(tags["dvc.lock"])
        # The record of a run cannot hold its own MD5.
        record = "reports/provenance.json"
        assert tied["outs"] == {out["path"]: out["md5"] for out in lock["outs"] if out["path"] != record}
        for path in ("data/raw/penguins.csv", "contract.yaml"):
            assert tied["deps"][path] == tags[f"input.{path}"] == recorded[path]
        assert re.fullmatch(r"[0-9a-f]{40}(-dirty)?", tags["git.commit"])

    def test_lock_is_up_to_date_in_a_clone(self, project: Running, pipeline: Pipeline | None) -> None:
        commit(project, "Train")
        if pipeline:
            assert not pipeline.fails("lock")
        else:
            project.make("check")

    def test_scores_a_file(self, project: Running) -> None:
        project.run("make", "score", "ARGS=--source data/new/penguins-2009.csv --to scored")
        table = (project.path / "data/new/penguins-2009.csv").read_text(encoding="utf-8")
        predicted, missing = project.ask(PREDICTED)
        assert (0 < predicted < len(table.splitlines()), missing) == (True, 0)

    def test_serves_if_it_is_chosen(self, case: Case, project: Running) -> None:
        assert bool(re.search(r"^serve ", project.make("help"), re.MULTILINE)) == (
            case.row["serving"] == "fastapi"
        )
        if case.row["serving"] == "none":
            return
        with served(project) as address:
            described = json.loads(ask(f"{address}/openapi.json")[1])["paths"]["/predict"]["post"]
            body = described["requestBody"]["content"]["application/json"]["examples"]["several rows"][
                "value"
            ]
            status, said = ask(f"{address}/predict", body)
        assert status == 200, said
        assert len(json.loads(said)["predictions"]) == len(body)

    def test_deployed_flow_runs(self, case: Case, project: Running, monkeypatch: pytest.MonkeyPatch) -> None:
        programs = project.path.parent / "programs"
        programs.mkdir()
        (programs / "docker").write_text(DOCKER.format(log=project.path.parent / "docker.log"))
        (programs / "docker").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
        with project.ui(str(project.environment / "bin/python"), "-m", project.package, "ui") as (_, said):
            address, password = pages(said)["MLflow"]
            account = {"MLFLOW_TRACKING_USERNAME": "ui", "MLFLOW_TRACKING_PASSWORD": password}
            elsewhere = {
                "MLFLOW_TRACKING_URI": address,
                "REPOSITORY": "https://example.org/ORG/REPO",
                **account,
            }
            here = case.row["deployment"] == "process"
            with project.settings(**{} if here else elsewhere):
                DEPLOYED[case.row["deployment"]](project)

    def test_what_is_pushed_comes_back_in_a_clone(self, case: Case, project: Running) -> None:
        kept = project.path / ".env"
        with project.settings(), SERVED[case.row["data_remote"]](project) as variables:
            push_and_pull(project, project.path.parent / "clone", **variables)
        assert not kept.read_text(encoding="utf-8")

    def test_update_keeps_the_owners_work_and_champion(self, project: Running, template: Template) -> None:
        table = project.path.parent / "own.csv"
        table.write_text(OWN, encoding="utf-8")
        project.uv("run", project.path.name, "adopt", str(table), "--target", "grown")
        work(project)
        project.make("train")
        commit(project, "The owner's work")
        before, params = project.recorded(), (project.path / "params.yaml").read_bytes()
        journal = project.uv("run", project.path.name, "journal")
        assert (before["versions"], "→ version 1" in journal) == (2, True)
        template.release_second()
        assert "From v1 to v2: " in project.make("update")
        merged(project)
        resolve(project)
        for target in ("setup", "check"):
            project.make(target)
        passed(project.make("test"))
        assert "up to date" in project.make("train")
        assert (project.path / "params.yaml").read_bytes() == params
        after = project.recorded()
        assert (after["champion"], after["versions"]) == (before["champion"], before["versions"])
        assert project.uv("run", project.path.name, "journal") == journal


def part(number: int) -> Callable[[type], type]:
    """Give a class a third of the rows."""
    return pytest.mark.parametrize("case", EACH[number::3], indirect=True, scope="class", ids=str)


EACH = in_turn(*range(len(CASES)))


@part(0)
class TestPairs(Pairs):
    """A third of the rows."""


@part(1)
class TestMorePairs(Pairs):
    """Another third."""


@part(2)
class TestOtherPairs(Pairs):
    """The last third."""


def test_every_answer_that_promises_something_is_tried() -> None:
    assert list(DEPLOYED) == CHOICES["deployment"]
    assert list(SERVED) == CHOICES["data_remote"]
