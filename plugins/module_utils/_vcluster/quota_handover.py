# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Reserve quota for the platform's own objects in mode shared: a node port, a load balancer, a larger volume.

A quota does not distinguish owners. Between the raise of the quota and the platform's object, a tenant who keeps
creating Services or claims would get the share. So the syncer has no rights meanwhile.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import QuotaExceeded
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    PVC,
    RESOURCE_QUOTA,
    ROLE_BINDING,
    SERVICE,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.plan import PresentPlan
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import LOAD_BALANCER, NODE_PORT

EXPOSED = (NODE_PORT, LOAD_BALANCER)
LONGEST = 20  # seconds
# Node ports and load balancers, in a quota.
SERVICES = "services."


def claim(context: Context, present: PresentPlan) -> None:
    """Apply the part of the plan that needs more quota, together with the quota. The rest stays in the plan."""
    host, namespace, planned = present.host, present.namespace, present.changes
    growing = [action for action in planned.actions if grows(action)]
    if not growing or not present.spec.shared or not planned.object(STATEFUL_SET, SERVER, namespace):
        return
    quotas = [action for action in planned.actions if action.kind == RESOURCE_QUOTA and action.action != "delete"]
    binding = host.get(ROLE_BINDING, syncer.NAME, namespace)
    try:
        if binding:
            host.delete(ROLE_BINDING, syncer.NAME, namespace, uid=binding["metadata"]["uid"])
        _take(context, namespace, Plan(host, [*quotas, *growing], planned.objects))
    finally:
        for one in syncer.rights(present.rendering):
            if one["kind"] == "RoleBinding":
                host.apply(one)


def grows(action: Action) -> bool:
    """Return whether the action takes more of what tenants can use too."""
    if action.action == "delete":
        return False
    if action.kind == SERVICE:
        before = action.before["spec"].get("type") if action.before else None
        return action.desired["spec"].get("type") in EXPOSED and before != action.desired["spec"]["type"]
    return action.kind == PVC


def _take(context: Context, namespace: str, plan: Plan) -> None:
    """Apply the plan. Take back a port that a tenant's Service used before the syncer lost its rights."""
    end = Deadline(LONGEST)
    while True:
        try:
            plan.execute()
        except QuotaExceeded as error:
            if not any(one.startswith(SERVICES) for one in error.resources) or end.expired:
                raise
            lost = _free(plan.cluster, namespace, end)
            if lost is None:
                raise
            context.warn(
                f"{namespace}: Service {lost} of the tenant used the node port or load balancer that the quota has "
                "for the API. Its type is ClusterIP now. To expose it again, raise resources.node_ports or "
                "resources.load_balancers"
            )
        else:
            return


def _free(host: Cluster, namespace: str, deadline: Deadline) -> str | None:
    """Change the newest exposed Service of the tenant to ClusterIP, and return it. None if there is none."""
    selector = f"{naming.LABEL_MANAGED_BY}={naming.MANAGED_BY_SYNCER}"
    held = [one for one in host.list(SERVICE, namespace, selector) if one["spec"].get("type") in EXPOSED]
    if not held:
        return None
    latest = max(held, key=lambda one: (one["metadata"]["creationTimestamp"], one["metadata"]["name"]))["metadata"]
    before = _counted(host.get(RESOURCE_QUOTA, VCLUSTER_QUOTA, namespace) or {})
    change = {"metadata": {"uid": latest["uid"]}, "spec": {"type": "ClusterIP"}}
    host.merge(SERVICE, latest["name"], namespace, change)

    def gave_back(quota: dict) -> bool:
        counted = _counted(quota)
        return any(counted.get(resource, 0) < number for resource, number in before.items())

    what = f"{namespace}: ResourceQuota {VCLUSTER_QUOTA} after Service {latest['name']} released its port"
    wait_for(host, RESOURCE_QUOTA, VCLUSTER_QUOTA, namespace, gave_back, deadline, what=what)
    return latest["name"]


def _counted(quota: dict) -> dict[str, int]:
    """Return the Services that the quota has counted, by resource. The count follows changes by some moments."""
    used = quota.get("status", {}).get("used") or {}
    return {resource: int(number) for resource, number in used.items() if resource.startswith(SERVICES)}
