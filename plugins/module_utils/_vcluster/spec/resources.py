# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Resources of a virtual cluster: limits of its own pods, volume, and the total. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import RESOURCES
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import parse_extended, quota_keys

MEBI = Decimal(1024**2)
GIBI = Decimal(1024**3)

# With less, k3s cannot start.
SMALLEST_SERVER = ("250m", "512Mi")
SMALLEST_AGENT = ("250m", "640Mi")
SMALLEST_VOLUME = "256Mi"

# Local disk: each pod of a tenant adds this much where the resources do not say; of its limit, a platform's
# pod holds a little for itself. A server whose data is not on a volume has all of it on the node's disk.
DISK_PER_POD = GIBI
DISK_HELD = 64 * MEBI
DISK_WITH_DATA = 4 * GIBI
DISK_OF_CONTAINER = 512 * MEBI  # that says nothing of it
# Pods that have finished stay until they are deleted: k3s deletes the oldest beyond so many, looking every 20 seconds.
FINISHED_PODS = 100


@dataclass(frozen=True)
class Resources:
    """Limits of one pod: CPU in cores, memory and disk in bytes."""

    cpu: Decimal
    memory: Decimal
    disk: Decimal = GIBI  # of the node. 0: as much as there is

    def as_text(self) -> dict[str, str]:
        """Return the limits as Kubernetes has them."""
        disk = {"ephemeral-storage": memory_text(self.disk)} if self.disk else {}
        return {"cpu": cpu_text(self.cpu), "memory": memory_text(self.memory), **disk}


# The syncer of each server in mode shared, in a pod of its own.
SYNCER = Resources(Decimal("0.5"), 128 * MEBI, 256 * MEBI)


@dataclass(frozen=True)
class Limit:
    """A resource that counts against the tenant's quota only if that names it."""

    is_count: bool = False

    def text(self, amount: Decimal) -> str:
        return str(int(amount)) if self.is_count else memory_text(amount)


# By name of the resource. What the platform's own objects take of each is in the minimum (minimum_resources).
FURTHER = {
    "ephemeral_storage": Limit(),
    "node_ports": Limit(is_count=True),
    "load_balancers": Limit(is_count=True),
}


SERVICES = ("node_ports", "load_balancers")


@dataclass(frozen=True)
class VClusterResources:
    """The total resources of a virtual cluster, including its own pods."""

    cpu: Decimal
    memory: Decimal
    storage: Decimal
    pods: int
    further: Mapping[str, Decimal] = field(default_factory=dict)  # by option, see FURTHER
    extended: Mapping[str, str] = field(default_factory=dict)  # by the name of the resource

    def as_text(self) -> dict[str, str]:
        """Return the resources by option, as quantities."""
        return {
            "cpu": cpu_text(self.cpu),
            "memory": memory_text(self.memory),
            "storage": memory_text(self.storage),
            "pods": str(self.pods),
            **{option: FURTHER[option].text(amount) for option, amount in self.further.items()},
            **self.extended,
        }

    def hard(self) -> dict[str, str]:
        """Return the limits of a ResourceQuota."""
        return {key: amount for name, amount in self.as_text().items() for key in quota_keys(name)}

    def hard_services(self) -> dict[str, str]:
        """Return its limits for node ports and load balancers, which apply in both modes."""
        return {key: FURTHER[option].text(self.further[option]) for option in SERVICES for key in quota_keys(option)}

    def services(self) -> dict[str, str]:
        """Return its node ports and load balancers, if it has any."""
        return {name: FURTHER[name].text(self.further[name]) for name in SERVICES if self.further[name]}

    def pods_beside(self, own: VClusterResources) -> dict[str, str]:
        """Return the limits for pods that are not the platform's.

        Finished pods do not count as pods, and may be twice as many as are kept.
        """
        rest = replace(self, cpu=self.cpu - own.cpu, memory=self.memory - own.memory, pods=self.pods - own.pods)
        hard = replace(rest, further={}, extended={}).hard()
        del hard["requests.storage"]
        return {**hard, "count/pods": str(rest.pods + 2 * FINISHED_PODS)}


def cpu_text(cores: Decimal) -> str:
    return quantities.display(cores)


def memory_text(amount: Decimal) -> str:
    return quantities.display(amount, binary=True)


def parse_resources(given: dict, option: str, smallest: tuple[str, str], what: str = "k3s") -> Resources:
    """Validate CPU and memory of a pod. `smallest` are the minimums, `what` names the pod in errors."""
    found = {}
    for resource, least in zip(("cpu", "memory"), smallest, strict=True):
        name = f"{option}.{resource}"
        found[resource] = quantities.parse(given[resource], name)
        if found[resource] < quantities.parse(least, name):
            raise TenantryError(
                f"{name}: {shown(given[resource])} is too little for {what} to start. Set {least} or more"
            )
    if found["memory"] % MEBI:
        raise TenantryError(
            f"{option}.memory: {shown(given['memory'])} is not a whole number of Mi. Use a unit of Mi or Gi"
        )
    return Resources(**found)


def parse_volume(persistence: dict) -> Decimal | None:
    """Return the size of the volume in bytes, or None without one."""
    if persistence["type"] == "none":
        return None
    size = quantities.parse(persistence["size"], "persistence.size")
    if size < quantities.parse(SMALLEST_VOLUME, "persistence.size"):
        raise TenantryError(
            f"persistence.size: {shown(persistence['size'])} is too small. Set {SMALLEST_VOLUME} or more, "
            "or type none for a virtual cluster whose data may be lost"
        )
    return size


def minimum_resources(
    server: Sequence[Resources],
    servers: int,
    agent: Resources,
    agents: int,
    volume: Decimal | None,
    etcd: Resources | None = None,
    services: Mapping[str, int] | None = None,
) -> VClusterResources:
    """Return what servers, syncers, etcd and agents use themselves (QUO-2).

    `services` are node ports and load balancers of the API, by resource name.
    """
    own = [*server, *([etcd] if etcd else [])] * servers + [agent] * agents
    return VClusterResources(
        cpu=sum((one.cpu for one in own), Decimal(0)),
        memory=sum((one.memory for one in own), Decimal(0)),
        storage=(volume or Decimal(0)) * servers,
        pods=len(own),
        further={
            "ephemeral_storage": sum((one.disk for one in own), Decimal(0)),
            **{option: Decimal((services or {}).get(option, 0)) for option in SERVICES},
        },
    )


def parse_vcluster_resources(
    given: dict, least: VClusterResources, required: tuple[str, ...] = ()
) -> VClusterResources:
    """Validate the option resources. Omitted ones are what the virtual cluster itself uses."""
    missing = [resource for resource in required if given.get(resource) is None]
    if missing:
        own = least.as_text()
        raise TenantryError(
            f"{', '.join(f'resources.{one}' for one in missing)}: required with mode shared, the default, because the "
            f"tenant's pods run within the resources. Set more than {', '.join(own[one] for one in missing)}, which "
            "the servers and syncers themselves take, or create it with mode: dedicated for nodes of its own"
        )
    found: dict = {}
    for resource in RESOURCES:
        minimum, asked = getattr(least, resource), given.get(resource)
        amount = minimum if asked is None else quantities.parse(asked, f"resources.{resource}")
        if amount < minimum:
            raise _too_small(resource, asked, least)
        found[resource] = int(amount) if resource == "pods" else amount
    return VClusterResources(**found)


def parse_further(given: dict, least: VClusterResources, counted: VClusterResources) -> VClusterResources:
    """Add resources that only mode shared limits."""
    usual = {"ephemeral_storage": least.further["ephemeral_storage"] + DISK_PER_POD * (counted.pods - least.pods)}
    further = {}
    for option, minimum in least.further.items():
        asked = given.get(option)
        further[option] = (
            usual.get(option, minimum) if asked is None else quantities.parse(asked, f"resources.{option}")
        )
        if further[option] < minimum:
            raise _too_small(option, asked, least)
    return replace(counted, further=further, extended=parse_extended(given.get("extended") or {}, "resources.extended"))


def refuse_further(given: dict) -> None:
    """Raise a TenantryError for such resources in mode dedicated."""
    for option in (*FURTHER, "extended"):
        if given.get(option) is not None:
            raise TenantryError(f"resources.{option}: applies to mode shared only. Omit it")


def _too_small(resource: str, asked: object, least: VClusterResources) -> TenantryError:
    return TenantryError(
        f"resources.{resource}: {shown(asked)} is too small for the servers, syncers, etcd and agents of this virtual "
        f"cluster. Set {least.as_text()[resource]} or more"
    )
