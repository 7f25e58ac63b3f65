# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module platform: install or remove the platform on the hub."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import hub_reconciler, network_policy_probe, registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import HostLabels
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import HostOptions
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    CONFIG_MAP,
    CUSTOM_RESOURCE_DEFINITION,
    DEPLOYMENT,
    LEASE,
    NAMESPACE,
    NETWORK_POLICY,
    PRIORITY_CLASS,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import wait_gone
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt
from ansible_collections.tenantry.kube.plugins.module_utils._platform import admission_policies, crds
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import (
    platform_namespace,
    platform_objects,
)

KINDS = (
    NAMESPACE,
    CLUSTER_ROLE,
    PRIORITY_CLASS,
    CONFIG_MAP,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
    CUSTOM_RESOURCE_DEFINITION,
    # Of the reconciler.
    SERVICE_ACCOUNT,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    SECRET,
    NETWORK_POLICY,
    DEPLOYMENT,
)
NO_HUB = {
    "member": "is a member of a fleet; unjoin it there first (tenantry.kube.fleet_member with state: absent)",
    "user": "is a virtual cluster, which cannot be a host. Choose another cluster",
}


def run(context: Context, items: list[dict], options: HostOptions) -> list[dict]:
    """Install or remove the platform, and return a row for each item. There is one."""
    return [
        _remove(context, options) if item["state"] == "absent" else _install(context, item, options) for item in items
    ]


def _install(context: Context, item: dict, options: HostOptions) -> dict:
    given = item["reconciler"]
    spec = hub_reconciler.spec_of(given)
    hub = context.hub
    version = registry.check_version(hub, "kubeconfig")
    namespace = registry.platform_namespace(hub)
    component, known = registry.component(namespace), network_policy_probe.cached_result(namespace)
    if component in NO_HUB:
        raise TenantryError(f"kubeconfig: the cluster at {hub.server} {NO_HUB[component]}")
    identity, labels = hub.identity(), HostLabels.desired(item).over(HostLabels.of(namespace))
    objects = [
        *platform_objects(identity, {**known, **labels.annotations()}),
        *admission_policies.host_policies("platform"),
        *crds.objects(),
        *(hub_reconciler.objects(hub, spec) if spec else ()),
    ]
    kinds = KINDS if spec else (*KINDS, LEASE)  # which the reconciler itself creates
    plan = Plan.make(hub, objects, owned=naming.selector("platform"), prune_kinds=kinds)

    def execute() -> None:
        plan.execute()
        found = network_policy_probe.check_enforcement(context, hub, options.probe_image, known)
        if found != known:
            hub.apply(platform_namespace("platform", {**found, **labels.annotations()}))
        if given and given["wait"]:
            hub_reconciler.wait_until_ready(hub, context.deadline(options.wait_timeout))

    facts = {"identity": identity, "server": hub.server, "version": version, **labels.as_row()}
    return {**_row(context, plan, execute), **facts}


def _remove(context: Context, options: HostOptions) -> dict:
    hub = context.hub
    _refuse_while_used(hub)
    plan = Plan.make(hub, [], owned=naming.selector("platform"), prune_kinds=KINDS)

    def execute() -> None:
        plan.execute()
        if plan.deletes(NAMESPACE, naming.PLATFORM_NAMESPACE):
            _wait_gone(context, options)

    return _row(context, plan, execute)


def _wait_gone(context: Context, options: HostOptions) -> None:
    deadline = context.deadline(options.wait_timeout)
    name = naming.PLATFORM_NAMESPACE
    wait_gone(context.hub, NAMESPACE, name, None, deadline, what="the platform's namespace")


def _refuse_while_used(hub: Cluster) -> None:
    """Raise a TenantryError if there are tenants or members, which nothing would manage any more."""
    tenants = [
        space["metadata"]["labels"][naming.LABEL_TENANT]
        for space in hub.list(NAMESPACE, selector=naming.selector("tenant"))
    ]
    members = [member.name for member in registry.members(hub)]
    left = [f"tenant {name}" for name in sorted(tenants)] + [f"member {name}" for name in sorted(members)]
    if left:
        raise TenantryError(
            f"state: the platform cannot be removed while there are {', '.join(left)}. "
            "Remove them first with tenantry.kube.tenant_quota and tenantry.kube.fleet_member"
        )


def _row(context: Context, plan: Plan, execute: Callable[[], None]) -> dict:
    """Execute the plan, unless in check mode. Return the row of it, with the error if there was one."""
    problem = None if context.check_mode else attempt(execute)[0]
    return {
        "name": naming.HUB,
        "changed": plan.changed,
        "actions": plan.rows(),
        "diff": plan.diff(),
        **({"error": problem} if problem else {}),
    }
