# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Replace the CAs of k3s and, where it has one, those of its etcd: servers restart one after the other.

New CAs are stored on the host before the first server gets them, so that a run that follows an interrupted one goes on
with the same. How far that one came is noted beside them. Each stage can be repeated.
"""

from __future__ import annotations

import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError, require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action, Inventory, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.exec import Container, run
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    SECRET,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded, encoded
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection, lifecycle, trusted_keys
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.client_ca_renewal import (
    RESTART_SECONDS,
    end_published,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import keys_archive
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import change_of, wait_until_ready
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import etcd_certificates, k3s_cas
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    CONFIG_HASH,
    DATA_DIRECTORY,
    JOIN_TOKEN,
    K3S,
    PLATFORM_CREDENTIAL,
    fingerprint,
    secret,
    stamp,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import CERTIFICATES
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import CONFIG, MANIFESTS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import wait_for_etcd, wait_for_server
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.datastore import FILES as CLIENT_FILES

ROTATED = "rotated"
# The Secret with the new CAs, while they are not everywhere; on it, how many stages are done.
ROTATION = "ca-rotation"
STAGES_DONE = "tenantry.dev/stages-done"
# On the namespace meanwhile, for readers that do not read the Secret.
ROTATING = "tenantry.dev/rotating"
# On the pods' templates, where only a rotation writes it, so that no later run takes it away again.
MARK = "tenantry.dev/rotated"
# In the Secret, names of other files than k3s's new ones start so: etcd's, those of the stage between, and from before.
OF_ETCD, BETWEEN, OLD = "etcd-", "between-", "old-"

_READ = 'cat "$1/server/tls/$2"'
# k3s keeps the CAs in its datastore, and takes others only by this command, with force if the old ones do not vouch for
# them. Every server has them after its next start.
_ROTATE = """\
set -eu
umask 077
directory=$1/rotate-ca
trap 'rm -rf "$directory"' EXIT
rm -rf "$directory"
mkdir -p "$directory/tls"
head -c "$2" | tar -xf - -C "$directory/tls"
"$3" certificate rotate-ca --force --data-dir "$1" --server "$4" --path "$directory"
"""


@dataclass(frozen=True)
class Stage:
    """What the servers restart with, and etcd before them. Empty: it stays as it is."""

    k3s: Mapping[str, str] = field(default_factory=dict, repr=False)
    etcd: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def mark(self) -> str:
        return k3s_cas.fingerprint({**self.k3s, **{f"{OF_ETCD}{name}": pem for name, pem in self.etcd.items()}})


def stages(files: Mapping[str, str], etcd_before: Mapping[str, str], *, several: bool) -> list[Stage]:
    """By the files of the Secret, and those of etcd as they are in its own."""
    new = {name: pem for name, pem in files.items() if not name.startswith((OF_ETCD, BETWEEN, OLD))}
    if not several:
        return [Stage(new)]
    between = {**new, **_named(files, BETWEEN)}
    if not (etcd := _named(files, OF_ETCD)):
        return [Stage(between), Stage(new)]
    trusting_both = {"ca.crt": k3s_cas.both(etcd["ca.crt"], files[f"{OLD}{OF_ETCD}ca.crt"])}
    # Its old authority can vouch for nothing any more: the key was kept nowhere.
    return [Stage(between, {**etcd_before, **trusting_both}), Stage(new, {**etcd, **trusting_both}), Stage(etcd=etcd)]


def _named(files: Mapping[str, str], prefix: str) -> dict[str, str]:
    return {name.removeprefix(prefix): pem for name, pem in files.items() if name.startswith(prefix)}


def is_interrupted(found: VirtualCluster) -> bool:
    return ROTATING in found.annotations


def forget(host: Cluster, namespace: str) -> None:
    """End a rotation, whatever is left of it: the servers have all the new CAs, or others again."""
    host.delete(SECRET, ROTATION, namespace)
    _note(host, namespace, None)


def _note(host: Cluster, namespace: str, value: str | None) -> None:
    host.merge(NAMESPACE, namespace, None, {"metadata": {"annotations": {ROTATING: value}}})


def plan_rotation(found: VirtualCluster | None, name: str, older_than: timedelta | None, now: datetime) -> RotationPlan:
    """If the CA is older than that, or in any case."""
    found, sets = lifecycle.running(found, ROTATED, name)
    host, namespace = found.host, found.namespace
    credential = host.get(SECRET, PLATFORM_CREDENTIAL, namespace)
    authority = decoded(credential).get("ca.crt")
    if credential is None or not authority:
        raise TenantryError(f"state: {name} was never ready and cannot be {ROTATED}. Run it with state: present first")
    kept = host.get(SECRET, ROTATION, namespace)
    if kept is None and older_than is not None and now - k3s_cas.made_at(authority) < older_than:
        return RotationPlan(host, namespace, ended=is_interrupted(found))
    certificates = host.get(SECRET, CERTIFICATES, namespace) if any(_is(ETCD, one) for one in sets) else None
    files = decoded(kept) or _new_files(namespace, certificates, now)
    return RotationPlan(
        host,
        namespace,
        actions=_actions(credential, certificates, sets, files),
        files=files,
        certificates=certificates,
        sets=[one["metadata"]["name"] for one in sets],
        several=next(one for one in sets if _is(SERVER, one))["spec"]["replicas"] > 1,
    )


def _is(part: str, stateful_set: dict) -> bool:
    return stateful_set["metadata"]["name"] == part


def _new_files(namespace: str, certificates: dict | None, now: datetime) -> dict[str, str]:
    etcd = etcd_certificates.make(namespace, ETCD) if certificates else {}
    return {**k3s_cas.make(now), **{f"{OF_ETCD}{name}": pem for name, pem in etcd.items()}}


def _actions(credential: dict, certificates: dict | None, sets: list[dict], files: dict[str, str]) -> list[Action]:
    mark = Stage(files).mark
    new = [(credential, {"ca.crt": files[f"{k3s_cas.SERVER}.crt"]})]
    if certificates:
        new.append((certificates, _named(files, OF_ETCD)))
    return [
        *(_change_of_secret(found, values) for found, values in new),
        *(change_of(one, {"template": {"metadata": {"annotations": {MARK: mark}}}}) for one in sets),
    ]


def _change_of_secret(found: dict, values: dict[str, str]) -> Action:
    meta = {key: found["metadata"][key] for key in ("name", "namespace", "labels") if key in found["metadata"]}
    before = secret(meta, {name: decoded(found).get(name, "") for name in values})
    fields = [f"data.{name}" for name in values]
    after = secret(meta, values)
    return Action(SECRET, meta["namespace"], meta["name"], "update", fields, before=before, after=after)


@dataclass(frozen=True)
class RotationPlan:
    """Without actions, nothing is due."""

    host: Cluster
    namespace: str
    actions: list[Action] = field(default_factory=list, repr=False)
    files: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the Secret
    certificates: dict | None = field(default=None, repr=False)  # the Secret of etcd
    sets: Sequence[str] = ()  # names of StatefulSets
    several: bool = False  # servers
    ended: bool = False  # one that was killed just before its last step, so only its note is left

    @property
    def shown(self) -> Plan:
        """The changes as results show them."""
        return Plan(self.host, self.actions, Inventory())

    @property
    def keys(self) -> list[str]:
        """What no output may contain."""
        return [pem for name, pem in self.files.items() if name.endswith(".key")] if self.actions else []

    def perform(self, deadline: Deadline | None) -> None:
        """The limit is for each stage. It always waits: one server may not go before the other is back."""
        if not self.actions:
            if self.ended:  # the Secret may be one that another run has created since
                _note(self.host, self.namespace, None)
            return
        limit = deadline or Deadline(RESTART_SECONDS)
        files, done = self._begin()
        for number, stage in enumerate(stages(files, decoded(self.certificates), several=self.several), 1):
            if number > done:
                self._restart_with(stage, limit.again())
                noted = {"metadata": {"annotations": {STAGES_DONE: str(number)}}}
                self.host.merge(SECRET, ROTATION, self.namespace, noted)
        self._finish(files)

    def _begin(self) -> tuple[dict[str, str], int]:
        """The files of the Secret as it is from now on, and the stages that another run has done."""
        host, namespace = self.host, self.namespace
        kept = host.get(SECRET, ROTATION, namespace)
        _note(host, namespace, "true")
        if kept is None:
            files = {**self.files, **self._files_of_before()}
            # Without the labels of what a virtual cluster consists of: a run with state present would prune it.
            meta = {"name": ROTATION, "namespace": namespace, "labels": {naming.LABEL_MANAGED_BY: naming.MANAGED_BY}}
            try:
                kept = host.create(secret(meta, files))
            except ApiError as error:
                if error.status != 409:
                    raise
                kept = require(host.get(SECRET, ROTATION, namespace), f"Secret {ROTATION}")
        files = decoded(kept)  # of two runs at once, those of the first
        done = int((kept["metadata"].get("annotations") or {}).get(STAGES_DONE, 0))
        old, new = (files[f"{prefix}{k3s_cas.SERVER}.crt"] for prefix in (OLD, ""))
        self._trust(k3s_cas.both(new, old))
        return files, done

    def _files_of_before(self) -> dict[str, str]:
        """And of the stage between. The old keys vouch for the new CAs and are not kept."""
        server, kinds = self._server(), ("crt", "key") if self.several else ("crt",)
        names = [f"{name}.{kind}" for name in k3s_cas.NAMES for kind in kinds]
        old = {name: run(server, "reading the CAs of k3s", _READ, DATA_DIRECTORY, name) for name in names}
        found = {f"{OLD}{name}": pem for name, pem in old.items() if name.endswith(".crt")}
        if self.several:
            found |= {f"{BETWEEN}{name}": pem for name, pem in k3s_cas.crossed(self.files, old).items()}
        if self.certificates:
            found[f"{OLD}{OF_ETCD}ca.crt"] = decoded(self.certificates)["ca.crt"]
        return found

    def _server(self) -> Container:
        return Container(
            self.host, self.namespace, connection.serving_pod(self.host, self.namespace), naming.K3S_CONTAINER
        )

    def _trust(self, authority: str) -> None:
        """From now on the platform trusts these CAs (PEM)."""
        data = {"data": {"ca.crt": encoded(authority)}}
        self.host.merge(SECRET, PLATFORM_CREDENTIAL, self.namespace, data)

    def _restart_with(self, stage: Stage, deadline: Deadline) -> None:
        """Restart etcd, then the servers, then the clients of the servers."""
        host, namespace = self.host, self.namespace
        config = self._restart_etcd(stage, deadline) if stage.etcd else {}
        if stage.k3s:
            self._hand_over(stage.k3s, deadline)
        self._mark(SERVER, {MARK: stage.mark, **config})
        wait_for_server(host, namespace, deadline)
        if stage.k3s:
            for part in (SYNCER, AGENT):
                self._mark(part, {MARK: stage.mark})
        wait_until_ready(host, namespace, deadline)

    def _restart_etcd(self, stage: Stage, deadline: Deadline) -> dict[str, str]:
        """The annotation of the servers' pods that tells of their part of the files."""
        host, namespace = self.host, self.namespace
        data = {name: encoded(pem) for name, pem in stage.etcd.items()}
        host.merge(SECRET, CERTIFICATES, namespace, {"data": data})
        join = decoded(require(host.get(SECRET, JOIN_TOKEN, namespace), f"Secret {JOIN_TOKEN}"))
        token = join["agent-token"]
        self._mark(ETCD, {MARK: stage.mark, CONFIG_HASH: fingerprint(token, dict(stage.etcd))})
        wait_for_etcd(host, namespace, deadline)
        names = {"ca": "ca.crt", "certificate": "client.crt", "key": "client.key"}
        files = {"data": {CLIENT_FILES[option]: data[name] for option, name in names.items()}}
        found = [host.merge(SECRET, CONFIG, namespace, files), host.get(SECRET, MANIFESTS, namespace)]
        return {CONFIG_HASH: stamp(token, [one for one in found if one])}

    def _hand_over(self, files: Mapping[str, str], deadline: Deadline) -> None:
        archive = _archive(files)
        size, url = str(len(archive)), f"https://127.0.0.1:{API_PORT}"
        arguments = (DATA_DIRECTORY, size, K3S, url)
        seconds = deadline.remaining()
        try:
            run(self._server(), "giving k3s its new CAs", _ROTATE, *arguments, stdin=[archive], seconds=seconds)
        except TenantryError as error:
            raise TenantryError(
                f"{error}. The rotation is not complete. Remove the cause, then run again with state: {ROTATED}"
            ) from None

    def _mark(self, part: str, annotations: dict[str, str]) -> None:
        if part in self.sets:
            template = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
            self.host.merge(STATEFUL_SET, part, self.namespace, template)

    def _finish(self, files: Mapping[str, str]) -> None:
        host, namespace = self.host, self.namespace
        self._trust(files[f"{k3s_cas.SERVER}.crt"])
        client, request_header = (f"{name}.crt" for name in (k3s_cas.CLIENT, k3s_cas.REQUEST_HEADER))
        trusted_keys.replaced(host, namespace, clients=files[client], request_headers=files[request_header])
        api = connection.inside(host, namespace).limited(host.timeout)
        try:
            end_published(api, files[f"{OLD}{client}"], "state")
        finally:
            api.close()
        forget(host, namespace)


def _archive(files: Mapping[str, str]) -> bytes:
    members = []
    for name, pem in files.items():
        member = tarfile.TarInfo(name)
        member.size, member.mode = len(pem.encode()), 0o600
        members.append((member, pem.encode()))
    return keys_archive(members)
