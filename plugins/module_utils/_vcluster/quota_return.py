# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A paused virtual cluster returns the resources of its pods to the tenant's quota.

Its ResourceQuota is lowered first, then its record says so: whatever ends a run between the two, what the host allows
counts. A resume goes the other way, after the promise. A snapshot of a paused one runs within what stays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import ETCD
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import in_order, quota_keys
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION, VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.diff import differences
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE, RESOURCE_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import MEMBERS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import (
    DISK_HELD,
    MEBI,
    Resources,
)

# Of the maintenance pod beside a stopped server: no more than the smallest server has.
MAINTENANCE = Resources(Decimal("0.25"), 256 * MEBI, DISK_HELD)
# Not of pods: they stay as they are.
_STAYS = frozenset({"storage", "node_ports", "load_balancers"})
ATTEMPTS = 5


def kept(record: VClusterRecord, sets: Mapping[str, dict]) -> dict[str, str]:
    """Return what a paused virtual cluster keeps of the resources of its pods: what a snapshot needs. Pure.

    `sets` are its StatefulSets by name.
    """
    if record.datastore == PLACE and ETCD in sets:
        (member,) = sets[ETCD]["spec"]["template"]["spec"]["containers"]
        one, pods = member["resources"]["limits"], MEMBERS
    elif record.datastore is None:
        one, pods = MAINTENANCE.as_text(), 1
    else:  # an external database, of which there are no snapshots
        one, pods = {}, 0
    found = {"ephemeral_storage": one.get("ephemeral-storage", "0"), **one, "pods": "1"}
    return {
        name: quantities.add("0", *[found.get(name, "0")] * pods) for name in sorted(record.resources.keys() - _STAYS)
    }


def lowering(found: VirtualCluster, amounts: Mapping[str, str]) -> list[Action]:
    """Return the changes with which a paused virtual cluster has only these amounts of its resources."""
    return _changes(found, {**found.record.resources, **amounts}, replace(found.record, paused=dict(amounts)))


def raising(found: VirtualCluster) -> list[Action]:
    """Return the changes with which a virtual cluster has all of its resources again."""
    return _changes(found, found.record.resources, replace(found.record, paused=None))[::-1]


def execute(host: Cluster, action: Action) -> None:
    """Execute one of these changes. A concurrent change of the record is kept."""
    if action.kind == NAMESPACE:
        _write_record(host, action.name, _paused_in(action.desired))
    else:
        host.merge(action.kind, action.name, action.namespace, action.desired)


def _changes(found: VirtualCluster, amounts: Mapping[str, str], record: VClusterRecord) -> list[Action]:
    namespace = found.namespace
    live = found.host.get(RESOURCE_QUOTA, VCLUSTER_QUOTA, namespace) or {}
    hard = live.get("spec", {}).get("hard") or {}
    names = [name for name in in_order(amounts) if name in amounts]
    wanted = {key: amounts[name] for name in names for key in quota_keys(name) if key in hard}
    changes = {key: amount for key, amount in wanted.items() if not quantities.same(amount, hard[key])}
    actions = []
    if changes:
        before = {"spec": {"hard": {key: hard[key] for key in changes}}}
        actions.append(_update(RESOURCE_QUOTA, namespace, VCLUSTER_QUOTA, before, {"spec": {"hard": changes}}))
    if record.paused != found.record.paused:
        texts = found.annotations.get(SPEC_ANNOTATION, ""), record.as_text()
        annotated = [{"metadata": {"annotations": {SPEC_ANNOTATION: text}}} for text in texts]
        actions.append(_update(NAMESPACE, None, namespace, *annotated))
    return actions


def _update(kind: str, namespace: str | None, name: str, before: dict, after: dict) -> Action:
    version, _slash, singular = kind.rpartition("/")
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}

    def whole(part: dict) -> dict:
        of = {"apiVersion": version, "kind": singular}
        return {**of, **part, "metadata": {**part.get("metadata", {}), **meta}}

    paths = differences(whole(after), whole(before))
    return Action(kind, namespace, name, "update", paths, before=whole(before), after=whole(after))


def _paused_in(namespace: dict) -> dict | None:
    return VClusterRecord.of(namespace).paused


def _write_record(host: Cluster, name: str, paused: dict | None) -> None:
    """Change only that in the record, whatever another run writes there at the same time."""
    for attempt in range(ATTEMPTS):
        live = require(host.get(NAMESPACE, name), f"namespace {name}")
        record = VClusterRecord.of(live)
        text = replace(record, paused=paused).as_text()
        meta = {"resourceVersion": live["metadata"]["resourceVersion"], "annotations": {SPEC_ANNOTATION: text}}
        try:
            host.merge(NAMESPACE, name, None, {"metadata": meta})
        except ApiError as error:
            if error.status != 409 or attempt == ATTEMPTS - 1:
                raise
        else:
            return
