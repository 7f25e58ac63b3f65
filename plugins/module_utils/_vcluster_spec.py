# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One virtual cluster as asked for: the options of the module, checked and turned into numbers. Pure."""

from __future__ import annotations

import ipaddress
import json
import re
from dataclasses import asdict, dataclass, field
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils import _names, _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_modes import (
    DEDICATED,
    SHARED,
    Shared,
    parse_shared,
)

SPEC_ANNOTATION = "tenantry.dev/spec"

# The first releases whose API server can be probed without a credential and stay closed otherwise: k3s before them
# sets --anonymous-auth even where an authentication configuration is given, which the API server refuses.
OLDEST_MINOR = 32
FIRST_PATCH = {32: 5, 33: 1}
_VERSION = re.compile(r"v1\.([0-9]{1,3})\.([0-9]{1,3})\+([a-z0-9]+(?:[.-][a-z0-9]+)*)", re.ASCII)
_REPOSITORY = re.compile(r"[a-z0-9.-]+(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*", re.ASCII)
MEBI = Decimal(1024**2)

# Below these, k3s itself does not get through its start.
SMALLEST_SERVER = ("250m", "512Mi")
SMALLEST_AGENT = ("250m", "640Mi")
SMALLEST_VOLUME = "256Mi"
NODE_PORTS = range(30000, 32768)
# A node gets a /24 of the pod network, and an API server takes no service network larger than /12.
CLUSTER_PREFIXES = range(8, 24)
SERVICE_PREFIXES = range(12, 28)
CLUSTER_CIDR = "10.52.0.0/16"
SERVICE_CIDR = "10.53.0.0/16"


@dataclass(frozen=True)
class Resources:
    """Limits of one pod."""

    cpu: Decimal
    memory: Decimal

    def as_text(self) -> dict[str, str]:
        return {"cpu": cpu_text(self.cpu), "memory": memory_text(self.memory)}


SYNCER = Resources(Decimal("0.5"), 128 * MEBI)  # beside the server, in mode shared


@dataclass(frozen=True)
class Slice:
    """What a virtual cluster may use, of which its own pods are a part."""

    cpu: Decimal
    memory: Decimal
    storage: Decimal
    pods: int

    def as_text(self) -> dict[str, str]:
        return {
            "cpu": cpu_text(self.cpu),
            "memory": memory_text(self.memory),
            "storage": memory_text(self.storage),
            "pods": str(self.pods),
        }


@dataclass(frozen=True)
class VCluster:
    tenant: str
    name: str
    host: str | None
    version: str
    agents: int
    server: Resources
    agent: Resources
    volume: Decimal | None  # None: an emptyDir, lost with the pod
    storage_class: str | None
    slice: Slice
    tier: str
    expose: str
    port: int | None
    address: str | None
    image: str
    cluster_cidr: str | None  # None: the pods have addresses of the host
    service_cidr: str | None  # None: that of the host, which is not known yet
    registries: dict = field(default_factory=dict, repr=False)
    servers: int = 1
    shared: Shared | None = None  # None: mode dedicated

    @property
    def mode(self) -> str:
        return SHARED if self.shared else DEDICATED

    @property
    def namespace(self) -> str:
        return _names.vcluster_namespace(self.tenant, self.name)

    @property
    def image_reference(self) -> str:
        return f"{self.image}:{self.version.replace('+', '-')}"

    def record(self, address: str) -> str:
        """What is written on the namespace for later runs, for info and for the budget. Holds no secret."""
        return json.dumps(
            {
                "address": address,
                "agents": self.agents,
                "cluster_cidr": self.cluster_cidr,
                "expose": self.expose,
                "mode": self.mode,
                "persistence": "none" if self.volume is None else "pvc",
                "servers": self.servers,
                "service_cidr": self.service_cidr,
                "slice": self.slice.as_text(),
                "storage_class": self.storage_class,
                "tier": self.tier,
                "version": self.version,
                "volume": memory_text(self.volume or Decimal(0)),
            },
            sort_keys=True,
        )


def recorded(namespace: dict) -> dict:
    """The record of a virtual cluster's namespace; empty where it is missing or broken."""
    text = (namespace["metadata"].get("annotations") or {}).get(SPEC_ANNOTATION, "{}")
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}


def cpu_text(cores: Decimal) -> str:
    return _quantities.display(cores)


def memory_text(amount: Decimal) -> str:
    return _quantities.display(amount, binary=True)


def parse(item: dict) -> VCluster:
    """The item of the module, or a TenantryError that names option, value and rule."""
    tenant = _names.check_name(item["tenant"], "tenant")
    name = _names.check_name(item["name"], "name")
    _names.vcluster_namespace(tenant, name)
    _check_counts(item)
    server = _resources(item["server"], "server", SMALLEST_SERVER)
    agent = _resources(item["agent"], "agent", SMALLEST_AGENT)
    volume = _volume(item["persistence"])
    shared = parse_shared(item)
    cluster_cidr, service_cidr = _networks(item, shared)
    least = minimum_slice(server, agent, item["agents"], volume, SYNCER if shared else None)
    _check_expose(item["expose"])
    return VCluster(
        tenant=tenant,
        name=name,
        host=item.get("host"),
        version=check_version(item["version"]),
        agents=item["agents"],
        server=server,
        agent=agent,
        volume=volume,
        storage_class=item["persistence"].get("storage_class"),
        slice=_slice(item.get("slice") or {}, least, ("cpu", "memory", "pods") if shared else ()),
        tier=item["tier"],
        expose=item["expose"]["type"],
        port=item["expose"].get("port"),
        address=item["expose"].get("address"),
        image=_image(item["image"]),
        cluster_cidr=cluster_cidr,
        service_cidr=service_cidr,
        registries=_registries(item.get("registries") or {}),
        shared=shared,
    )


def minimum_slice(
    server: Resources, agent: Resources, agents: int, volume: Decimal | None, syncer: Resources | None = None
) -> Slice:
    """What server and agents themselves take (QUO-2)."""
    own = [server, *([agent] * agents), *([syncer] if syncer else [])]
    return Slice(
        cpu=sum((one.cpu for one in own), Decimal(0)),
        memory=sum((one.memory for one in own), Decimal(0)),
        storage=volume or Decimal(0),
        pods=1 + agents,
    )


def parse_version(version: str) -> tuple[int, int, str]:
    """Minor, patch and build."""
    match = _VERSION.fullmatch(version)
    if not match:
        raise TenantryError(
            f"version: {shown(version)} is not the name of a k3s release; give one exactly, such as v1.34.4+k3s1"
        )
    return int(match[1]), int(match[2]), match[3]


def check_version(version: object) -> str:
    if not isinstance(version, str):
        raise TenantryError(f"version: {shown(version)} is not text; give a k3s release, such as v1.34.4+k3s1")
    minor, patch, _build = parse_version(version)
    oldest = max(minor, OLDEST_MINOR)
    if minor < OLDEST_MINOR or patch < FIRST_PATCH.get(minor, 0):
        raise TenantryError(f"version: {version} is too old; use v1.{oldest}.{FIRST_PATCH[oldest]} or newer")
    return version


def check_upgrade(old: str, new: str) -> None:
    """Kubernetes supports going up one minor version at a time, and never down."""
    before, after = parse_version(old)[:2], parse_version(new)[:2]
    if after < before:
        raise TenantryError(
            f"version: {new} is older than {old}, which runs; Kubernetes cannot be downgraded: keep {old} or go up"
        )
    if after[0] > before[0] + 1:
        raise TenantryError(
            f"version: from {old} to {new} skips a minor version; go to a release of v1.{before[0] + 1} first"
        )


def check_change(old: dict, new: VCluster) -> None:
    """What cannot be changed on a virtual cluster that exists, by the record of its namespace."""
    if old.get("mode", new.mode) != new.mode:
        raise TenantryError(
            f"mode: cannot be changed from {old['mode']} to {new.mode} on a virtual cluster that exists; "
            "make a new virtual cluster and move the workloads"
        )
    fixed = {"cluster_cidr": new.cluster_cidr, "service_cidr": new.service_cidr}
    fixed["persistence"] = "none" if new.volume is None else "pvc"
    if new.volume is not None:
        fixed["storage_class"] = new.storage_class
    for option, value in fixed.items():
        if option in old and old[option] != value:
            raise TenantryError(
                f"{option}: cannot be changed from {old[option]} to {value} on a virtual cluster that exists; "
                "keep it, or delete the virtual cluster and make it anew"
            )
    if "version" in old:
        check_upgrade(old["version"], new.version)


def _check_counts(item: dict) -> None:
    if item["servers"] != 1:
        raise TenantryError(f"servers: must be 1, not {shown(item['servers'])}; several servers are not supported yet")
    if not 0 <= item["agents"] <= 100:
        raise TenantryError(f"agents: must be 0 to 100, not {item['agents']}")


def _resources(given: dict, option: str, smallest: tuple[str, str]) -> Resources:
    found = {}
    for resource, least in zip(("cpu", "memory"), smallest, strict=True):
        name = f"{option}.{resource}"
        found[resource] = _quantities.parse(given[resource], name)
        if found[resource] < _quantities.parse(least, name):
            raise TenantryError(
                f"{name}: {shown(given[resource])} is too little for k3s to start; give {least} or more"
            )
    if found["memory"] % MEBI:
        raise TenantryError(
            f"{option}.memory: {shown(given['memory'])} is not a whole number of Mi; use a unit of Mi or Gi"
        )
    return Resources(**found)


def _volume(persistence: dict) -> Decimal | None:
    if persistence["type"] == "none":
        return None
    size = _quantities.parse(persistence["size"], "persistence.size")
    if size < _quantities.parse(SMALLEST_VOLUME, "persistence.size"):
        raise TenantryError(
            f"persistence.size: {shown(persistence['size'])} is too small; give {SMALLEST_VOLUME} or more, "
            "or type none for a virtual cluster whose data may be lost"
        )
    return size


def _slice(given: dict, least: Slice, required: tuple[str, ...] = ()) -> Slice:
    """The slice asked for; what is left out is what the virtual cluster itself takes."""
    missing = [resource for resource in required if given.get(resource) is None]
    if missing:
        own = least.as_text()
        raise TenantryError(
            f"{', '.join(f'slice.{one}' for one in missing)}: required with mode shared, the default, because the "
            f"tenant's pods run within the slice; give more than {', '.join(own[one] for one in missing)}, which the "
            "server itself takes, or make it with mode: dedicated for nodes of its own"
        )
    found: dict = {}
    for resource, minimum in asdict(least).items():
        asked = given.get(resource)
        if asked is None:
            found[resource] = minimum
            continue
        amount = _quantities.parse(asked, f"slice.{resource}")
        if amount < minimum:
            raise TenantryError(
                f"slice.{resource}: {shown(asked)} is too small for the server and agents of this virtual cluster; "
                f"give {least.as_text()[resource]} or more"
            )
        found[resource] = int(amount) if resource == "pods" else amount
    return Slice(**found)


def _networks(item: dict, shared: Shared | None) -> tuple[str | None, str | None]:
    """Of the pods and of the services. In mode shared both are the host's; of services it may be said in advance."""
    if shared:
        given = item["service_cidr"]
        return None, None if given is None else str(_ipv4_network(given, "service_cidr"))
    cluster = _network(item["cluster_cidr"] or CLUSTER_CIDR, "cluster_cidr", CLUSTER_PREFIXES)
    service = _network(item["service_cidr"] or SERVICE_CIDR, "service_cidr", SERVICE_PREFIXES)
    if cluster.overlaps(service):
        raise TenantryError(f"service_cidr: {service} overlaps cluster_cidr {cluster}; choose two separate networks")
    return str(cluster), str(service)


def _ipv4_network(text: object, option: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except (ValueError, TypeError) as error:
        raise TenantryError(
            f"{option}: {shown(text)} is not an IPv4 network ({error}); use one such as 10.52.0.0/16"
        ) from None


def _network(text: object, option: str, prefixes: range) -> ipaddress.IPv4Network:
    network = _ipv4_network(text, option)
    if network.prefixlen not in prefixes:
        raise TenantryError(
            f"{option}: {network} has the prefix length {network.prefixlen}; "
            f"use /{prefixes.start} to /{prefixes.stop - 1}"
        )
    if not network.is_private:
        raise TenantryError(f"{option}: {network} is a public network; use a private one such as 10.52.0.0/16")
    return network


def _check_expose(expose: dict) -> None:
    port, address = expose.get("port"), expose.get("address")
    if expose["type"] != "NodePort" and (port is not None or address is not None):
        option = "port" if port is not None else "address"
        raise TenantryError(
            f"expose.{option}: applies to expose.type NodePort only, not {expose['type']}; leave it out"
        )
    if port is not None and port not in NODE_PORTS:
        raise TenantryError(
            f"expose.port: must be {NODE_PORTS.start} to {NODE_PORTS.stop - 1}, not {port}; or leave it out"
        )
    if address is not None:
        _check_address(address)


def _check_address(address: str) -> None:
    try:
        unusable = ipaddress.ip_address(address)
    except ValueError:
        if not _names.DNS_NAME.fullmatch(address) or address == "localhost":
            raise TenantryError(
                f"expose.address: {shown(address)} is not an IP address or DNS name that others can reach; "
                "give one of a host node, without scheme and port"
            ) from None
    else:
        if unusable.is_loopback or unusable.is_unspecified or unusable.is_link_local or unusable.is_multicast:
            raise TenantryError(
                f"expose.address: {address} cannot be reached by others; give an address of a host node"
            )


def _image(repository: str) -> str:
    if not _REPOSITORY.fullmatch(repository) or repository.count("/") == 0:
        raise TenantryError(
            f"image: {shown(repository)} is not a repository such as rancher/k3s or registry.example.com/rancher/k3s; "
            "give it without a tag: the tag follows from version"
        )
    return repository


def _registries(given: dict) -> dict:
    """The top level of k3s's registries.yaml; k3s itself checks the rest."""
    known = ("mirrors", "configs")
    for key, value in given.items():
        if key not in known:
            raise TenantryError(
                f"registries.{key}: is unknown{_names.did_you_mean(key, known)}; known are {', '.join(known)}"
            )
        if not isinstance(value, dict):
            raise TenantryError(f"registries.{key}: must be a dictionary by registry")
    return given
