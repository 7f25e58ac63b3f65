# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Sum up a tenant's virtual clusters over the fleet, and compare the sum with the quota. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.resource_names import in_order


@dataclass(frozen=True)
class Wanted:
    """What a virtual cluster is to have of its tenant's quota."""

    tenant: str
    namespace: str
    resources: Mapping[str, str]


def total(resources: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return the sum of these resources as quantities, with `vclusters`, their number."""
    resources = list(resources)
    names = in_order(name for part in resources for name in part)
    sums = {key: quantities.add("0", *(part.get(key, "0") for part in resources)) for key in names}
    return {**sums, "vclusters": str(len(resources))}


def larger(one: Mapping[str, str], other: Mapping[str, str]) -> dict[str, str]:
    """Return the larger amount of each resource."""
    pairs = {key: (one.get(key, "0"), other.get(key, "0")) for key in in_order({*one, *other})}
    return {key: max(pair, key=lambda amount: quantities.parse(amount, "resources")) for key, pair in pairs.items()}


def fits(asked: Mapping[str, str], given: Mapping[str, str], names: Iterable[str] | None = None) -> bool:
    """Return whether `asked` is at most `given` in each resource, or in those of these names."""
    return all(fits_in(asked.get(key, "0"), given.get(key, "0")) for key in (asked if names is None else names))


def fits_in(amount: str, limit: str) -> bool:
    return quantities.parse(amount, "resources") <= quantities.parse(limit, "resources")


def check(tenant: str, quota: Mapping[str, str], others: Mapping[str, str], asked: Mapping[str, str]) -> None:
    """Raise a TenantryError if the quota has no room.

    `others` is the use of the tenant's other virtual clusters, `asked` the sum of those in question. What the quota
    does not name is not limited.
    """
    amounts = ((key, quota[key], others.get(key, "0"), asked.get(key, "0")) for key in in_order(quota))
    lacking = [line for one in amounts if (line := _lack(*one))]
    if lacking:
        raise TenantryError(
            f"quota of tenant {tenant}: {'; '.join(lacking)}. Reduce the resources, pause or delete virtual "
            "clusters, or raise the quota with tenantry.kube.tenant_quota"
        )


def _lack(key: str, limit: str, others: str, asked: str) -> str:
    have, use, want = (quantities.parse(value, key) for value in (limit, others, asked))
    if use + want <= have:
        return ""
    left = quantities.display(max(have - use, have - have), binary=limit.endswith("i"))
    return f"{key} {asked} asked for, but {left} left ({others} of {limit} used by other virtual clusters)"
