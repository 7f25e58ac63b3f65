# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a virtual cluster takes and may take: limits of its own pods, its volume, its slice. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities as _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

MEBI = Decimal(1024**2)

# Below these, k3s itself does not get through its start.
SMALLEST_SERVER = ("250m", "512Mi")
SMALLEST_AGENT = ("250m", "640Mi")
SMALLEST_VOLUME = "256Mi"


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


def cpu_text(cores: Decimal) -> str:
    return _quantities.display(cores)


def memory_text(amount: Decimal) -> str:
    return _quantities.display(amount, binary=True)


def parse_resources(given: dict, option: str, smallest: tuple[str, str], what: str = "k3s") -> Resources:
    found = {}
    for resource, least in zip(("cpu", "memory"), smallest, strict=True):
        name = f"{option}.{resource}"
        found[resource] = _quantities.parse(given[resource], name)
        if found[resource] < _quantities.parse(least, name):
            raise TenantryError(
                f"{name}: {shown(given[resource])} is too little for {what} to start; give {least} or more"
            )
    if found["memory"] % MEBI:
        raise TenantryError(
            f"{option}.memory: {shown(given['memory'])} is not a whole number of Mi; use a unit of Mi or Gi"
        )
    return Resources(**found)


def parse_volume(persistence: dict) -> Decimal | None:
    if persistence["type"] == "none":
        return None
    size = _quantities.parse(persistence["size"], "persistence.size")
    if size < _quantities.parse(SMALLEST_VOLUME, "persistence.size"):
        raise TenantryError(
            f"persistence.size: {shown(persistence['size'])} is too small; give {SMALLEST_VOLUME} or more, "
            "or type none for a virtual cluster whose data may be lost"
        )
    return size


def minimum_slice(
    server: Sequence[Resources],
    servers: int,
    agent: Resources,
    agents: int,
    volume: Decimal | None,
    etcd: Resources | None = None,
) -> Slice:
    """What servers, each of some containers and with a member of etcd if they have one, and agents take (QUO-2)."""
    own = [*server, *([etcd] if etcd else [])] * servers + [agent] * agents
    return Slice(
        cpu=sum((one.cpu for one in own), Decimal(0)),
        memory=sum((one.memory for one in own), Decimal(0)),
        storage=(volume or Decimal(0)) * servers,
        pods=servers * (2 if etcd else 1) + agents,
    )


def parse_slice(given: dict, least: Slice, required: tuple[str, ...] = ()) -> Slice:
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
