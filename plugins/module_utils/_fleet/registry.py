# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The clusters of the fleet: the hub, and every member by its labelled Secret on the hub."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from threading import Lock

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import (
    VirtualCluster,
    is_virtual_cluster,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import THREADS, Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE, SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded_value
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context

MEMBER_SECRET_TYPE = "tenantry.dev/member"  # noqa: S105
IDENTITY_ANNOTATION = "tenantry.dev/identity"
SERVER_ANNOTATION = "tenantry.dev/server"
VERSION_ANNOTATION = "tenantry.dev/version"
OLDEST_KUBERNETES = (1, 30)

Connect = Callable[[dict, str], Cluster]


@dataclass(frozen=True)
class Member:
    """A member as the hub's registry records it."""

    name: str
    secret: dict

    def _annotation(self, name: str) -> str:
        return (self.secret["metadata"].get("annotations") or {}).get(name, "")

    @property
    def identity(self) -> str:
        """UID of the member's kube-system namespace when it was joined."""
        return self._annotation(IDENTITY_ANNOTATION)

    @property
    def server(self) -> str:
        """URL of the member's API server."""
        return self._annotation(SERVER_ANNOTATION)

    @property
    def version(self) -> str:
        """Of its Kubernetes, when it was last joined."""
        return self._annotation(VERSION_ANNOTATION)

    @property
    def credential_expires(self) -> str:
        """When the platform's credential expires, or an empty string if that is not known."""
        return self._annotation(bound_tokens.EXPIRES_ANNOTATION)

    @property
    def renewal(self) -> str:
        """The remedy if the member rejects the platform's credential."""
        expires = self.credential_expires
        expired = expires and expires < stamp(clock())
        why = f"expired at {expires}" if expired else "was revoked or is of another cluster"
        return (
            f"the platform's credential for member {self.name} {why}: renew it with the playbook tenantry.kube.join, "
            f"or with tenantry.kube.fleet_member (name: {self.name}, member_kubeconfig: an administrator's)"
        )

    def kubeconfig(self) -> dict:
        """Return the stored kubeconfig. fleet_member writes JSON, which kubectl reads as YAML."""
        return json.loads(decoded_value(self.secret["data"]["kubeconfig"]))


class Fleet:
    """Hub and members. A member is contacted at its first use."""

    def __init__(self, hub: Cluster, members: Iterable[Member], connect: Connect) -> None:
        self.hub = hub
        self.members = {member.name: member for member in members}
        self._connect = connect
        self._open: dict[str, Cluster] = {naming.HUB: hub}
        self._lock = Lock()

    def names(self) -> list[str]:
        return [naming.HUB, *sorted(self.members)]

    def cluster(self, name: str) -> Cluster:
        """Connect to a cluster by name.

        Raise a TenantryError if it is unknown, does not answer or is not the one that was joined.
        """
        if name not in self.names():
            raise self.unknown(name)
        with self._lock:
            found = self._open.get(name)
        if found is None:
            found = self._contact(self.members[name])
            with self._lock:
                self._open[name] = found
        return found

    def reachable(self, names: Iterable[str] | None = None) -> tuple[dict[str, Cluster], dict[str, str]]:
        """Return the clusters that answer, and an error line for each of the others."""
        wanted = self.names() if names is None else list(names)
        clusters: dict[str, Cluster] = {}
        problems: dict[str, str] = {}

        def contact(name: str) -> None:
            try:
                clusters[name] = self.cluster(name)
            except TenantryError as error:
                problems[name] = str(error)

        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(contact, wanted))
        return {name: clusters[name] for name in wanted if name in clusters}, problems

    def vclusters(self) -> tuple[list[VirtualCluster], dict[str, str]]:
        """Return all virtual clusters, and an error line for each host that does not answer."""
        clusters, problems = self.reachable()
        label = naming.selector("vcluster")

        def on_host(host: Cluster) -> list[VirtualCluster]:
            try:
                spaces = host.list(NAMESPACE, selector=label)
                return [VirtualCluster(host, space) for space in spaces if is_virtual_cluster(space)]
            except TenantryError as error:
                if host is self.hub:
                    raise
                problems[host.name] = str(error)
                return []

        found = self.hub.map(on_host, clusters.values())
        return [one for of_host in found for one in of_host], problems

    def unknown(self, name: str) -> TenantryError:
        """Return the error for a host that is not in the fleet."""
        return TenantryError(
            f"host {name!r} is not in the fleet{naming.did_you_mean(name, self.names())}: "
            f"known are {', '.join(self.names())}. Join a cluster with tenantry.kube.fleet_member"
        )

    def close(self) -> None:
        """Close the connections to members. The hub belongs to the caller."""
        for name, cluster in self._open.items():
            if name != naming.HUB:
                cluster.close()

    def _contact(self, member: Member) -> Cluster:
        cluster = self._connect(member.kubeconfig(), member.name)
        cluster.renewal = member.renewal
        try:
            identity = cluster.identity()
        except TenantryError as error:
            cluster.close()
            raise Obstacle(f"member {member.name!r} at {member.server}: {error}") from error
        if identity != member.identity:
            cluster.close()
            raise Obstacle(
                f"member {member.name!r}: the cluster at {member.server} is not the one that was joined (kube-system "
                f"has the UID {identity}, not {member.identity}). Remove the member with force and join it again"
            )
        return cluster


def check_version(cluster: Cluster, field: str) -> str:
    """Return the Kubernetes version of a host. Raise a TenantryError if it is too old."""
    version = cluster.version()
    match = re.match(r"v(\d+)\.(\d+)", version)
    if match and (int(match[1]), int(match[2])) < OLDEST_KUBERNETES:
        oldest = ".".join(map(str, OLDEST_KUBERNETES))
        raise TenantryError(
            f"{field}: the cluster at {cluster.server} runs Kubernetes {version}. Upgrade it to {oldest} or newer"
        )
    return version


def platform_namespace(cluster: Cluster) -> dict | None:
    """Return the platform's namespace on a cluster, or None."""
    return cluster.get(NAMESPACE, naming.PLATFORM_NAMESPACE)


def component(namespace: dict | None) -> str | None:
    """Return the component label of a platform namespace: platform (hub), member, or user (virtual cluster)."""
    return (namespace["metadata"].get("labels") or {}).get(naming.LABEL_COMPONENT) if namespace else None


def require_platform(hub: Cluster) -> None:
    """Raise a TenantryError if the platform is not installed on the cluster."""
    if component(platform_namespace(hub)) != "platform":
        raise TenantryError(
            f"kubeconfig: the platform is not installed on the cluster at {hub.server}. "
            "Run tenantry.kube.platform on it first, or give the hub's kubeconfig"
        )


@contextmanager
def open_fleet(context: Context) -> Iterator[Fleet]:
    """Open the fleet of an installed platform, and close it at the end."""
    require_platform(context.hub)
    with closing(hosts(context.hub, context.cluster)) as fleet:
        yield fleet


def members(hub: Cluster) -> list[Member]:
    """Read the registry from the hub."""
    found = hub.list(SECRET, naming.PLATFORM_NAMESPACE, naming.selector("member"))
    return [
        Member(secret["metadata"]["labels"][naming.LABEL_MEMBER], secret)
        for secret in found
        if secret.get("type") == MEMBER_SECRET_TYPE
    ]


def hosts(hub: Cluster, connect: Connect) -> Fleet:
    """Return the fleet from the hub's registry. Only the hub is contacted.

    A module passes its Context.cluster as `connect`, so that Ansible masks the members' credentials.
    """

    return Fleet(hub, members(hub), connect)
