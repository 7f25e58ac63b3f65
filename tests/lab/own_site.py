"""A site of its own on a further machine of the lab: a hub that the roles install, and virtual clusters on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .harness import MIRROR, ROOT, ansible_playbook, lab, lab_as_found
from .tenantry_lab.release import AIRGAP, CHECKSUMS, VCLUSTER, read_checksums
from .tenantry_lab.syncer import image_name
from .test_network import Space

SIZE = {"cpu": 2, "memory": "2Gi", "pods": 12}


@dataclass
class OwnSite:
    machine: str
    tenant: str
    folder: Path
    variables: dict[str, Any]

    def run(self, playbook: str, release: str, *arguments: str, check: bool = True) -> str:
        """What a playbook says, with this release of the hub."""
        published = ROOT / "build/lab/mirror/releases/download" / release
        sums = read_checksums((published / CHECKSUMS).read_text()) if published.exists() else {}
        archives = [{"name": name, "checksum": f"sha256:{sums.get(name)}"} for name in (AIRGAP, VCLUSTER)]
        host = {
            "platform_version": release,
            "platform_checksum": f"sha256:{sums.get('k3s', '0' * 64)}",
            "platform_airgap_images": archives,
        }
        inventory = self.folder / "inventory.json"
        hosts = {"fleet_hub": {"hosts": {self.machine: {}}}, "all": {"vars": self.variables | host}}
        inventory.write_text(json.dumps(hosts))
        done = ansible_playbook(f"playbooks/{playbook}.yml", *arguments, inventory=str(inventory), check=check)
        return done.stdout + done.stderr

    @property
    def hub(self) -> Path:
        return self.folder / "hub.yaml"

    def guest(self, name: str) -> Space:
        """The namespace `default` of a virtual cluster."""
        return Space(self.folder / "vclusters" / f"{self.tenant}--{name}.yaml", "default")


@contextmanager
def own_site(
    folder: Path, machine: str, tenant: str, vclusters: list[Mapping[str, Any]], *options: str
) -> Iterator[OwnSite]:
    """`options` are those of `lab node add`."""
    with lab_as_found():
        added = json.loads(lab("node", "add", machine, *options))
        try:
            yield OwnSite(machine, tenant, folder, _variables(folder, added, tenant, vclusters))
        finally:
            lab("node", "rm", machine)


def _variables(folder: Path, machine: Mapping[str, str], tenant: str, vclusters: list[Mapping[str, Any]]) -> dict:
    registries = {"mirrors": {"docker.io": {"endpoint": [MIRROR]}}}
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
        "tenantry_vcluster_defaults": {"expose": {"type": "NodePort"}, "registries": registries, "resources": SIZE},
        "tenantry_tenants": [{"name": tenant, "vclusters": vclusters}],
    }
