# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Restore a snapshot into a virtual cluster: stop the server, replace data and keys, start it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, PART_LABEL, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import is_observed, is_rolled_out
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    POD,
    SECRET,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import (
    decoded,
    decoded_value,
    encoded,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
    explanation,
    wait_for,
    wait_gone,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.archive import Content
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import SQLITE, Origin
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.resumption import resume
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import digest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    ca_rotation,
    client_ca_renewal,
    connection,
    trusted_keys,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    maintenance_pod,
    sqlite,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.maintenance_pod import (
    run_maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import (
    BEFORE,
    install,
    restore_kept,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    CONFIG_HASH,
    DATA_DIRECTORY,
    JOIN_TOKEN,
    PLATFORM_CREDENTIAL,
    as_yaml,
    stamp,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import MEMBERS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import (
    CONFIG,
    MANIFESTS,
    authentication_api,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.syncer import CONFIG as SYNCER_CONFIG
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import wait_until_endpoint_accepts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import parse_version

SERVER_POD = f"{SERVER}-0"
PARTS = (SERVER, SYNCER)
_NODE_PASSWORD = re.compile(r"v1/Secret kube-system/[^/]+\.node-password\.k3s")
_REMOVE = 'rm -rf "$1/$2"'


@dataclass
class Restore:
    """One restore into an existing virtual cluster."""

    servers: ClassVar[int] = 1
    datastore: ClassVar[str] = SQLITE
    before: ClassVar[str] = f"{DATA_DIRECTORY}/{BEFORE} on its volume until a restore succeeds"

    target: VirtualCluster
    origin: Origin
    deadline: Deadline
    report_progress: Callable[[str], None]  # of progress
    directory: Path  # for data in transfer
    stateful_set: dict = field(init=False)
    other_ca: bool = field(init=False, default=False)  # k3s had another until now

    @property
    def host(self) -> Cluster:
        return self.target.host

    @property
    def namespace(self) -> str:
        return self.target.namespace

    @property
    def version(self) -> str:
        """The k3s release to run: the snapshot's if restored in place, else the target's."""
        return self.origin.version if self.in_place else (self.target.record.version or self.origin.version)

    @property
    def in_place(self) -> bool:
        """Whether the snapshot is of the target itself."""
        return self.namespace == naming.vcluster_namespace(self.origin.tenant, self.origin.name)

    @property
    def moves(self) -> bool:
        """Whether the service network changes."""
        return self.target.record.service_cidr != self.origin.service_cidr

    def check(self) -> None:
        """Raise a TenantryError if the restore is not possible. Changes nothing."""
        record = self.target.record
        if record.persistence == "none":
            raise TenantryError(
                "persistence: is none, and restored data would be lost with the server's pod. "
                "Create a virtual cluster with persistence type pvc and restore into that"
            )
        if self.origin.datastore != self.datastore:
            raise TenantryError(
                f"datastore: the snapshot is of {self.origin.datastore} and this virtual cluster has {self.datastore}. "
                f"Restore it into one with servers: {MEMBERS if self.origin.datastore == PLACE else 1} and no datastore"
            )
        if not self.in_place:
            self._check_version(record.version or self.origin.version)
        found = self.host.get(STATEFUL_SET, SERVER, self.namespace)
        if found is None:
            raise TenantryError(f"StatefulSet {SERVER} is missing. Run tenantry.kube.vcluster for it first")
        self.stateful_set = found

    def _check_version(self, there: str) -> None:
        taken, runs = parse_version(self.origin.version)[0], parse_version(there)[0]
        if not 0 <= runs - taken <= 1:
            raise TenantryError(
                f"version: the snapshot is of {self.origin.version} and {there} runs here. "
                f"Create the virtual cluster with a release of v1.{taken} or v1.{taken + 1}"
            )

    def execute(self, content: Content) -> dict[str, int]:
        """Restore, and return the number of objects that the API serves afterwards, by kind."""
        self._stop()
        expected = self._replace(content)
        self._apply_credentials(content.credentials)
        self._start()
        return self._verify_served(expected)

    def revert(self) -> None:
        """Restore the pre-upgrade copy on the volume, which has the same token, and the CA of that time."""
        self._stop()
        self._restore_kept()
        if client_ca_renewal.find(self.host, self.namespace):
            trusted_keys.note(self.host, self.namespace, None)  # its CAs come with the data
        if self.version != self.target.record.version:
            self._change_version()
        self._start()
        self._pin_ca(connection.authority(self.host, self.namespace))
        self._verify_served({NAMESPACE: set()})

    def _stop(self) -> None:
        self.target = resume(self.target)
        self._scale(0)
        for pod in connection.pods_of(self.host, self.namespace, *PARTS):
            name = pod["metadata"]["name"]
            wait_gone(self.host, POD, name, self.namespace, self.deadline, what=f"{name} of {self.namespace}")
        self.report_progress("server stopped")

    def _scale(self, replicas: int) -> None:
        """Scale the server and the syncer, which must not act by its cache of the previous data."""
        for part in PARTS:
            if self.host.get(STATEFUL_SET, part, self.namespace):
                self.host.merge(STATEFUL_SET, part, self.namespace, maintenance_pod.scaled(replicas))

    def _replace(self, content: Content) -> dict[str, set[str]]:
        """Replace the data. Return the number of objects to expect, by kind."""
        database, sha256 = content.database, content.database_sha256
        expected = sqlite.names(database)
        if self.moves:
            sqlite.rehome(database)
            sha256 = digest(database)
        with run_maintenance_pod(self.host, self.stateful_set, self.deadline, self.version) as container:
            install(container, content.keys, database, sha256, self.deadline.remaining())
        self.report_progress("data in place")
        return expected

    def _restore_kept(self) -> None:
        """Restore the pre-upgrade copy on the volume."""
        with run_maintenance_pod(self.host, self.stateful_set, self.deadline, self.version) as container:
            restore_kept(container, self.deadline.remaining())
        self.report_progress("data in place")

    def _discard_previous(self) -> None:
        """Delete the previous data."""
        server = pod_exec.Container(self.host, self.namespace, SERVER_POD, naming.K3S_CONTAINER)
        pod_exec.run(server, "removing the data from before", _REMOVE, DATA_DIRECTORY, BEFORE)

    def _apply_credentials(self, credentials: dict[str, str]) -> None:
        """Apply the snapshot's token and CA and, in place, its release."""
        data = {key: encoded(credentials[key]) for key in ("server-token", "node-password")}
        self.host.merge(SECRET, JOIN_TOKEN, self.namespace, {"data": data})
        self._pin_ca(credentials["ca.crt"])
        if self.version != self.target.record.version:
            self._change_version()

    def _pin_ca(self, authority: str) -> None:
        """The data may be from before the CAs were replaced (_vcluster.ca_rotation)."""
        if ca_rotation.is_interrupted(self.target):
            ca_rotation.forget(self.host, self.namespace)
        known = decoded(self.host.get(SECRET, PLATFORM_CREDENTIAL, self.namespace)).get("ca.crt", "")
        if known.strip() == authority.strip():
            return
        self.other_ca = True
        data = {"data": {"ca.crt": encoded(authority)}}
        self.host.merge(SECRET, PLATFORM_CREDENTIAL, self.namespace, data)
        if client_ca_renewal.find(self.host, self.namespace):
            trusted_keys.note(self.host, self.namespace, None)

    def _change_version(self) -> None:
        """Apply the snapshot's release to configuration, images and record."""
        said = (
            (SERVER, CONFIG, "authentication.yaml", {"apiVersion": authentication_api(self.version)}),
            (SYNCER, SYNCER_CONFIG, "config.json", {"version": self.version}),
        )
        manifests = self.host.get(SECRET, MANIFESTS, self.namespace)
        configuration = {SERVER: [manifests] if manifests else [], SYNCER: [], AGENT: []}
        for part, secret, file, change in said:
            found = self.host.get(SECRET, secret, self.namespace)
            if found:
                content = json.loads(decoded_value(found["data"][file]))
                data = {file: encoded(as_yaml({**content, **change}))}
                configuration[part].append(self.host.merge(SECRET, secret, self.namespace, {"data": data}))
        join = require(self.host.get(SECRET, JOIN_TOKEN, self.namespace), f"Secret {JOIN_TOKEN}")
        token = decoded_value(join["data"]["agent-token"])
        for part, secrets in configuration.items():
            stateful_set = self.host.get(STATEFUL_SET, part, self.namespace)
            if stateful_set:
                notes = {CONFIG_HASH: stamp(token, secrets)} if secrets else {}
                change = maintenance_pod.of_version(stateful_set, self.version, notes)
                self.host.merge(STATEFUL_SET, part, self.namespace, change)
        if self.host.get(STATEFUL_SET, AGENT, self.namespace):
            self._end_newer_agents()
        record = replace(self.target.record, version=self.version)
        annotated = {"metadata": {"annotations": {SPEC_ANNOTATION: record.as_text()}}}
        self.host.merge(NAMESPACE, self.namespace, None, annotated)

    def _start(self) -> None:
        self._scale(self.servers)
        wait_for(
            self.host,
            STATEFUL_SET,
            SERVER,
            self.namespace,
            is_rolled_out,
            self.deadline,
            what=f"server of {self.namespace} with the data of snapshot {self.origin.snapshot} (the previous data "
            f"is kept in {self.before})",
            explain=lambda: explanation(
                self.host, self.host.get(POD, SERVER_POD, self.namespace), SERVER_POD, self.namespace
            ),
        )
        if self.servers > 1:
            wait_until_endpoint_accepts(connection.endpoint(self.target), self.deadline)
        self.report_progress("server ready")

    def _verify_served(self, expected: dict[str, set[str]]) -> dict[str, int]:
        """Verify that the API serves the snapshot's objects with its CA. Only then is the previous data deleted."""
        api = connection.inside(self.host, self.namespace).limited(max(self.host.timeout, self.deadline.remaining()))
        try:
            served = {kind: {_path(obj) for page in api.pages(kind) for obj in page} for kind in expected}
        finally:
            api.close()
        missing = [f"{kind} {name}" for kind in expected for name in sorted(expected[kind] - served[kind])]
        if not self.in_place:  # k3s deletes what it knows of a node together with the node, and its nodes stay behind
            missing = [one for one in missing if not _NODE_PASSWORD.fullmatch(one)]
        if missing:
            raise TenantryError(
                f"snapshot {self.origin.snapshot} is restored, but {len(missing)} of its objects are not served: "
                f"{missing[0]} first. Check whether something deletes them, or restore again"
            )
        self._renew_agents()
        self._discard_previous()
        return {kind.rpartition("/")[2]: len(names) for kind, names in expected.items()}

    def _end_newer_agents(self) -> None:
        """Delete all agents at once: one by one, the last would be newer than the server."""
        what = f"agents of {self.namespace}"
        wait_for(self.host, STATEFUL_SET, AGENT, self.namespace, is_observed, self.deadline, what=what)
        self._end_agents()

    def _renew_agents(self) -> None:
        """Replace agents, which joined by the previous CA."""
        if self.other_ca or not self.in_place:
            self._end_agents()

    def _end_agents(self) -> None:
        selector = naming.selecting({**_selector(self.stateful_set), PART_LABEL: AGENT})
        for pod in self.host.list(POD, self.namespace, selector):
            self.host.delete(POD, pod["metadata"]["name"], self.namespace, uid=pod["metadata"]["uid"])


def _path(obj: dict) -> str:
    return "/".join(part for part in (obj["metadata"].get("namespace"), obj["metadata"]["name"]) if part)


def _selector(stateful_set: dict) -> dict[str, str]:
    return stateful_set["spec"]["selector"]["matchLabels"]
