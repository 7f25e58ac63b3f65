# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The volume of a server or etcd member, which can grow if its storage class allows it, but not shrink."""

from __future__ import annotations

from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import PVC, STORAGE_CLASS
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, one_condition, wait_for
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import memory_text


def check_volume(host: Cluster, spec: VClusterSpec, claim: dict | None) -> None:
    """Raise a TenantryError if the existing volume cannot have the desired size."""
    if claim is None or spec.volume is None:
        return
    size = claim["spec"]["resources"]["requests"]["storage"]
    there = quantities.parse(size, "persistence.size")
    if spec.volume < there:
        raise TenantryError(
            f"persistence.size: {memory_text(spec.volume)} is less than the current {size}. A volume can grow but not "
            f"shrink. Keep {size}"
        )
    if spec.volume == there:
        return
    name = claim["spec"].get("storageClassName")
    if not (_storage_class(host, name) or {}).get("allowVolumeExpansion"):
        raise TenantryError(
            f"persistence.size: cannot grow from {size} to {memory_text(spec.volume)}, because storage class "
            f"{name} of host {host.name} does not allow it. Keep {size}"
        )
    if not _is_bound(claim):
        raise TenantryError(
            f"persistence.size: cannot grow from {size} to {memory_text(spec.volume)} before the volume exists. Run "
            f"the module with {size} until it is ready, then again"
        )


def wait_until_grown(host: Cluster, claim: dict | None, wanted: Decimal | None, deadline: Deadline) -> None:
    """Wait until the storage has resized the volume and its file system, which not all do while it is in use."""
    if claim is None or wanted is None or not _is_bound(claim) or _has(claim, wanted):
        return
    name, namespace = claim["metadata"]["name"], claim["metadata"]["namespace"]
    wait_for(
        host,
        PVC,
        name,
        namespace,
        lambda found: _has(found, wanted),
        deadline,
        what=f"volume {name} of virtual cluster {namespace} with {memory_text(wanted)}",
        explain=lambda: _why_not(host.get(PVC, name, namespace)),
    )


def _is_bound(claim: dict) -> bool:
    return (claim.get("status") or {}).get("phase") == "Bound"


def _has(claim: dict, wanted: Decimal) -> bool:
    capacity = ((claim.get("status") or {}).get("capacity") or {}).get("storage")
    return capacity is not None and quantities.parse(capacity, "capacity") >= wanted


def _why_not(claim: dict | None) -> str:
    """Return the claim's conditions. One of them asks for a new pod, which `state: restarted` gives."""
    conditions = ((claim or {}).get("status") or {}).get("conditions") or []
    words = [one_condition(condition) for condition in conditions if condition.get("status") == "True"]
    if any(condition["type"] == "FileSystemResizePending" for condition in conditions):
        words.append("if this persists, run the module with state: restarted")
    return "; ".join(words) or "its storage has not started to resize it"


def _storage_class(host: Cluster, name: str | None) -> dict | None:
    return host.get(STORAGE_CLASS, name) if name else None
