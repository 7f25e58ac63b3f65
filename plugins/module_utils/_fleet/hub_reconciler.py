# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reconciler of a hub: its options, its objects, and the wait until it serves requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import DEPLOYMENT, NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for
from ansible_collections.tenantry.kube.plugins.module_utils._platform import reconciler
from ansible_collections.tenantry.kube.plugins.module_utils._platform.reconciler import ReconcilerSpec

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # reported once, by _module.main()

GROUP = "fleet_hub"
PLAYBOOKS = ("self_service", "housekeeping", "report")
SCHEDULE = ({"playbook": "self_service", "every": "5m"}, {"playbook": "housekeeping", "every": "10m"})
SHORTEST = "30s"
OPTIONS: dict[str, dict] = {
    "image": {"type": "str", "required": True},
    "inventory": {"type": "str", "required": True, "no_log": True},
    "schedule": {
        "type": "list",
        "elements": "dict",
        "default": list(SCHEDULE),
        "options": {
            "playbook": {"type": "str", "required": True, "choices": list(PLAYBOOKS)},
            "every": {"type": "str", "required": True},
        },
    },
    "image_pull_secrets": {"type": "list", "elements": "str", "default": [], "no_log": False},  # names
    "dedicated": {"type": "bool", "default": False},
    "metrics_namespace": {"type": "str"},
    "wait": {"type": "bool", "default": True},
}


def spec_of(given: dict[str, Any] | None) -> ReconcilerSpec | None:
    """Return the validated options, or None if there is to be no reconciler."""
    if given is None:
        return None
    if not given["image"].strip():
        raise TenantryError("reconciler.image: is empty. Set the image of an execution environment with tenantry.kube")
    schedule: dict[str, int] = {}
    for entry in given["schedule"]:
        playbook = entry["playbook"]
        if playbook in schedule:
            raise TenantryError(f"reconciler.schedule: {playbook} is given twice. Give each playbook once")
        schedule[playbook] = quantities.seconds(entry["every"], f"reconciler.schedule.every of {playbook}", SHORTEST)
    if not schedule:
        raise TenantryError(f"reconciler.schedule: is empty. Name one of {', '.join(PLAYBOOKS)} at least")
    _check_inventory(given["inventory"])
    space = given["metrics_namespace"] or ""
    if space and not naming.DNS_NAME.fullmatch(space):
        raise TenantryError(
            f"reconciler.metrics_namespace: {shown(space)} is not the name of a namespace. Set that of Prometheus"
        )
    return ReconcilerSpec(
        image=given["image"],
        schedule=schedule,
        inventory=given["inventory"],
        pull_secrets=tuple(given["image_pull_secrets"]),
        dedicated=given["dedicated"],
        metrics_namespace=space,
    )


def _check_inventory(text: str) -> None:
    """Raise a TenantryError that shows nothing of the content."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError:
        raise TenantryError("reconciler.inventory: is not YAML. Give the content of an inventory file") from None
    group = found.get(GROUP) if isinstance(found, dict) else None
    if not isinstance(group, dict) or not group.get("hosts"):
        raise TenantryError(
            f"reconciler.inventory: has no group {GROUP} with a host. The playbooks run for the host of that group; "
            "add it, with ansible_connection: local"
        )


def objects(hub: Cluster, spec: ReconcilerSpec) -> list[dict]:
    """Return its objects, with its rights in the existing namespaces of tenants and virtual clusters."""
    ours = naming.selecting({naming.LABEL_MANAGED_BY: naming.MANAGED_BY})
    spaces = [one for one in hub.list(NAMESPACE, selector=ours) if "deletionTimestamp" not in one["metadata"]]
    bindings = filter(None, map(reconciler.binding_in, spaces))
    return [*reconciler.objects(replace(spec, hub_server=hub.server)), *bindings]


def wait_until_ready(hub: Cluster, deadline: Deadline) -> None:
    """Return when its pod serves requests. Raise a TenantryError at the deadline."""
    where = reconciler.NAME, naming.PLATFORM_NAMESPACE
    wait_for(hub, DEPLOYMENT, *where, _is_available, deadline, what="the reconciler")


def _is_available(deployment: dict) -> bool:
    status = deployment.get("status") or {}
    counts = (status.get("replicas"), status.get("updatedReplicas"), status.get("availableReplicas"))
    return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == (1, 1, 1)
