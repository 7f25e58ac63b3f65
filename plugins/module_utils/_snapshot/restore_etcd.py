# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Snapshots of virtual clusters with three servers: restore all etcd members from one snapshot."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import ETCD, K3S_CONTAINER
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE, POD, STATEFUL_SET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
    explanation,
    wait_for,
    wait_gone,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.archive import Content
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.restore import Restore
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import digest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    etcd_restore_pods,
    maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd import (
    KEPT_FILE,
    RESTORING,
    interrupted,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd_client import EtcdApi, etcd_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd_restore_pods import (
    BEFORE,
    FILE,
    RECEIVE,
    RECEIVED,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import file_pieces
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.sqlite import (
    ADDRESSED,
    OF_NETWORKS,
    PROVEN,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import (
    DATA,
    DATA_DIRECTORY,
    MEMBERS,
    NAMES,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import wait_for_etcd
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE

_PUT = 'set -eu; cd "$1"; rm -f "$3"; head -c "$2" >"$3"; sha256sum <"$3"'
# Of several interrupted restores, the data from before the first is kept.
_TURN = """\
set -eu
cd "$1"
if [ "$5" = again ] && [ -d "$3" ]; then rm -rf "$2"; else rm -rf "$3"; fi
if [ -d "$2" ]; then mv "$2" "$3"; fi
sync
: >"$4"
"""
_FETCH = 'set -eu; exec cat "$1"'
_SIZE = 'set -eu; [ -s "$1" ] || { echo "there is no pre-upgrade copy" >&2; exit 1; }; wc -c <"$1"'


class EtcdRestore(Restore):
    """One restore into three servers.

    If it is interrupted, members of different snapshots do not form a cluster, so the servers do not start before a
    restore has finished.
    """

    servers = MEMBERS
    datastore = PLACE
    before = f"{DATA_DIRECTORY}/{BEFORE} on their volumes until the next restore"

    def _replace(self, content: Content) -> dict[str, set[str]]:
        with self._recreated_members() as members:
            members.fill(content.database, content.database_sha256)
        with etcd_of(self.host, self.namespace) as api:
            if self.moves:
                _rehome(api)
            return {kind: _names(api, f"/registry/{prefix}/") for kind, prefix in PROVEN.items()}

    def _restore_kept(self) -> None:
        """Restore all members from the volume of the first."""
        database = self.directory / FILE
        with self._recreated_members() as members:
            first = members.containers[0]
            size = int(pod_exec.run(first, "looking for the pre-upgrade copy", _SIZE, KEPT_FILE))
            with database.open("wb") as file:
                pod_exec.run(first, "fetching the pre-upgrade copy", _FETCH, KEPT_FILE, sink=file.write)
            if database.stat().st_size != size:
                raise TenantryError("fetching the pre-upgrade copy: checksum mismatch after the transfer. Run again")
            members.fill(database, digest(database))

    @contextmanager
    def _recreated_members(self) -> Iterator[_Members]:
        """Stop the members, let maintenance pods receive the data, start them again."""
        found = self.host.get(STATEFUL_SET, ETCD, self.namespace)
        self.host.merge(STATEFUL_SET, ETCD, self.namespace, maintenance_pod.scaled(0))
        for name in NAMES:
            wait_gone(self.host, POD, name, self.namespace, self.deadline, what=f"{name} of {self.namespace}")
        namespace = require(self.host.get(NAMESPACE, self.namespace), f"namespace {self.namespace}")
        again = interrupted(namespace) is not None
        members = _Members(self.host, require(found, f"StatefulSet {ETCD}"), self._k3s_image(), again, self.deadline)
        self._note(self.origin.snapshot)
        members.end()  # of a run that was killed
        try:
            members.receive()
            yield members
        finally:
            members.end()
        self.report_progress("data in place")
        self.host.merge(STATEFUL_SET, ETCD, self.namespace, maintenance_pod.scaled(MEMBERS))
        wait_for_etcd(self.host, self.namespace, self.deadline)
        self.report_progress("etcd ready")

    def _discard_previous(self) -> None:
        """Mark the restore as finished. The previous data stays until the next one: etcd's image has no shell."""
        self._note(None)

    def _note(self, snapshot: str | None) -> None:
        change = {"metadata": {"annotations": {RESTORING: snapshot}}}
        self.host.merge(NAMESPACE, self.namespace, None, change)

    def _k3s_image(self) -> str:
        containers = self.stateful_set["spec"]["template"]["spec"]["containers"]
        return next(one["image"] for one in containers if one["name"] == K3S_CONTAINER)


class _Members:
    """The maintenance pods in place of the members."""

    def __init__(self, host: Cluster, etcd: dict, k3s_image: str, again: bool, deadline: Deadline) -> None:
        self.host = host
        self.namespace = etcd["metadata"]["namespace"]
        self.deadline = deadline
        self._again = "again" if again else "first"
        self._pods = etcd_restore_pods.pods(etcd, k3s_image, f"{self.namespace}-{secrets.token_hex(4)}")
        self._names = [pod["metadata"]["name"] for pod in self._pods]
        self.containers = [pod_exec.Container(host, self.namespace, name, RECEIVE) for name in self._names]

    def receive(self) -> None:
        self.host.map(self.host.create, self._pods)
        self.host.map(lambda name: self._wait(name, _is_receiving), self._names)

    def fill(self, database: Path, sha256: str) -> None:
        """Send the data to all pods before the first member is changed."""
        self.host.map(lambda container: self._send(container, database, sha256), self.containers)
        where = (DATA_DIRECTORY, DATA, BEFORE, RECEIVED, self._again)
        self.host.map(
            lambda container: pod_exec.run(container, "moving the previous data aside", _TURN, *where), self.containers
        )
        self.host.map(lambda name: self._wait(name, _has_succeeded), self._names)

    def end(self) -> None:
        for name in self._names:
            self.host.delete(POD, name, self.namespace, grace=1)
        for name in self._names:
            wait_gone(self.host, POD, name, self.namespace, self.deadline, what=f"pod {name} in {self.namespace}")

    def _send(self, container: pod_exec.Container, database: Path, sha256: str) -> None:
        where = (DATA_DIRECTORY, str(database.stat().st_size), FILE)
        pieces, seconds = file_pieces(database), self.deadline.remaining()
        output = pod_exec.run(container, "sending the database", _PUT, *where, stdin=pieces, seconds=seconds)
        if output.split()[0] != sha256:
            raise TenantryError("sending the database: checksum mismatch after the transfer. Run again")

    def _wait(self, name: str, condition: Callable[[dict], bool]) -> None:
        pod = wait_for(
            self.host,
            POD,
            name,
            self.namespace,
            lambda pod: _has_failed(pod) or condition(pod),
            self.deadline,
            what=f"pod {name} in {self.namespace}",
            explain=lambda: explanation(self.host, self.host.get(POD, name, self.namespace), name, self.namespace),
        )
        if _has_failed(pod):
            raise TenantryError(
                f"pod {name} in {self.namespace} could not recreate its member: "
                f"{explanation(self.host, pod, name, self.namespace)}. Run the restore again"
            )


def _is_receiving(pod: dict) -> bool:
    statuses = (pod.get("status") or {}).get("initContainerStatuses") or []
    return any(one["name"] == RECEIVE and "running" in one["state"] for one in statuses)


def _has_succeeded(pod: dict) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"


def _has_failed(pod: dict) -> bool:
    return (pod.get("status") or {}).get("phase") == "Failed"


def _names(api: EtcdApi, prefix: str) -> set[str]:
    return {key.removeprefix(prefix) for key in api.keys(prefix)}


def _rehome(api: EtcdApi) -> None:
    """Change the networks, like sqlite.rehome()."""
    for prefix in OF_NETWORKS:
        api.delete(prefix)
    for key in ADDRESSED:
        api.delete(key, single=True)
