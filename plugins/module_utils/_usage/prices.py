# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Prices of resources, by cluster of the fleet and by tier. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import did_you_mean
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import TIERS

HOURS_OF_MONTH = 730
# A price, by which sum of the history it is multiplied, and how many of that sum are one unit of the price.
PRICED = {
    "cpu_hour": ("cpu_allocated", 1000 * 3600),
    "memory_gib_hour": ("memory_allocated", 1024 * 3600),
    "storage_gib_month": ("storage", 1024 * 3600 * HOURS_OF_MONTH),
    "gpu_hour": ("gpus", 3600),
}
CONTROL_PLANE = "control_plane_hour"
OPTIONS = (*PRICED, CONTROL_PLANE)
# Small floats become text such as 1e-05.
_NUMBER = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?(e-0?[1-9])?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)


@dataclass(frozen=True)
class Prices:
    """Prices as given. The most specific one counts: cluster and tier, cluster, tier, all."""

    currency: str = "EUR"
    general: Mapping[str, Fraction] = field(default_factory=dict)
    of_tier: Mapping[str, Mapping[str, Fraction]] = field(default_factory=dict)
    of_cluster: Mapping[str, Mapping[str, Fraction]] = field(default_factory=dict)
    of_both: Mapping[tuple[str, str], Mapping[str, Fraction]] = field(default_factory=dict)

    @property
    def given(self) -> bool:
        """Whether there is any price."""
        return any((self.general, self.of_tier, self.of_cluster, self.of_both))

    def of(self, option: str, cluster: str, tier: str = "") -> Fraction:
        """Return the price of a resource on that cluster, or 0."""
        levels = (self.of_both.get((cluster, tier)), self.of_cluster.get(cluster), self.of_tier.get(tier), self.general)
        return next((level[option] for level in levels if level and option in level), Fraction(0))


def parse_prices(given: Mapping[str, Any] | None) -> Prices:
    """Validate the option prices. Raise a TenantryError."""
    given = dict(given or {})
    currency = given.pop("currency", "EUR")
    if not isinstance(currency, str) or not _CURRENCY.fullmatch(currency):
        raise TenantryError(f"prices.currency: {shown(currency)} is not a code of ISO 4217. Use one such as EUR")
    tiers = _tiers(given.pop("tiers", None), "prices.tiers")
    clusters = _sections(given.pop("clusters", None), "prices.clusters")
    of_both = {}
    for cluster, section in clusters.items():
        where = f"prices.clusters.{cluster}.tiers"
        for tier, prices in _tiers(section.pop("tiers", None), where).items():
            of_both[cluster, tier] = _level(prices, f"{where}.{tier}", priced=tuple(PRICED))
    return Prices(
        currency,
        _level(given, "prices"),
        {tier: _level(prices, f"prices.tiers.{tier}", priced=tuple(PRICED)) for tier, prices in tiers.items()},
        {cluster: _level(prices, f"prices.clusters.{cluster}") for cluster, prices in clusters.items()},
        of_both,
    )


def _sections(given: object, field_name: str) -> dict[str, dict[str, Any]]:
    if given is None:
        return {}
    if not isinstance(given, Mapping) or not all(isinstance(one, Mapping) for one in given.values()):
        raise TenantryError(f"{field_name}: {shown(given)} is not a dictionary of prices by name")
    return {str(name): dict(prices) for name, prices in given.items()}


def _tiers(given: object, field_name: str) -> dict[str, dict[str, Any]]:
    found = _sections(given, field_name)
    for tier in found:
        if tier not in TIERS:
            raise TenantryError(
                f"{field_name}: {shown(tier)} is not a tier{did_you_mean(tier, TIERS)}. Use {', '.join(TIERS)}"
            )
    return found


def _level(given: Mapping[str, Any], field_name: str, priced: tuple[str, ...] = OPTIONS) -> dict[str, Fraction]:
    for option in given:
        if option not in priced:
            raise TenantryError(
                f"{field_name}: {shown(option)} is not a price{did_you_mean(option, priced)}. Use {', '.join(priced)}"
            )
    return {option: _price(value, f"{field_name}.{option}") for option, value in given.items() if value is not None}


def _price(value: object, field_name: str) -> Fraction:
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        raise TenantryError(f"{field_name}: {shown(value)} is not a price. Use a number such as 0.031")
    return Fraction(str(value))
