"""The hub itself from the oldest of the lab's builds to the newest by the role `platform`, while tenants' pods go on.

On it are a virtual cluster of the oldest release and one of the newest, so the host is both older and newer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .harness import MIRROR, ROOT, ansible_playbook, lab, lab_as_found, minors_from, ran
from .tenantry_lab.config import BUILDS
from .tenantry_lab.release import AIRGAP, CHECKSUMS, VCLUSTER, read_checksums
from .tenantry_lab.syncer import image_name
from .test_network import Space
from .test_site import changed
from .test_vcluster import version

MACHINE, TENANT = "aging", "ladder"
RELEASES = tuple(reversed(BUILDS))
GUESTS = {"oldest": RELEASES[0], "newest": RELEASES[-1]}

pytestmark = pytest.mark.nightly


@dataclass
class Site:
    folder: Path
    variables: dict[str, Any]

    def run(self, playbook: str, release: str, *, check: bool = True) -> str:
        """With the hub's release as given."""
        folder = ROOT / "build/lab/mirror/releases/download" / release
        sums = read_checksums((folder / CHECKSUMS).read_text())
        archives = [{"name": name, "checksum": f"sha256:{sums[name]}"} for name in (AIRGAP, VCLUSTER)]
        host = {
            "platform_version": release,
            "platform_checksum": f"sha256:{sums['k3s']}",
            "platform_airgap_images": archives,
        }
        inventory = self.folder / "inventory.json"
        hosts = {"fleet_hub": {"hosts": {MACHINE: {}}}, "all": {"vars": self.variables | host}}
        inventory.write_text(json.dumps(hosts))
        done = ansible_playbook(f"playbooks/{playbook}.yml", inventory=str(inventory), check=check)
        return done.stdout

    @property
    def hub(self) -> Path:
        return self.folder / "hub.yaml"

    def guest(self, name: str) -> Space:
        return Space(self.folder / "vclusters" / f"{TENANT}--{name}.yaml", "default")

    def processes(self) -> dict[str, list]:
        """Of the tenant's pods on the hub: their containers, which a restart would replace."""
        found = json.loads(ran(self.hub, "get", "pods", "-A", "-l", "app.kubernetes.io/managed-by", "-o", "json"))
        return {
            pod["metadata"]["name"]: [one["containerID"] for one in pod["status"]["containerStatuses"]]
            for pod in found["items"]
            if "-default-" in pod["metadata"]["name"]
        }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("aging")
    with lab_as_found():
        for release in RELEASES[:-1]:
            lab("build", "--k3s", release)
        machine = json.loads(lab("node", "add", MACHINE))
        try:
            yield Site(folder, variables(folder, machine))
        finally:
            lab("node", "rm", MACHINE)


def variables(folder: Path, machine: dict[str, str]) -> dict[str, Any]:
    """Of the inventory, for all releases."""
    registries = {"mirrors": {"docker.io": {"endpoint": [MIRROR]}}}
    size = {"cpu": 2, "memory": "2Gi", "pods": 12}
    return {
        "ansible_host": machine["address"],
        "ansible_user": machine["user"],
        "ansible_ssh_common_args": f"-F {machine['ssh_config']}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "platform_release_url": f"{MIRROR}/releases/download",
        "platform_registries": registries,
        "tenantry_output_dir": str(folder),
        "tenantry_kubeconfig": str(folder / "hub.yaml"),
        "tenantry_syncer_image": image_name(),
        "tenantry_vcluster_defaults": {"expose": {"type": "NodePort"}, "registries": registries, "resources": size},
        "tenantry_tenants": [
            {"name": TENANT, "vclusters": [{"name": name, "version": release} for name, release in GUESTS.items()]}
        ],
    }


def test_a_hub_of_the_oldest_release_carries_virtual_clusters_of_any(site: Site) -> None:
    site.run("site", RELEASES[0])
    assert version(site.hub) == RELEASES[0]
    for name, release in GUESTS.items():
        guest = site.guest(name)
        assert version(guest.kubeconfig) == release
        guest.serve("first")
        guest("wait", "pod/first", "--for=condition=Ready", "--timeout=120s")


@pytest.mark.parametrize("release", RELEASES[1:])
def test_the_next_minor_ends_no_pod_of_a_tenant(site: Site, release: str) -> None:
    before = site.processes()
    assert len(before) >= len(GUESTS)
    site.run("platform", release)
    assert version(site.hub) == release
    assert site.processes() == before
    for name, of in GUESTS.items():
        guest = site.guest(name)
        guest("wait", "pod/first", "--for=condition=Ready", "--timeout=120s")
        assert version(guest.kubeconfig) == of
        pod = "on-1-" + release.split(".")[1]
        guest.serve(pod)
        guest("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=120s")
        assert guest("exec", pod, "--", "/web", "get", "http://first:8080/")
    assert set(changed(site.run("site", release)).values()) == {0}


def test_a_minor_is_not_skipped_nor_gone_back(site: Site) -> None:
    now = RELEASES[-1]
    for release in (RELEASES[0], minors_from(now, 2)):
        said = ansible_playbook(
            "playbooks/platform.yml",
            *("-e", f"platform_version={release}"),
            inventory=str(site.folder / "inventory.json"),
            check=False,
        )
        assert said.returncode
        assert "cannot be downgraded" in said.stdout or "skips a minor version" in said.stdout
    assert version(site.hub) == now
