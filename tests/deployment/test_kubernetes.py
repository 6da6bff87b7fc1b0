"""Manifests and jobs are valid against Kubernetes' own schemas, which come with a package."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import ValidationError
from running import Running
from template import CHOICES, Bake

# The jobs that prefect-kubernetes creates from the deployments and the work pool, without a cluster.
RENDER = """if True:
    import json, os
    from pathlib import Path
    from uuid import uuid4
    os.environ.update(IMAGE="registry/own:1", MLFLOW_TRACKING_URI="http://mlflow:5000")
    from {package}.ops.orchestration.session import api
    with api() as session, session():
        import asyncio
        from prefect.client.schemas.objects import FlowRun
        from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration as Configuration
        from {package}.ops.deploy import deployments, register
        plan = deployments.read()
        template = register.base_job_template("kubernetes", Path("kubernetes/job.yaml"))
        deployments.check(plan, template)
        jobs = []
        for deployment in plan:
            values = deployment.work_pool.job_variables
            job = asyncio.run(Configuration.from_template_and_values(template, values))
            job.prepare_for_flow_run(FlowRun(id=uuid4(), name="some-run", flow_id=uuid4()))
            jobs.append(job.job_manifest)
    print(json.dumps(jobs))
"""


def validate(manifest: dict[str, Any]) -> None:
    """Validate a manifest against the schema of its kind; an unknown key is an error."""
    kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)


def manifests(folder: Path) -> list[dict[str, Any]]:
    """Return all manifests of the kustomization."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [manifest for name in names for manifest in yaml.safe_load_all((folder / name).read_text())]


@pytest.mark.parametrize("serving", CHOICES["serving"])
def test_every_manifest_is_valid(bake: Bake, serving: str) -> None:
    found = manifests(bake(deployment="kubernetes", serving=serving).path / "kubernetes")
    kinds = {manifest["kind"] for manifest in found}
    expected = {"Deployment", "Namespace", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"}
    assert kinds == expected | ({"Service"} if serving == "fastapi" else set())
    for manifest in found:
        validate(manifest)
    with pytest.raises(ValidationError):
        validate(found[0] | {"speck": {}})


@pytest.mark.parametrize("serving", CHOICES["serving"])
@pytest.mark.skipif(
    shutil.which("kubectl") is None, reason="kubectl, which runs kustomize, is not installed here"
)
def test_kustomize_finds_every_file_and_sets_namespace_and_image(bake: Bake, serving: str) -> None:
    folder = bake(deployment="kubernetes", serving=serving).path / "kubernetes"
    done = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = list(yaml.safe_load_all(done.stdout))
    assert len(found) == len(manifests(folder))
    for manifest in found:
        assert manifest["metadata"].get("namespace", "penguin-model") == "penguin-model"
        validate(manifest)
    assert done.stdout.count("image: penguin-model:latest") == done.stdout.count("image:")


def test_workloads_have_few_privileges(bake: Bake) -> None:
    found = manifests(bake(deployment="kubernetes").path / "kubernetes")
    pods = {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in found
        if each["kind"] == "Deployment"
    }
    accounts = {each["metadata"]["name"]: each for each in found if each["kind"] == "ServiceAccount"}
    assert set(pods) == {"worker", "serving"}
    for name, pod in pods.items():
        assert pod["serviceAccountName"] == name
        group = {"fsGroup": 10001} if name == "serving" else {}  # writes to a volume
        assert pod["securityContext"] == pods["worker"]["securityContext"] | group
        [container] = pod["containers"]
        assert container["securityContext"] == pods["worker"]["containers"][0]["securityContext"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert set(container["resources"]) == {"requests", "limits"}
    assert accounts["serving"]["automountServiceAccountToken"] is False


def test_requests_reach_the_service_and_it_has_time_to_answer_them(bake: Bake) -> None:
    project = bake(deployment="kubernetes")
    found = {
        (each["kind"], each["metadata"]["name"]): each for each in manifests(project.path / "kubernetes")
    }
    service, deployment = found["Service", "serving"]["spec"], found["Deployment", "serving"]["spec"]
    pod = deployment["template"]["spec"]
    [container] = pod["containers"]
    env = {each["name"]: each["value"] for each in container["env"]}
    labels = deployment["template"]["metadata"]["labels"]
    # From the address that flows ask, through Service and policies, to the port of the process.
    address = re.search(r"SERVICE_URL: http://(\w+):(\d+)", project.texts()["prefect.yaml"])
    assert address
    assert address.groups() == ("serving", str(service["ports"][0]["port"]))
    assert (
        service["selector"]
        == labels
        == found["NetworkPolicy", "serving"]["spec"]["podSelector"]["matchLabels"]
    )
    assert service["ports"][0]["targetPort"] == container["ports"][0]["name"]
    port = container["ports"][0]["containerPort"]
    assert (env["SERVE_HOST"], env["SERVE_PORT"]) == ("0.0.0.0", str(port))  # noqa: S104 - in a container
    [into] = found["NetworkPolicy", "serving"]["spec"]["ingress"]
    [out] = found["NetworkPolicy", "to-serving"]["spec"]["egress"]
    assert into["ports"] == out["ports"] == [{"protocol": "TCP", "port": port}]
    assert out["to"] == [{"podSelector": {"matchLabels": labels}}]
    # Its variables do not collide with those that Kubernetes derives from the names of Services.
    assert pod["enableServiceLinks"] is False
    # Probes need no key; a service without a champion lives, but gets no requests.
    routes = {
        kind: container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "liveness", "readiness")
    }
    assert routes == {"startup": "/health/live", "liveness": "/health/live", "readiness": "/health/ready"}
    code = project.path / "src/penguin_model/serving/access.py"
    assert all(f'"{route}"' in code.read_text(encoding="utf-8") for route in routes.values())
    # An update takes no pod away before another is ready, and none is killed while it answers.
    assert deployment["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pause = container["lifecycle"]["preStop"]["sleep"]["seconds"]
    assert pod["terminationGracePeriodSeconds"] >= pause + 10


def test_prediction_log_has_a_volume_and_the_docs_one_that_stays(bake: Bake) -> None:
    project = bake(deployment="kubernetes")
    [pod] = [
        each["spec"]["template"]["spec"]
        for each in manifests(project.path / "kubernetes")
        if (each["kind"], each["metadata"]["name"]) == ("Deployment", "serving")
    ]
    [container] = pod["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    # The folder of PREDICTION_LOG=prediction_log in the Secret, as PROJECT_ROOT is /app.
    assert mounts == {"scratch": "/tmp", "prediction-log": "/app/prediction_log"}  # noqa: S108
    assert {volume["name"] for volume in pod["volumes"]} == mounts.keys()
    [example] = re.findall(r"```yaml\n(.*?)```", project.texts()["docs/deploying.md"], re.DOTALL)
    claim = yaml.safe_load(example)
    validate(claim)
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert f"claimName: {claim['metadata']['name']}}}" in project.texts()["docs/deploying.md"]


@pytest.mark.slow
class TestKubernetesJobs:
    """A project for Kubernetes, as its worker sees it."""

    def test_jobs_of_the_deployments_are_valid(self, bake: Bake, tmp_path: Path) -> None:
        project = Running.copy_of(bake(deployment="kubernetes"), tmp_path, "3.13")
        project.prepare()
        jobs = project.ask(RENDER)
        assert len(jobs) == 4
        for job in jobs:
            pod = job["spec"]["template"]["spec"]
            for misplaced in ("completions", "parallelism"):
                # Prefect's own template puts these keys of the job here; Kubernetes ignores them.
                pod.pop(misplaced, None)
            validate(job)
            [container] = pod["containers"]
            assert container["image"] == "registry/own:1"
            assert set(container["resources"]) == {"limits", "requests"}
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert pod["securityContext"]["runAsNonRoot"]
            assert container["envFrom"] == [{"secretRef": {"name": "penguin-model"}}]
            assert job["metadata"]["namespace"] == "penguin-model"
