"""Manifests and jobs are valid against Kubernetes' own schemas, which come with a package."""

from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from kubernetes_validate import ValidationError
from running import Running
from template import Bake

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


def test_every_manifest_is_valid(bake: Bake) -> None:
    found = manifests(bake(deployment="kubernetes").path / "kubernetes")
    kinds = {manifest["kind"] for manifest in found}
    assert kinds == {"Deployment", "Namespace", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"}
    for manifest in found:
        validate(manifest)
    with pytest.raises(ValidationError):
        validate(found[0] | {"speck": {}})


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
