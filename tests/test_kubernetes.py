"""What goes to a cluster is what Kubernetes' own schemas allow. Fast: the schemas come with a package."""

from pathlib import Path

import kubernetes_validate
import pytest
import yaml
from conftest import Bake
from kubernetes_validate import ValidationError


def manifests(folder: Path) -> list[dict[str, object]]:
    """Return all that the kustomization names."""
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    return [one for name in names for one in yaml.safe_load_all((folder / name).read_text())]


def test_every_manifest_is_what_kubernetes_allows(bake: Bake) -> None:
    found = manifests(bake(deployment="kubernetes").path / "kubernetes")
    kinds = {str(manifest["kind"]) for manifest in found}
    assert kinds == {"Deployment", "Namespace", "NetworkPolicy", "Role", "RoleBinding", "ServiceAccount"}
    for manifest in found:
        kubernetes_validate.validate(manifest, kubernetes_validate.latest_version(), strict=True)
    with pytest.raises(ValidationError):
        kubernetes_validate.validate(
            found[0] | {"speck": {}}, kubernetes_validate.latest_version(), strict=True
        )
