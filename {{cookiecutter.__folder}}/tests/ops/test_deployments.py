"""prefect.yaml is valid, and faults that Prefect itself ignores are refused."""

import re
import shutil
from importlib.metadata import metadata
from pathlib import Path

import pytest
from conftest import COPY, PROJECT
from ruamel.yaml import YAML

from penguin_model.errors import ProjectError
from penguin_model.ops.deploy import deployments, register, secret_blocks

FLOWS = ["monitoring", "retraining", "scoring", "training"]
SLUG = metadata("penguin_model")["Name"]
# The edit, and the sentence that refuses it.
FAULTS = {
    ("description: Predict", "desciption: Predict"): r"scoring: `desciption` is not a key.*did you mean `description`",
    ("timezone: Etc/UTC", "timezone: Mars/North"): r"timezone` is 'Mars/North'",
    ('"0 5 * * *"', '"0 25 * * *"'): r"scoring: `schedules\.0\.cron` is '0 25",
    ('cron: "0 5 * * *"', "interval: soon"): r"schedules\.0\.interval` is 'soon'",
    ("collision_strategy: ENQUEUE", "collision_strategy: WAIT"): r"collision_strategy` is 'WAIT'",
    (".training.training", ".training.trainin"): r"entrypoint` is .* there is no such flow",
    ("parameters: {}", "parameters: {depth: 3}"): r"scoring: `parameters\.depth` is not a key here; allowed are source",
    ("parameters: {record: true}", "parameters: {record: often}"): r"training: `parameters\.record` is wrong",
    ("tags: *tags", "tags: 7"): r"tags` is 7",
    ("description: Predict", "description: $NO\ndescription: {"): r"line \d+: not valid YAML",
    ("- name: {slug}", "- title: {slug}"): r"deployment of training: `name` is missing",
    ("- name: {slug}\n    description: Predict", "- description: Predict"): r"deployment of scoring: `name` is missing",
    ('- cron: "0 5', '- corn: "0 5'): r"corn` is not a key.*did you mean `cron`",
    ("deployments:", "deployment:"): r"deployment` is not a key",
}


@pytest.fixture
def plan(monkeypatch) -> Path:
    """Give the copy the project's own prefect.yaml, with a value for each variable that it uses."""
    text = (PROJECT / deployments.NAME).read_text(encoding="utf-8")
    for name in re.findall(r"\$(\w+)", text):
        monkeypatch.setenv(name, "some-value")
    return Path(shutil.copy(PROJECT / deployments.NAME, COPY))


def read():
    """Read prefect.yaml and check it for a work pool of the project."""
    plan = deployments.read()
    deployments.check(plan, {"variables": {"properties": {name: {} for name in plan[0].work_pool.job_variables}}})
    return plan


def test_own_plan_is_valid(plan):
    assert sorted(map(deployments.full_name, read())) == [f"{flow}/{SLUG}" for flow in FLOWS]


def test_database_file_is_not_for_runs_elsewhere(plan, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    text, variable = plan.read_text(encoding="utf-8"), "$MLFLOW_TRACKING_URI".join(("{" * 2, "}" * 2))
    plan.write_text(re.sub("description: Predict.*", f'description: "{variable}"', text), encoding="utf-8")
    with pytest.raises(ProjectError, match="cannot use MLflow's database file; set MLFLOW_TRACKING_URI to a server"):
        read()


def test_two_deployments_of_one_name_are_refused(plan):
    text = plan.read_text(encoding="utf-8")
    plan.write_text(text + text[text.rindex("\n  - name:") :], encoding="utf-8")
    with pytest.raises(ProjectError, match=f"more than one deployment is monitoring/{SLUG}; give each a `name`"):
        read()


def test_schedules_are_of_three_kinds(plan):
    own = plan.read_text(encoding="utf-8")
    for schedule in ("interval: 3600", "rrule: FREQ=DAILY"):
        plan.write_text(own.replace('cron: "0 5 * * *"', schedule), encoding="utf-8")
        assert len(read()) == len(FLOWS)


@pytest.mark.parametrize("fault", FAULTS, ids=[new for _, new in FAULTS])
def test_what_prefect_ignores_is_refused(plan, fault):
    own = plan.read_text(encoding="utf-8")
    old, new = (text.replace("{slug}", SLUG) for text in fault)
    assert old in own
    plan.write_text(own.replace(old, new), encoding="utf-8")
    with pytest.raises(ProjectError, match=FAULTS[fault]):
        read()


def test_variable_that_is_not_set_is_refused(plan):
    variable = "{" * 2 + " $NO_SUCH " + "}" * 2
    text = plan.read_text(encoding="utf-8").replace(
        "description: Predict", f"version: '{variable}'\n    description: Predict"
    )
    plan.write_text(text, encoding="utf-8")
    with pytest.raises(ProjectError, match=r"`NO_SUCH` is not set"):
        deployments.read()


def test_job_variables_are_those_of_the_work_pool(plan):
    template = register.base_job_template("process")
    [scoring] = [each for each in deployments.read() if each.entrypoint.endswith("scoring")]
    scoring.work_pool.job_variables = {"stream_ouput": True}
    with pytest.raises(ProjectError, match=r"stream_ouput` is not a key.*did you mean `stream_output`"):
        deployments.check([scoring], template)
    scoring.work_pool.job_variables = {"stream_output": 7}
    with pytest.raises(ProjectError, match=r"stream_output` is wrong"):
        deployments.check([scoring], template)


def test_flows_are_registered_and_killed_runs_watched(plan, prefect_api, monkeypatch):
    """The server of the tests has no scheduler, which is an error."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    yaml = YAML(typ="safe")
    content = yaml.load(plan)
    content |= {"pull": [], "definitions": {}}
    for deployment in content["deployments"]:
        deployment["work_pool"] = {"name": "own"}
        deployment.pop("build", None), deployment.pop("push", None)
    yaml.dump(content, plan)
    monkeypatch.setattr(register, "PLANNING_TIME", 0)
    sentences = register.deploy("process")
    assert next(sentences) == "Work pool own (process): created."
    with pytest.raises(ProjectError, match="the server planned no run of it"):
        list(sentences)
    with get_client(sync_client=True) as client:
        assert sorted(register.registered(client)) == [f"{flow}/{SLUG}" for flow in FLOWS]
        [watch] = client.read_automations_by_name("own: mark killed runs")
        # Runs of other projects, which may send heartbeats less often, are theirs to mark.
        assert watch.trigger.match_related == register.OWN_RUNS
        assert client.read_work_pool("own").type == "process"
    # A server would go on running what is no longer in the file.
    content["deployments"] = [
        each | {"schedules": []} for each in content["deployments"] if not each["entrypoint"].endswith("monitoring")
    ]
    yaml.dump(content, plan)
    said = "".join(register.deploy("process"))
    assert said.startswith("Work pool own (process): unchanged.")
    assert f"monitoring/{SLUG}: not in prefect.yaml, but on the server, which starts its runs; `make" in said
    with get_client(sync_client=True) as client:
        scheduled = {name for name, deployment in register.registered(client).items() if deployment.schedules}
    assert scheduled == {f"monitoring/{SLUG}"}
    others = {"own": "other_model.flows.training.training"}
    others["staging"] = "penguin_model.flows.training.training"
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="staging", type="process"))
        elsewhere, training = map(client.create_flow_from_name, ["elsewhere", "training"])
        for pool, entrypoint in others.items():
            client.create_deployment(elsewhere, pool, work_pool_name=pool, entrypoint=entrypoint)
        # As projects called it whose deployments had the names of flows.
        client.create_deployment(training, "training", work_pool_name="own", entrypoint=others["staging"])
    said = "".join(register.deploy("process", prune=True))
    assert re.search(f"monitoring/{SLUG}: deleted.*training/training: deleted", said)
    assert "elsewhere/staging: not in prefect.yaml, but on the server in staging" in said
    assert "elsewhere/own" not in said
    with get_client(sync_client=True) as client:
        assert register.registered(client).keys() == {f"{flow}/{SLUG}" for flow in FLOWS[1:]} | {"elsewhere/staging"}
        assert client.read_deployment_by_name("elsewhere/own")
        # If another project has a deployment of this name, `prefect deploy` would replace it.
        mine = client.read_deployment_by_name(f"training/{SLUG}")
        client.delete_deployment(mine.id)
        client.create_deployment(mine.flow_id, SLUG, work_pool_name="staging", entrypoint=others["own"])
        with pytest.raises(ProjectError, match=f"a deployment training/{SLUG} of another project .{others['own']}."):
            list(register.deploy("process"))
        assert client.read_deployment_by_name(f"training/{SLUG}").entrypoint == others["own"]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    with pytest.raises(ProjectError, match="of type process, not docker"):
        next(register.deploy("docker"))


@pytest.mark.parametrize(
    ("entrypoint", "own"),
    [
        ("penguin_model.flows.training.training", True),
        ("src/penguin_model/flows/training.py:training", True),
        ("penguin_model_2.flows.training.training", False),
        ("team.penguin_model.flows.training", False),
        ("flows/penguin_model.py:training", False),
        ("/srv/penguin_model/flows.py:training", False),
        (None, False),
    ],
)
def test_deployments_of_this_project_are_told_by_their_package(entrypoint, own):
    assert deployments.is_own(entrypoint) == own


def test_runs_elsewhere_get_the_secrets_from_blocks(prefect_api, monkeypatch):
    import asyncio

    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessJobConfiguration

    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "of-the-team")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    template = register.base_job_template("process")
    template["variables"]["properties"]["env"]["default"] = {"KEPT": "1"}
    secret_blocks.add_to(template, "own_pool")
    assert "of-the-team" not in str(template)
    with get_client(sync_client=True) as client:
        client.create_work_pool(WorkPoolCreate(name="elsewhere", type="process", base_job_template=template))
        stored = client.read_work_pool("elsewhere").base_job_template
    job = asyncio.run(ProcessJobConfiguration.from_template_and_values(stored, {"env": {"OWN": "2"}}))
    expected = {"MLFLOW_TRACKING_PASSWORD": "of-the-team", "AWS_REGION": "eu-central-1", "KEPT": "1", "OWN": "2"}
    assert expected.items() <= job.env.items()


def test_flow_that_runs_elsewhere_needs_a_server_of_mlflow(plan, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///mlflow.db")
    with pytest.raises(ProjectError, match="MLFLOW_TRACKING_URI is a file on this machine"):
        next(register.deploy("docker"))


@pytest.mark.parametrize(
    ("above", "overlaid"),
    [({"a": 1}, {"a": 1, "b": [1, 2]}), ({"b": [{"c": 3}]}, {"b": [{"c": 3}, 2]}), (None, None)],
)
def test_manifests_are_laid_over_each_other(above, overlaid):
    assert register.overlaid({"b": [1, 2]}, above) == overlaid
