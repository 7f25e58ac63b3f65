# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the fleet costs, and who causes it. Pure, and exact: the parts add up to the whole.

The cost of the fleet is the cost of its capacity, of storage and of control planes. What virtual clusters allocate is
theirs, at the prices of their cluster and tier. The rest of the capacity is idle. The fee of a control plane is shared
by the virtual clusters of a cluster, in proportion to the time they existed on a day.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import TypeVar

from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import ClusterUsage, Usage
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import CONTROL_PLANE, PRICED, Prices

# The tenant of what no tenant allocates, as OpenCost names it. No tenant can have the name.
IDLE = "__idle__"
_IDLE_SUMS = {"cpu_hour": "cpu_idle", "memory_gib_hour": "memory_idle", "gpu_hour": "gpus_idle"}
Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Charge:
    """The cost of one resource for one virtual cluster, or idle, in one hour or day."""

    time: int
    tenant: str
    name: str
    cluster: str
    tier: str
    option: str  # its price
    quantity: Fraction  # in the unit of the price
    price: Fraction

    @property
    def cost(self) -> Fraction:
        return self.quantity * self.price


def charges(used: Iterable[Usage], provided: Iterable[ClusterUsage], prices: Prices) -> list[Charge]:
    """Return the charges of all virtual clusters, and of what is idle. Their sum is the cost of the fleet."""
    found: list[Charge] = []
    seconds: dict[tuple[int, str], list[Usage]] = defaultdict(list)
    for one in used:
        seconds[one.time, one.cluster].append(one)
        for option, (column, unit) in PRICED.items():
            price = prices.of(option, one.cluster, one.tier)
            if one.sums[column] and price:
                quantity = Fraction(one.sums[column], unit)
                found.append(Charge(one.time, one.tenant, one.name, one.cluster, one.tier, option, quantity, price))
    for whole in provided:
        for option, column in _IDLE_SUMS.items():
            price = prices.of(option, whole.cluster)
            if whole.sums[column] and price:
                quantity = Fraction(whole.sums[column], PRICED[option][1])
                found.append(Charge(whole.time, IDLE, "", whole.cluster, "", option, quantity, price))
        found += _control_plane(whole, seconds[whole.time, whole.cluster], prices.of(CONTROL_PLANE, whole.cluster))
    return found


def _control_plane(whole: ClusterUsage, present: Sequence[Usage], price: Fraction) -> list[Charge]:
    """Share the fee of a cluster's control plane. Nobody is there: it is idle."""
    hours, all_seconds = Fraction(whole.sums["seconds"], 3600), sum(one.sums["seconds"] for one in present)
    if not price or not hours:
        return []
    if not all_seconds:
        return [Charge(whole.time, IDLE, "", whole.cluster, "", CONTROL_PLANE, hours, price)]
    return [
        Charge(one.time, one.tenant, one.name, one.cluster, one.tier, CONTROL_PLANE, share, price)
        for one in present
        if (share := hours * one.sums["seconds"] / all_seconds)
    ]


def total(found: Iterable[Charge]) -> Fraction:
    return sum((one.cost for one in found), Fraction(0))


def rounded(amount: Fraction, places: int = 2) -> Decimal:
    """Return the amount with so many decimals, half up."""
    scaled = amount * 10**places
    return Decimal((2 * scaled.numerator + scaled.denominator) // (2 * scaled.denominator)).scaleb(-places)


def apportion(parts: Mapping[Key, Fraction], whole: Decimal | None = None, places: int = 2) -> dict[Key, Decimal]:
    """Round the parts so that they add up to the rounded whole, by the largest remainders.

    `whole` is given if the parts are those of something that was rounded already.
    """
    if whole is None:
        whole = rounded(sum(parts.values(), Fraction(0)), places)
    floors = {key: (part * 10**places) // 1 for key, part in parts.items()}
    left = int(whole.scaleb(places)) - sum(floors.values())
    by_remainder = sorted(parts, key=lambda key: (floors[key] - parts[key] * 10**places, str(key)))
    for index in range(abs(left) if by_remainder else 0):
        one = by_remainder[index % len(parts)] if left > 0 else by_remainder[-1 - index % len(parts)]
        floors[one] += 1 if left > 0 else -1
    return {key: Decimal(floor).scaleb(-places) for key, floor in floors.items()}
