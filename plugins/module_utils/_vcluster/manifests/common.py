# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the renderers of a virtual cluster share: names, keys, facts of the host. Pure."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import PART_LABEL
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import HostNetworks
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded, encoded
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import CLUSTER_IP
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import (
    DISK_HELD,
    MEBI,
    Resources,
    memory_text,
)

ACCOUNT = "vcluster"  # of the pods
API_SERVICE = "api"
API_PORT = 6443
CONFIG_HASH = "tenantry.dev/config"
PLATFORM_USER = "tenantry:platform"

JOIN_TOKEN = "join-token"  # noqa: S105 - names, not values
PLATFORM_CREDENTIAL = "platform-credential"
CLIENT_CA = "client-ca"

K3S = "/bin/k3s"
CONFIG_DIRECTORY = "/etc/rancher/k3s"
TOKEN_DIRECTORY = "/etc/tenantry/token"  # noqa: S105
DATA_DIRECTORY = "/var/lib/rancher/k3s"
# The lock for the data, held by the process that uses it. It is beside the data, which a restore replaces.
DATA_LOCK = f"{DATA_DIRECTORY}/.server.lock"

# k3s stops faster. Kubernetes checks a terminating namespace again after half of it, so a deletion depends on it.
STOP_SECONDS = 10
# Of these: where other servers go on, one that shall stop still answers until every node leads new connections to them.
LEAVING_SECONDS = 3


@dataclass(frozen=True)
class Share:
    """Requests of a pod of tier dev, as divisors of its limits. A pod of tier prod requests all of them."""

    cpu: int
    memory: int
    least: Resources  # but not more than the limits


# Of agents and etcd: an agent has the tenant's pods in it.
SHARE = Share(4, 2, Resources(Decimal(0), Decimal(0)))
# Of a server. At least what an idle one uses, see docs/performance.md.
SERVER_SHARE = Share(20, 4, Resources(Decimal("0.05"), 256 * MEBI))


@dataclass(frozen=True, repr=False)
class Keys:
    """The secrets of one virtual cluster, created once and stored in its namespace."""

    server_token: str
    agent_token: str
    node_password: str
    platform_token: str
    syncer_token: str  # of use in mode shared only
    ca: str | None = None  # PEM, known from the first contact on
    etcd: Mapping[str, str] = field(default_factory=dict)  # where it has one: PEM by file (etcd_certificates)
    client_ca: Mapping[str, str] = field(default_factory=dict)  # PEM by file (client_ca)

    @property
    def secrets(self) -> tuple[str, ...]:
        """All values that no output may show."""
        files = (*self.etcd.items(), *self.client_ca.items())
        private = (pem for file, pem in files if file.endswith(".key"))
        tokens = self.server_token, self.agent_token, self.node_password, self.platform_token, self.syncer_token
        return *tokens, *private


@dataclass(frozen=True)
class RenderContext:
    """A virtual cluster's spec and keys, with facts of the host."""

    spec: VClusterSpec
    keys: Keys
    cluster_ip: str = ""
    kubernetes_ip: str = ""  # in mode shared, the address of the API inside
    dns_ip: str = ""
    syncer_ip: str = ""  # where the API inside finds the syncer
    etcd_ips: tuple[str, ...] = ()  # of its members, in their order
    datastore_ip: str = ""  # of a database that is a Service of the host
    address: str = ""  # where people reach it from outside
    account: bool = False  # the platform has one on the host, which needs rights in the namespace
    host: HostNetworks = field(default_factory=HostNetworks)
    storage_classes: tuple[dict, ...] = ()  # all of the host
    recorded: str = ""  # the annotation of its record, as it was found

    @property
    def namespace(self) -> str:
        return self.spec.namespace

    @property
    def labels(self) -> dict[str, str]:
        return naming.labels("vcluster", tenant=self.spec.tenant, vcluster=self.spec.name)

    @property
    def lacks_addresses(self) -> bool:
        """Whether Services must be created first, because the configuration has their addresses."""
        needed = [self.cluster_ip if self.spec.exposure.type == CLUSTER_IP else self.address]
        if self.spec.shared:
            needed += [self.kubernetes_ip, self.dns_ip, self.syncer_ip]
        if self.spec.agents:
            needed.append(self.cluster_ip)
        if self.spec.etcd:
            needed += self.etcd_ips or [""]
        return not all(needed)

    @property
    def api_name(self) -> str:
        """Name of the API in the host's cluster DNS, without the domain, which is not known."""
        return f"{API_SERVICE}.{self.namespace}.svc"

    @property
    def lifecycle(self) -> dict:
        """The field `lifecycle` of containers of servers and syncers."""
        if self.spec.servers == 1:
            return {}
        return {"lifecycle": {"preStop": {"sleep": {"seconds": LEAVING_SECONDS}}}}

    @property
    def _recommended(self) -> dict[str, str]:
        """Labels for all objects but pods, which another label would replace."""
        return {naming.LABEL_NAME: "tenantry-vcluster", naming.LABEL_INSTANCE: self.namespace}

    def selector(self, part: str) -> dict[str, str]:
        """Return the labels of the pods of a part."""
        return {**self.labels, PART_LABEL: part}

    def metadata(self, name: str, part: str | None = None) -> dict:
        """Return an object's metadata, with the labels of a part if given."""
        return {
            "name": name,
            "namespace": self.namespace,
            "labels": {**self._recommended, **(self.selector(part) if part else self.labels)},
        }


def keys(
    join: dict | None,
    credential: dict | None,
    etcd: Mapping[str, str] | None = None,
    client_ca: Mapping[str, str] | None = None,
) -> Keys:
    """Return the keys in existing Secrets, and new ones for those that are missing."""
    kept = {**decoded(join), **decoded(credential)}
    return Keys(
        server_token=kept.get("server-token") or secrets.token_hex(32),
        agent_token=kept.get("agent-token") or secrets.token_hex(32),
        node_password=kept.get("node-password") or secrets.token_hex(32),
        platform_token=kept.get("token") or secrets.token_hex(32),
        syncer_token=kept.get("syncer-token") or secrets.token_hex(32),
        ca=kept.get("ca.crt"),
        etcd=etcd or {},
        client_ca=client_ca or {},
    )


def secret(metadata: dict, values: dict[str, str]) -> dict:
    """Render a Secret with these values as text."""
    data = {key: encoded(value) for key, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def service_account(metadata: dict) -> dict:
    """Render a ServiceAccount whose token is not mounted."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def as_yaml(content: dict | list) -> str:
    """Return JSON, which is YAML too."""
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def claim_spec(rendering: RenderContext, size: str) -> dict:
    """Render the spec of a claim of this size."""
    storage_class = rendering.spec.storage_class
    return {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": size}},
        **({"storageClassName": storage_class} if storage_class else {}),
    }


def volume_claim(rendering: RenderContext, name: str, part: str) -> dict:
    """Render a claim. A claim template of a StatefulSet could never be changed, but this one can grow."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": rendering.metadata(name, part),
        "spec": claim_spec(rendering, memory_text(require(rendering.spec.volume, "the size of the volume"))),
    }


def resolving(names: Mapping[str, str]) -> dict:
    """Render DNS fields of a pod that resolves names which a tenant controls.

    It uses the resolvers of the host's node, because the host's cluster DNS would reveal Services of others. `names`
    has the Services it needs, by address.
    """
    aliases = [{"ip": address, "hostnames": [name]} for name, address in names.items() if address]
    return {"dnsPolicy": "Default", **({"hostAliases": aliases} if aliases else {})}


def names_service(rendering: RenderContext, part: str, ports: dict[str, int]) -> dict:
    """Render a headless Service that gives each pod of a part a DNS name, also before it is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": rendering.metadata(part),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": rendering.selector(part),
            "ports": [
                {"name": name, "port": port, "targetPort": port, "protocol": "TCP"} for name, port in ports.items()
            ],
        },
    }


def disruption_budget(rendering: RenderContext, part: str) -> dict:
    """Allow one pod at a time. With a minAvailable of 1, nodes of the host could never be drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": rendering.metadata(part),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": rendering.selector(part)}},
    }


def fingerprint(key: str, files: dict[str, str]) -> str:
    """Return a keyed hash of the files, which replaces pods on a change without revealing content."""
    return hmac.new(key.encode(), as_yaml(files).encode(), hashlib.sha256).hexdigest()[:16]


def stamp(agent_token: str, secrets: Iterable[dict]) -> str:
    """Return the fingerprint of these Secrets. Its key is the agent token, which a restore does not replace."""
    data = {name: value for one in secrets for name, value in decoded(one).items()}
    return fingerprint(agent_token, data)


def requirements(limits: Resources, tier: str, share: Share = SHARE) -> dict:
    """Return requests and limits. Both are always set, because the quota requires it."""
    held = replace(limits, disk=min(limits.disk, DISK_HELD))
    if tier != "prod":
        memory = limits.memory / share.memory
        held = replace(
            held,
            cpu=min(limits.cpu, max(limits.cpu / share.cpu, share.least.cpu)),
            memory=min(limits.memory, max(memory - memory % MEBI, share.least.memory)),
        )
    return {"limits": limits.as_text(), "requests": held.as_text()}


def own_priority(tier: str) -> str:
    """Return the PriorityClass of servers and agents, by which the quota distinguishes tenants' pods."""
    return f"tenantry-{tier}-server"


def secret_volume(name: str, secret_name: str, items: dict[str, str] | None = None) -> dict:
    """Render a volume of a Secret, mode 0400, with all keys or only `items`."""
    source: dict = {"secretName": secret_name, "defaultMode": 0o400}
    if items:
        source["items"] = [{"key": key, "path": path} for key, path in items.items()]
    return {"name": name, "secret": source}
