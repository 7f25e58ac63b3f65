"""A site of its own on a further machine of the lab: a hub that the roles install, and virtual clusters on it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import site_variables
from .harness import MIRROR, ROOT, ansible_playbook, lab, lab_as_found
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
        host = site_variables.of_release(ROOT / "build/lab/mirror/releases/download" / release, release)
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
    defaults = {"expose": {"type": "NodePort"}, "registries": site_variables.registries(MIRROR), "resources": SIZE}
    return {
        **site_variables.of_machine(machine["address"], machine["user"], machine["ssh_config"]),
        **site_variables.of_site(folder, MIRROR, [{"name": tenant, "vclusters": vclusters}]),
        "tenantry_vcluster_defaults": defaults,
    }
