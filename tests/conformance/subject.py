"""The virtual cluster under test: made in the lab as an administrator makes one, by the inventory and `site.yml`."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path

from ..lab import site_variables
from ..lab.harness import BUILD, ansible_playbook, lab_as_found
from ..lab.harness import lab as lab_command
from ..lab.tenantry_lab import release, ssh
from ..lab.tenantry_lab.config import FIXED_HOSTS, Lab
from ..lab.tenantry_lab.process import step

DIRECTORY = BUILD / "conformance"
TENANT, NAME = "conformance", "e2e"
MODES = ("shared", "dedicated")
AGENTS = 2  # some tests need two nodes
# On hosts with cgroup v1, no container may have a higher limit than the agent it runs in; some tests ask for 1.25.
AGENT = {"cpu": 2, "memory": "3Gi"}
KUBECONFIG = DIRECTORY / "vclusters" / f"{TENANT}--{NAME}.yaml"
# The node's processors are what limits: a container without resources of its own asks for a twentieth of one.
RESOURCES = {"cpu": 14, "memory": "14Gi", "storage": "20Gi", "pods": 100}


@contextlib.contextmanager
def virtual_cluster(lab: Lab, mode: str, *, keep: bool) -> Iterator[Path]:
    """The administrator's kubeconfig of a new virtual cluster; `keep` leaves it and the lab up."""
    inventory = DIRECTORY / "inventory.json"
    inventory.parent.mkdir(parents=True, exist_ok=True)
    inventory.write_text(json.dumps(_inventory(lab, mode)))
    with contextlib.nullcontext() if keep else lab_as_found():
        with step("machine and virtual cluster"):
            lab_command("up", "--nodes", "hub")
            ansible_playbook("playbooks/site.yml", inventory=str(inventory))
        try:
            yield KUBECONFIG
        finally:
            if not keep:
                with step("virtual cluster removed"):
                    answers = ("-e", f"tenantry_tenant={TENANT}", "-e", f"tenantry_confirm={TENANT}")
                    ansible_playbook("playbooks/offboard.yml", *answers, inventory=str(inventory))


def _inventory(lab: Lab, mode: str) -> dict:
    hub = site_variables.of_machine(str(lab.subnet[FIXED_HOSTS["hub"]]), ssh.USER, ssh.config(lab))
    virtual_cluster = {
        "name": NAME,
        "mode": mode,
        "version": lab.version,
        "expose": {"type": "NodePort"},
        "resources": RESOURCES,
        **(_with_agents(lab) if mode == "dedicated" else {}),
    }
    tenants = [{"name": TENANT, "quota": {**RESOURCES, "vclusters": 1}, "vclusters": [virtual_cluster]}]
    variables = {
        **site_variables.of_site(DIRECTORY, lab.mirror_url, tenants),
        **site_variables.of_release(release.directory(lab), lab.version),
    }
    return {"all": {"children": {"fleet_hub": {"hosts": {"hub": hub}}, "fleet_members": {}}, "vars": variables}}


def _with_agents(lab: Lab) -> dict:
    return {"agents": AGENTS, "agent": AGENT, "registries": site_variables.registries(lab.mirror_url)}
