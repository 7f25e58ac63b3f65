# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Delete a virtual cluster: its namespace with everything in it, and the volumes bound there."""

from __future__ import annotations

from contextlib import suppress

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    PERSISTENT_VOLUME,
    PVC,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_gone
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import end_pods
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CLAIMS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import VOLUME_CLAIM

SLOW = (
    (STATEFUL_SET, SERVER),
    (STATEFUL_SET, SYNCER),
    (STATEFUL_SET, AGENT),
    (STATEFUL_SET, ETCD),
    *((PVC, claim) for claim in (VOLUME_CLAIM, *CLAIMS)),
)


def plan(host: Cluster, tenant: str, name: str) -> Plan:
    """Plan the deletion of the namespace, whatever its state."""
    owned = naming.selector("vcluster", tenant=tenant, vcluster=name)
    return Plan.make(host, [], owned=owned, prune_kinds=[NAMESPACE])


def execute(removal: Plan, host: Cluster, namespace: str, deadline: Deadline | None) -> None:
    """Delete the namespace and, with a deadline, wait until everything is gone."""
    volumes = _volumes_of(host, namespace)
    removal.execute()
    _start_slow_deletions(host, namespace)
    if deadline is None:
        return
    wait_gone(host, NAMESPACE, namespace, None, deadline, what=f"namespace {namespace}")
    for volume in volumes:
        wait_gone(host, PERSISTENT_VOLUME, volume, None, deadline, what=f"volume {volume}")


def _start_slow_deletions(host: Cluster, namespace: str) -> None:
    """Begin slow deletions now, because Kubernetes empties a namespace only after five seconds.

    If it is not empty then, Kubernetes looks at it again many seconds later. Failures are ignored.
    """

    def begin(slow: tuple[str, str]) -> None:
        with suppress(ApiError):
            host.delete(*slow, namespace)

    host.map(begin, SLOW)
    with suppress(ApiError):
        end_pods(host, namespace)


def _volumes_of(host: Cluster, namespace: str) -> list[str]:
    """Return the volumes that are deleted with the claims of a namespace, not retained ones."""
    return [
        volume["metadata"]["name"]
        for volume in host.list(PERSISTENT_VOLUME)
        if (volume["spec"].get("claimRef") or {}).get("namespace") == namespace
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    ]
