"""The gate, the champion, rollback, lineage, rebuilding and dvc.lock, by the project's own verbs. Slow.

One project, whose tests build on each other and run in order.
"""

import getpass
import os
import pty
import re
import shutil
import signal
import subprocess
from typing import Any

import pytest
import yaml
from mlflow_server import serve
from running import Running, set_up
from template import Bake
from tiers import in_turn

pytestmark = pytest.mark.slow

# A verb that is killed before its change of the registry with this number.
KILLED = """
import os, signal, sys
from {package} import cli
from {package}.ops.tracking.store import SqlStore

left = [{point}]

def killing(change):
    def call(*args, **kwargs):
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left[0] -= 1
        return change(*args, **kwargs)
    return call

for name in ("add_tag", "set_tag", "set_alias"):
    setattr(SqlStore, name, killing(getattr(SqlStore, name)))
sys.argv = ["verb", *{words!r}]
cli.main()
"""
# Changes a metric of version 1's run, and replaces its model with version 3's, as a user who may do both.
TAMPERED = """
import json, shutil
from pathlib import Path
from {package}.ops.settings import PACKAGE as NAME
from {package}.ops.tracking import digests, registry
from {package}.ops.tracking.connection import connect
client = connect()
client.log_metric(registry.get(1).run_id, "rmse", 1.0)
one, three = (client.get_model_version_download_uri(NAME, n).removeprefix("file://") for n in "13")
shutil.copytree(three + "/data", one + "/data", dirs_exist_ok=True)
registry.set_tag(1, digests.TAG, json.dumps(digests.compute(Path(one))))
print(json.dumps(one))
"""


class TestRegistry:
    """A project of three versions."""

    @pytest.fixture(scope="class")
    @classmethod
    def project(cls, bake: Bake, tmp_path_factory: pytest.TempPathFactory) -> Running:
        """Set a project up and commit it."""
        made = set_up(bake, tmp_path_factory.mktemp("running"), "3.13", "regression")
        made.git("add", ".")
        made.git("commit", "--quiet", "--message", "Start")
        assert "no dvc.lock yet" in say(made, "check-lock")
        return made

    def test_model_below_the_minimum_is_a_challenger_of_nobody(self, project: Running) -> None:
        train(project, {"max_iter": 3}, {"minimum": 1})
        assert re.search(
            r"version 1: challenger of no champion \(rmse \d+\S* does not reach the minimum of 1\)",
            say(project, "status"),
        )
        assert "No version has been champion yet" in say(project, "journal")
        keep(project, "Train the first")

    def test_promotion_by_hand_needs_a_reason(self, project: Running) -> None:
        assert (
            refused(project, "promote", "1")
            == "A promotion by hand needs a reason: promote 1 --reason '…'.\n"
        )
        assert refused(project, "promote", "7", "--reason", "x").startswith("There is no version 7 of ")
        assert aliases(project) == {"challenger": 1}
        assert "Version 1 is the champion now" in say(
            project, "promote", "1", "--reason", "any is better than none"
        )
        assert aliases(project) == {"champion": 1}

    def test_improvement_is_asked_for_and_a_dirty_tree_is_told(self, project: Running) -> None:
        step = project.path / "src" / project.package / "steps/train.py"
        text = step.read_text(encoding="utf-8")
        step.write_text(f"{text}\n# not committed\n", encoding="utf-8")
        (step.parent / "new.py").write_text('"""Not even known to git."""\n', encoding="utf-8")
        said = train(project, {"max_iter": 100}, {"minimum": None, "improvement": 100000})
        files = f"params.yaml, src/{project.package}/steps/new.py, src/{project.package}/steps/train.py"
        assert f"Uncommitted changes in {files}; the MLflow run keeps them as code.patch" in said
        assert "less than gate.improvement (100000)" in say(project, "status")
        assert aliases(project) == {"champion": 1, "challenger": 2}
        step.write_text(text, encoding="utf-8")
        (step.parent / "new.py").unlink()

    def test_better_model_that_is_worse_in_no_slice_is_champion(self, project: Running) -> None:
        change(project, {"max_iter": 60}, {"improvement": 0, "slices": ["sex", "island"]})
        keep(project, "Look at slices")
        assert "Uncommitted changes" not in project.make("train")
        assert re.search(
            r"version 3: champion \(.* better than the champion's .* worse in none of \d slices",
            say(project, "status"),
        )
        keep(project, "Train the third")
        assert [line.split("  ")[2:] for line in say(project, "journal").splitlines()[::2]] == [
            ["none → version 1", f"(promote, {getpass.getuser()})"],
            ["version 1 → version 3", flow_run(project, 3)],
        ]

    def test_rollback_goes_back_and_is_written_down(self, project: Running) -> None:
        assert "Version 1 is the champion again, instead of version 3" in say(
            project, "rollback", "--reason", "slow"
        )
        assert refused(project, "rollback").startswith("There is no earlier champion of ")
        assert say(project, "journal").splitlines()[-1] == "   slow"
        assert aliases(project) == {"champion": 1, "challenger": 3}

    def test_one_of_two_at_once_wins_and_the_other_is_told(self, project: Running) -> None:
        asked = [Asked(project, version) for version in ("2", "3")]
        won, told = sorted((person.answer("at once") for person in asked), key=lambda ended: ended[0])
        assert (won[0], told[0]) == (0, 1)
        version = aliases(project)["champion"]
        assert f"Version {version} is the champion now; before, it was version 1." in won[1]
        assert told[1] == (
            f"Version {5 - version} was not promoted: it was compared with version 1, "
            f"and since then another command has made version {version} the champion.\n"
        )
        say(project, "rollback")

    @pytest.mark.parametrize("point", in_turn(*range(4)))
    def test_killed_between_two_steps_journal_and_alias_agree(self, project: Running, point: int) -> None:
        before, moves = aliases(project)["champion"], say(project, "journal").count("→")
        words = ["promote", str(4 - before), "--reason", f"killed at {point}"]
        code = KILLED.format(package=project.package, point=point, words=words)
        python = str(project.environment / "bin/python")
        done = subprocess.run([python, "-c", code], cwd=project.path, env=project.env(), check=False)
        assert done.returncode == -signal.SIGKILL
        # Killed before the first change, nothing happens; later, the next command that writes finishes it.
        champion = 4 - before if point else before
        unsettled = aliases(project)["champion"] != champion
        assert ("The alias `champion` does not match its journal" in say(project, "journal")) == unsettled
        refused(project, "promote", str(champion), "--reason", "it is already")
        journal = say(project, "journal")
        assert journal.count("→") == moves + bool(point)
        assert re.findall(r"→ version (\d)", journal)[-1] == str(champion)
        assert aliases(project) == {"champion": champion} | ({} if champion == 3 else {"challenger": 3})

    def test_account_that_may_only_read_sees_all_and_changes_nothing(self, project: Running) -> None:
        say(project, "promote", str(4 - aliases(project)["champion"]), "--reason", "for the rollback")
        before, champion = footprint(project)["registry"], aliases(project)["champion"]
        with serve(project) as account:

            def guest(*words: str) -> subprocess.CompletedProcess[str]:
                command, env = [verb(project), *words], project.env() | account
                return subprocess.run(
                    command, cwd=project.path, env=env, capture_output=True, text=True, check=False
                )

            for words in (["status"], ["journal"], ["lineage"], ["lineage", "2"]):
                assert guest(*words).stdout == say(project, *words) != ""
            scored = guest("score")
            assert scored.returncode == 0, scored.stderr
            for words in (["promote", str(4 - champion), "--reason", "by a guest"], ["rollback"]):
                refusal = guest(*words)
                assert refusal.returncode == 1
                uri = account["MLFLOW_TRACKING_URI"]
                assert refusal.stderr == f"This account may read the registry at {uri}, but not change it.\n"
        assert footprint(project)["registry"] == before

    def test_lineage_goes_back_to_the_raw_data(self, project: Running) -> None:
        trained = project.git("rev-parse", "HEAD~1").strip()
        locked = project.git("rev-parse", "--short", "HEAD").strip()
        lock = yaml.safe_load((project.path / "dvc.lock").read_text(encoding="utf-8"))["stages"]["training"]
        model = next(out["md5"] for out in lock["outs"] if out["path"] == "models/pipeline.skops")
        raw = next(dep["md5"] for dep in lock["deps"] if dep["path"] == "data/raw/penguins.csv")
        said = say(project, "lineage", "3")
        for link in (
            rf"^{project.package} version 3",
            r"MLflow run \w{32} of .*, finished$",
            rf"Prefect flow run {flow_run(project, 3).split()[-2]}, ",
            rf"git commit {trained} “Look at slices”, clean$",
            rf"dvc.lock names models/pipeline.skops {model}, since commit {locked} “Train the third”$",
            rf"raw data data/raw/penguins.csv, MD5 {raw}$",
            rf"in cache .*{raw[2:]}$",
            r"in remote sample, ",
        ):
            assert re.search(link, said, re.MULTILINE), link
        assert re.search(
            r"“Train the first”, with uncommitted changes in code.patch: ",
            say(project, "lineage", "2"),
        )

    def test_clean_and_dirty_versions_are_rebuilt_beside_the_users_tree(self, project: Running) -> None:
        # Data that is not in the cache is pulled.
        shutil.rmtree(project.path / ".dvc/cache")
        (project.path / "data/raw/penguins.csv").unlink()
        (project.path / "params.yaml").write_text("broken: [", encoding="utf-8")
        before = footprint(project)
        # Three of the model and three of the dummy.
        same = r"is the same: 6 metrics to the last digit, and \d+ predictions on the holdout\."
        assert re.search(rf"trained again from commit \w{{12}}, {same}", say(project, "reproduce", "3"))
        assert re.search(
            rf"trained again from commit \w{{12}} and its patch, {same}", say(project, "reproduce", "2")
        )
        assert footprint(project) == before
        project.git("checkout", "--quiet", "params.yaml")

    def test_what_differs_is_said(self, project: Running) -> None:
        project.ask(TAMPERED)
        before = footprint(project)
        said = refused(project, "reproduce", "1")
        assert re.match(r"Version 1, trained again from commit \w{12} and its patch, differs:\n", said)
        assert re.search(r"^- rmse is [\d.]+, was 1\.0$", said, re.MULTILINE)
        assert re.search(r"- the predictions of \d+ of the \d+ rows of the holdout differ\n", said)
        assert "Libraries that differ: none of those recorded." in said
        assert footprint(project) == before

    def test_lock_is_held_true_in_a_clone_without_data(self, project: Running) -> None:
        clone = project._replace(path=project.path.parent / "clone" / project.path.name)
        project.git("clone", "--quiet", str(project.path), str(clone.path))
        assert "dvc.lock is up to date." in clone.make("check")
        assert not (clone.path / "data/raw/penguins.csv").exists()
        lock = clone.path / "dvc.lock"
        true = lock.read_text(encoding="utf-8")
        outs = yaml.safe_load(true)["stages"]["training"]["outs"]
        tampered = true
        for out in outs:
            tampered = tampered.replace(out["md5"], "0123" + out["md5"][4:])
        lock.write_text(tampered, encoding="utf-8")
        said = refused(clone, "check-lock")
        assert {out["path"] for out in outs} <= {line.split()[1] for line in said.splitlines()[1:-1]}
        lock.write_text(clone.git("show", "HEAD~2:dvc.lock"), encoding="utf-8")
        said = refused(clone, "check-lock")
        assert "- params.yaml has changed since the training: gate, model\n" in said
        assert re.search(
            r"- models/pipeline.skops has MD5 \w+ in dvc.lock, but \w+ in reports/provenance.json\n", said
        )
        lock.write_text(true, encoding="utf-8")
        step = clone.path / "src" / project.package / "steps/train.py"
        step.write_text(f"{step.read_text(encoding='utf-8')}# edited\n", encoding="utf-8")
        said = refused(clone, "check-lock")
        assert (
            f"- src/{clone.package}/steps, which the training reads, does not match dvc.lock (modified)\n"
            in said
        )
        clone.git("checkout", "--quiet", ".")
        assert "dvc.lock is up to date." in say(clone, "check-lock")


class Asked:
    """A user at a terminal who is asked for the reason of a promotion."""

    def __init__(self, project: Running, version: str) -> None:
        """Start the promotion, and wait until it asks."""
        self.terminal, end = pty.openpty()
        self.verb = subprocess.Popen(
            [verb(project), "promote", version],
            cwd=project.path,
            env=project.env(),
            stdin=end,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        os.close(end)
        assert self.verb.stdout
        question = f"Why should version {version} be the champion?"
        assert self.verb.stdout.read(len(question)) == question

    def answer(self, reason: str) -> tuple[int, str]:
        """Answer; return the exit code of the promotion and its output."""
        os.write(self.terminal, f"{reason}\n".encode())
        out, err = self.verb.communicate(timeout=120)
        os.close(self.terminal)
        return self.verb.returncode, err or out


def verb(project: Running) -> str:
    return str(project.environment / "bin" / project.path.name)


def say(project: Running, *words: str) -> str:
    """Run a verb and return what it printed."""
    return project.run(verb(project), *words)


def refused(project: Running, *words: str) -> str:
    """Run a verb that must fail, and return its sentence."""
    done = subprocess.run(
        [verb(project), *words],
        cwd=project.path,
        env=project.env(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def change(project: Running, model: dict[str, Any], gate: dict[str, Any]) -> None:
    """Change parameters of the model and keys of the gate in params.yaml."""
    file = project.path / "params.yaml"
    text = file.read_text(encoding="utf-8")
    for name, value in (model | gate).items():
        text, found = re.subn(rf"^( +{name}: ).*$", rf"\g<1>{yaml_of(value)}", text, flags=re.MULTILINE)
        assert found == 1, name
    file.write_text(text, encoding="utf-8")


def yaml_of(value: Any) -> str:  # noqa: ANN401 - any value of YAML
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()


def train(project: Running, model: dict[str, Any], gate: dict[str, Any]) -> str:
    """Train with changed parameters; return the output."""
    change(project, model, gate)
    done = subprocess.run(
        ["make", "train"], cwd=project.path, env=project.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def keep(project: Running, message: str) -> None:
    """Commit everything, so that the tree is clean."""
    project.git("add", ".")
    project.git("commit", "--quiet", "--message", message)
    assert project.git("status", "--porcelain") == ""


def aliases(project: Running) -> dict[str, int]:
    return dict(project.rows("mlflow.db", "SELECT alias, version FROM registered_model_aliases"))


def flow_run(project: Running, version: int) -> str:
    """Return the flow run of a version as the journal shows it."""
    query = f"SELECT key, value FROM model_version_tags WHERE version = {version}"  # noqa: S608
    tags = dict(project.rows("mlflow.db", query))
    return f"(training, flow run {tags['prefect.flow_run_name']} ({tags['prefect.flow_run_id']}))"


def footprint(project: Running) -> dict[str, Any]:
    """Return what a rebuild must leave alone: the tree, git's worktrees, the registry and its files."""
    folders = ("data", "models", "reports", "src", "mlartifacts")
    files = [
        file
        for name in folders
        for file in (project.path / name).rglob("*")
        if "__pycache__" not in file.parts
    ]
    return {
        "tree": project.git("status", "--porcelain"),
        "worktrees": project.git("worktree", "list"),
        "files": {str(file): file.stat().st_mtime_ns for file in files},
        "registry": [
            project.rows("mlflow.db", f"SELECT * FROM {table} ORDER BY 1, 2")  # noqa: S608
            for table in ("runs", "model_versions", "registered_model_tags", "registered_model_aliases")
        ],
    }
