# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Change the k3s release: make a copy of the data, upgrade servers first, allow a rollback."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, K3S_CONTAINER, SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Inventory, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE, STATEFUL_SET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import rollout
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    etcd,
    server_volume,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.maintenance_pod import (
    run_maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE

# On the namespace: the release whose data is kept on the volume, and the StatefulSet's revision that ran with it.
BEFORE_ANNOTATION = "tenantry.dev/before-upgrade"
REVISION_ANNOTATION = "tenantry.dev/before-upgrade-revision"


@dataclass(frozen=True)
class Upgrade:
    """The upgrade of a virtual cluster with a volume."""

    host: Cluster
    namespace: str
    before: str

    def row(self) -> dict:
        """Return the pre-upgrade copy as a row of a result."""
        return {"action": "create", "kind": "Snapshot", "name": f"before-upgrade ({self.before})"}

    def keep(self, deadline: Deadline) -> None:
        """Make the pre-upgrade copy before anything is changed."""
        stateful_set = self.host.get(STATEFUL_SET, SERVER, self.namespace)
        if stateful_set is None:
            return
        try:
            namespace = require(self.host.get(NAMESPACE, self.namespace), f"namespace {self.namespace}")
            if VirtualCluster(self.host, namespace).record.datastore == PLACE:
                etcd.keep_on_volume(self.host, self.namespace, deadline)
            elif stateful_set["spec"]["replicas"] == 0:
                with run_maintenance_pod(self.host, stateful_set, deadline, small=True) as container:
                    server_volume.keep_on_volume(container, deadline.remaining())
            else:
                server = pod_exec.Container(self.host, self.namespace, f"{SERVER}-0", K3S_CONTAINER)
                server_volume.keep_on_volume(server, deadline.remaining())
        except TenantryError as error:
            raise TenantryError(f"version: not changed, because the pre-upgrade copy failed: {error}") from None
        revision = (stateful_set.get("status") or {}).get("currentRevision", "")
        notes = {BEFORE_ANNOTATION: self.before, REVISION_ANNOTATION: revision}
        self.host.merge(NAMESPACE, self.namespace, None, {"metadata": {"annotations": notes}})


def upgrade_of(found: VirtualCluster, version: str, server: dict | None) -> Upgrade | None:
    """Return the upgrade. None if the release stays, or the previous upgrade failed.

    Then the existing copy is valid, and the current data may not be.
    """
    before = found.record.version or version
    if before == version or _has_failed(found, server):
        return None
    return Upgrade(found.host, found.namespace, before)


def _has_failed(found: VirtualCluster, server: dict | None) -> bool:
    """Return whether the last ready pods were those from before an upgrade."""
    status = (server or {}).get("status") or {}
    kept = found.annotations.get(REVISION_ANNOTATION)
    return bool(kept) and kept == status.get("currentRevision") != status.get("updateRevision")


def split(plan: Plan) -> tuple[Plan, Plan]:
    """Split a plan: changes of existing agents wait until the servers have changed."""
    later = [one for one in plan.actions if (one.action, one.kind, one.name) == ("update", STATEFUL_SET, AGENT)]
    first = [one for one in plan.actions if one not in later]
    return Plan(plan.cluster, first, plan.objects), Plan(plan.cluster, later, Inventory())


def wait_for_server(host: Cluster, namespace: str, deadline: Deadline) -> None:
    """Wait for the servers. If an upgrade fails, the error says how to roll back."""
    try:
        rollout.wait_for_server(host, namespace, deadline)
    except TenantryError as error:
        raise TenantryError(f"{error}{_way_back(host, namespace)}") from None


def _way_back(host: Cluster, namespace: str) -> str:
    status = (host.get(STATEFUL_SET, SERVER, namespace) or {}).get("status") or {}
    if status.get("currentRevision") == status.get("updateRevision"):
        return ""  # the current revision was ready before
    found = host.get(NAMESPACE, namespace) or {"metadata": {}}
    before = (found["metadata"].get("annotations") or {}).get(BEFORE_ANNOTATION)
    if not before:
        return ""
    return (
        f". To return to {before} and the data of that time, run tenantry.kube.vcluster_snapshot with state rolled_back"
    )
