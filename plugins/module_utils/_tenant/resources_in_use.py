# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What virtual clusters use of a quota, by the ResourceQuotas on their hosts.

Resources that were lowered below the use count as used until they are free.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import counted_in, in_order
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import RESOURCE_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._module import attempt
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import allocation

VCLUSTER_QUOTA = "vcluster"


def quotas(
    hub: Cluster,
    hosts: Iterable[Cluster],
    tenant: str | None = None,
    unreachable: dict[str, str] | None = None,
) -> dict[tuple[str, str], dict]:
    """Return the ResourceQuotas of virtual clusters by host and namespace, with one LIST for each host.

    If `unreachable` is given, a host that does not answer is added to it instead of raising.
    """
    named = {host.name: host for host in hosts}
    selector = naming.selector("vcluster", tenant=tenant)

    def listed_on(host: Cluster) -> list[dict]:
        if unreachable is None:
            return existing(host, [RESOURCE_QUOTA], selector).of(RESOURCE_QUOTA)
        problem, listed = attempt(lambda: existing(host, [RESOURCE_QUOTA], selector).of(RESOURCE_QUOTA))
        if problem:
            unreachable[host.name] = problem
        return listed or []

    lists = hub.map(listed_on, named.values())
    return {
        (host, quota["metadata"]["namespace"]): quota
        for host, listed in zip(named, lists, strict=True)
        for quota in listed
        if quota["metadata"]["name"] == VCLUSTER_QUOTA
    }


def quota_use(quota: dict) -> dict[str, dict[str, str]]:
    """Return what a ResourceQuota counts of each resource: `used` and `hard` (the limit), as quantities.

    Of those that do not always count, only what is limited to more than 0 is in it.
    """
    status = quota.get("status") or {}
    used = counted_in(status.get("used") or {})
    hard = counted_in(status.get("hard") or quota.get("spec", {}).get("hard") or {})
    names = [name for name in in_order(hard) if name in hard]
    return {
        name: {"used": used.get(name, "0"), "hard": hard[name]}
        for name in names
        if name in naming.RESOURCES or hard[name] != "0"
    }


def promised_to(found: VirtualCluster, quota: dict) -> dict[str, str]:
    """Return what a virtual cluster has of the quota. `quota` is its ResourceQuota, or {}.

    The limits of the ResourceQuota take the place of a record that this release cannot read. They are the same amounts.
    """
    if found.record_problem:
        return _larger({}, quota.get("spec", {}).get("hard"))
    return found.record.counted


def in_use(promised: Mapping[str, str], quota: dict) -> dict[str, str]:
    """Return what a virtual cluster takes of a quota: the larger of its resources and its use."""
    return _larger(promised, (quota.get("status") or {}).get("used"))


def taken(promised: Mapping[str, str], quota: dict) -> dict[str, str]:
    """Return the same while another run lowers its ResourceQuota: until then, the use may grow up to that."""
    status = quota.get("status") or {}
    before = _larger(_larger(promised, quota.get("spec", {}).get("hard")), status.get("hard"))
    return in_use(before, quota)


def _larger(promised: Mapping[str, str], hard: Mapping[str, str] | None) -> dict[str, str]:
    return allocation.larger(promised, counted_in(hard or {}))
