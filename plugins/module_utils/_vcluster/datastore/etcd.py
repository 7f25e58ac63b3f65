# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of the etcd of three servers: to a file, or to the volume of its first member."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import ETCD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import STATEFUL_SET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd_client import etcd_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import PRE_UPGRADE
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import (
    CERTIFICATE_DIRECTORY,
    CLIENT_PORT,
    DATA_DIRECTORY,
    MEMBERS,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import wait_for_etcd

KEPT_FILE = f"{DATA_DIRECTORY}/{PRE_UPGRADE}.db"
# On the namespace, while members may be of different snapshots.
RESTORING = "tenantry.dev/restoring"


def take(host: Cluster, namespace: str, target: Path, deadline: Deadline) -> int:
    """Write a snapshot to `target`. Return the revision from before, which it contains at least."""
    with _running(host, namespace, deadline), etcd_of(host, namespace) as api:
        revision = api.revision()
        api.snapshot(target)
    return revision


def keep_on_volume(host: Cluster, namespace: str, deadline: Deadline) -> None:
    """Make the pre-upgrade copy on the volume of the first member, beside its data."""
    files = {"cacert": "ca.crt", "cert": "client.crt", "key": "client.key"}
    seconds = max(1, int(deadline.remaining()))
    command = [
        "/usr/local/bin/etcdctl",
        f"--endpoints=https://localhost:{CLIENT_PORT}",
        *(f"--{option}={CERTIFICATE_DIRECTORY}/{file}" for option, file in files.items()),
        f"--command-timeout={seconds}s",
        "snapshot",
        "save",
        KEPT_FILE,
    ]
    with _running(host, namespace, deadline):
        member = pod_exec.Container(host, namespace, f"{ETCD}-0", ETCD)
        pod_exec.run_command(member, "making the pre-upgrade copy", command, seconds=seconds)


def interrupted(namespace: dict) -> str | None:
    """Return the snapshot whose restore was interrupted, from the virtual cluster's namespace, or None."""
    return (namespace["metadata"].get("annotations") or {}).get(RESTORING)


@contextmanager
def _running(host: Cluster, namespace: str, deadline: Deadline) -> Iterator[None]:
    """Start the etcd of a paused virtual cluster for as long as it is needed."""
    found = host.get(STATEFUL_SET, ETCD, namespace)
    if found is None:
        raise TenantryError(f"StatefulSet {ETCD} is missing. Run tenantry.kube.vcluster for it first")
    paused = found["spec"]["replicas"] == 0
    if paused:
        host.merge(STATEFUL_SET, ETCD, namespace, maintenance_pod.scaled(MEMBERS))
    try:
        wait_for_etcd(host, namespace, deadline)
        yield
    finally:
        if paused:
            host.merge(STATEFUL_SET, ETCD, namespace, maintenance_pod.scaled(0))
