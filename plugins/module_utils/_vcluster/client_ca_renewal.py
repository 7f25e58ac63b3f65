# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Revoke all client certificates requested in a virtual cluster: replace their CA, and restart its servers.

Each removal of an administrator is first recorded on the CA's Secret, so that a later run can complete it. By then, the
user has no role there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action, Inventory, Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CONFIG_MAP,
    SECRET,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import (
    change_of,
    wait_until_ready,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    CLIENT_CA,
    secret,
)

# With the name of a former administrator, an annotation of the CA.
FORMER = "former.tenantry.dev/"
# Its value after the findings about that administrator were reported.
SEEN = "seen"
# Seconds for the restart of the servers.
RESTART_SECONDS = 600
# Where an API server publishes the CAs it trusts, for others that serve a part of its API. It adds new ones and takes
# none away; it makes the object again when it is deleted.
PUBLISHED = (CONFIG_MAP, "extension-apiserver-authentication", "kube-system")
# Seconds until it is deleted, and recreated.
PUBLISHED_SECONDS = 5


def find(host: Cluster, namespace: str) -> dict | None:
    """Return the Secret with the CA, or None if vcluster has not created it yet."""
    return host.get(SECRET, CLIENT_CA, namespace)


def certificate(found: dict | None) -> str | None:
    """Return the CA's certificate as PEM, or None."""
    return decoded(found).get("ca.crt")


def accepted(found: dict | None) -> bool:
    """Return whether the servers accept requested certificates (option client_certificates)."""
    return not client_ca.is_off(decoded(found))


def former(found: dict | None) -> set[str]:
    """Return the former administrators whose certificates were not revoked."""
    annotations = (found or {}).get("metadata", {}).get("annotations") or {}
    return {key.removeprefix(FORMER) for key in annotations if key.startswith(FORMER)}


def unseen(found: dict | None) -> set[str]:
    """Return those of them whose removal was interrupted before their findings were reported."""
    annotations = (found or {}).get("metadata", {}).get("annotations") or {}
    return {user for user in former(found) if annotations[f"{FORMER}{user}"] != SEEN}


def record(host: Cluster, namespace: str, users: Iterable[str]) -> None:
    """Record users whose certificates are not revoked yet."""
    _annotate(host, namespace, dict.fromkeys(users, ""))


def record_seen(host: Cluster, namespace: str, users: Iterable[str]) -> None:
    """Record that the findings of these users were reported."""
    _annotate(host, namespace, dict.fromkeys(users, SEEN))


def forget(host: Cluster, namespace: str, users: Iterable[str]) -> None:
    """Remove the records of these users."""
    _annotate(host, namespace, dict.fromkeys(users))


def _annotate(host: Cluster, namespace: str, users: dict[str, str | None]) -> None:
    annotations = {f"{FORMER}{user}": value for user, value in users.items()}
    host.merge(SECRET, CLIENT_CA, namespace, {"metadata": {"annotations": annotations}})


@dataclass(frozen=True)
class Renewal:
    """Replace the CA. The record stays until all is done, so that an interrupted renewal is repeated.

    With several servers, one that has restarted would sign with the new CA what is requested through one that still
    trusts the old. So they restart twice: in between they sign with a CA that nobody trusts.
    """

    host: Cluster
    namespace: str
    first: str  # of the users for whom it is done: whose result shows it
    ended: str = field(repr=False)  # PEM of the CA of before
    certificate: str = field(repr=False)  # PEM of the new CA
    steps: Sequence[list[Action]] = field(repr=False)  # the servers restart after each

    @property
    def shown(self) -> Plan:
        """The changes as results show them: of two restarts, the last one."""
        return Plan(self.host, self.steps[-1] if self.steps else [], Inventory())

    @classmethod
    def plan(cls, vcluster: VirtualCluster, found: dict | None, users: Iterable[str]) -> Renewal:
        """Plan the renewal for these former administrators. `found` is the Secret with the CA."""
        host, namespace = vcluster.host, vcluster.namespace
        if not accepted(found):
            # Other API servers may know the CA from an earlier time.
            only = certificate(found) or ""
            return cls(host, namespace, min(users), ended=only, certificate=only, steps=())
        server = host.get(STATEFUL_SET, SERVER, namespace)
        if found is None or server is None:
            raise TenantryError(
                "revoke_certificates: it has no CA of its own for client certificates. "
                "Run tenantry.kube.vcluster for it; certificates from before end by themselves within 24 hours"
            )
        if vcluster.record.persistence == "none":
            raise TenantryError(
                "revoke_certificates: it has no volume (persistence.type none) and would lose everything by a restart. "
                "Certificates end by themselves within 24 hours"
            )
        files = {**client_ca.make(namespace), client_ca.UNTRUSTED: ""}
        steps = [_exchange(found, server, files)]
        if server["spec"]["replicas"] > 1:
            between = {**client_ca.make(namespace), client_ca.UNTRUSTED: client_ca.IN_RENEWAL}
            steps.insert(0, _exchange(found, server, between))
        ended = certificate(found) or ""
        return cls(host, namespace, min(users), ended=ended, certificate=files["ca.crt"], steps=steps)

    def perform(self, deadline: Deadline | None = None) -> None:
        """Replace the CA, and wait for the servers after each step."""
        for step in self.steps:
            for action in step:
                self.host.merge(action.kind, action.name, action.namespace, action.desired)
            wait_until_ready(self.host, self.namespace, deadline or Deadline(RESTART_SECONDS))
        api = connection.inside(self.host, self.namespace).limited(self.host.timeout)
        try:
            end_published(api, self.ended)
        finally:
            api.close()


def _exchange(found: dict, server: dict, files: dict[str, str]) -> list[Action]:
    """Return the actions that change the Secret's files and restart the servers."""
    namespace = found["metadata"]["namespace"]
    before, after = (
        secret({"name": CLIENT_CA, "namespace": namespace, "labels": found["metadata"]["labels"]}, values)
        for values in (decoded(found), files)
    )
    template = {"template": {"metadata": {"annotations": {client_ca.ANNOTATION: client_ca.fingerprint(files)}}}}
    return [
        Action(SECRET, namespace, CLIENT_CA, "update", [f"data.{file}" for file in files], before=before, after=after),
        change_of(server, template),
    ]


def end_published(api: Cluster, ended: str, option: str = "revoke_certificates") -> None:
    """Delete the published CA in the virtual cluster, and check that the ended one (PEM) does not return."""
    before = api.get(*PUBLISHED)
    api.delete(*PUBLISHED)
    deadline, uid = Deadline(PUBLISHED_SECONDS), before["metadata"]["uid"] if before else None
    while not (found := api.get(*PUBLISHED)) or _is_of_before(found, uid, ended):
        if deadline.expired:
            break
        deadline.pause()
    if found and _is_of_before(found, uid, ended):
        raise TenantryError(_stays(found, option))


def _is_of_before(found: dict, uid: str | None, ended: str) -> bool:
    published = (found.get("data") or {}).get("client-ca-file") or ""
    return found["metadata"]["uid"] == uid or (bool(ended.strip()) and ended.strip() in published)


def _stays(found: dict, option: str) -> str:
    kind, name, namespace = PUBLISHED
    what = f"{kind.rpartition('/')[2]} {namespace}/{name}"
    if held := found["metadata"].get("finalizers"):
        return (
            f"{option}: {what} is being deleted, but other API servers trust the replaced CA in it as long as it has "
            f"the finalizer {one_line(', '.join(held))}. Remove the finalizer with kubectl, then run again"
        )
    return (
        f"{option}: {what} contains the replaced CA again, which other API servers then trust. Find out what writes it "
        "there (metadata.managedFields), delete both, then run again"
    )
