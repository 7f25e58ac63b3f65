# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Delete a virtual cluster: its namespace with everything in it, and the volumes bound there."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    PERSISTENT_VOLUME,
    POD,
    PVC,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
    wait_gone,
    wait_until_none,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import end_pods
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CLAIMS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import VOLUME_CLAIM
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.syncer import DNS_LABELS

SHORTEST_GRACE = 1  # seconds. With 0, the API server would not wait for the kubelet
# Seconds until Kubernetes looks at a deleted namespace for the first time, and again after each change of it.
FIRST_LOOK = 5
EMPTIED = "tenantry.dev/emptied"
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
    begun = time.monotonic()
    _start_slow_deletions(host, namespace)
    if deadline is None:
        return
    steps = (
        partial(wait_gone, host, NAMESPACE, namespace, None, deadline, what=f"namespace {namespace}"),
        partial(_hasten, host, namespace, begun, deadline),
        *(partial(wait_gone, host, PERSISTENT_VOLUME, one, None, deadline, what=f"volume {one}") for one in volumes),
    )
    host.map(lambda step: step(), steps)


def _start_slow_deletions(host: Cluster, namespace: str) -> None:
    """Begin slow deletions now, because Kubernetes empties a namespace only after five seconds.

    If a pod or a claim is left then, Kubernetes looks at it again many seconds later. Failures are ignored.
    """

    def begin(slow: tuple[str, str]) -> None:
        with suppress(ApiError):
            host.delete(*slow, namespace)

    # Pods first: with its StatefulSet, a server would get all of its grace period, and a kubelet keeps to the first.
    for end in (_end_servers, end_pods):
        with suppress(ApiError):
            end(host, namespace)
    host.map(begin, SLOW)


def _end_servers(host: Cluster, namespace: str) -> None:
    """Delete pods that have nothing to finish: servers, whose data goes too, and DNS. Agents run the tenant's pods."""

    def end(pod: dict) -> None:
        host.delete(POD, pod["metadata"]["name"], namespace, uid=pod["metadata"]["uid"], grace=SHORTEST_GRACE)

    dns = host.list(POD, namespace, naming.selecting(DNS_LABELS))
    host.map(end, [*connection.pods_of(host, namespace, SERVER, SYNCER, ETCD), *dns])


def _hasten(host: Cluster, namespace: str, begun: float, deadline: Deadline) -> None:
    """Change the namespace once its pods and claims are gone, because Kubernetes looks at it five seconds later."""
    with suppress(ApiError):
        for kind in (POD, PVC):
            wait_until_none(host, kind, namespace, deadline)
        if not deadline.expired and time.monotonic() - begun > FIRST_LOOK:
            host.merge(NAMESPACE, namespace, None, {"metadata": {"annotations": {EMPTIED: "true"}}})


def _volumes_of(host: Cluster, namespace: str) -> list[str]:
    """Return the volumes that are deleted with the claims of a namespace, not retained ones."""
    return [
        volume["metadata"]["name"]
        for volume in host.list(PERSISTENT_VOLUME)
        if (volume["spec"].get("claimRef") or {}).get("namespace") == namespace
        and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
    ]
