"""Prices: which one counts, and which are no prices."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import parse_prices


def test_most_specific_price_counts() -> None:
    prices = parse_prices(
        {
            "currency": "USD",
            "cpu_hour": 0.03,
            "gpu_hour": "1.5",
            "tiers": {"prod": {"cpu_hour": 0.04}},
            "clusters": {"edge": {"cpu_hour": 0.05, "tiers": {"prod": {"cpu_hour": 0.06}}}},
        }
    )
    found = [prices.of("cpu_hour", *where) for where in (("hub", "dev"), ("hub", "prod"), ("edge", "dev"))]
    assert found == [Fraction(3, 100), Fraction(4, 100), Fraction(5, 100)]
    assert prices.of("cpu_hour", "edge", "prod") == Fraction(6, 100)
    assert prices.of("gpu_hour", "edge", "prod") == Fraction(3, 2)
    assert (prices.of("storage_gib_month", "hub"), prices.currency, prices.given) == (0, "USD", True)


@pytest.mark.parametrize("price", [1e-05, "1e-05", "1e-5", "0.00001"])
def test_small_price_as_python_writes_it(price: Any) -> None:
    assert parse_prices({"gpu_hour": price}).of("gpu_hour", "hub") == Fraction(1, 100000)


@pytest.mark.parametrize("given", [None, {}, {"currency": "EUR"}, {"cpu_hour": None}])
def test_no_price_is_no_error(given: Any) -> None:
    assert not parse_prices(given).given


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"cpu_hours": 1}, r'prices: "cpu_hours" is not a price \(did you mean cpu_hour\?\)'),
        ({"cpu_hour": -1}, "prices.cpu_hour: -1 is not a price"),
        ({"cpu_hour": True}, "prices.cpu_hour: true is not a price"),
        ({"cpu_hour": "1e9"}, 'prices.cpu_hour: "1e9" is not a price'),
        ({"currency": "Euro"}, 'prices.currency: "Euro" is not a code of ISO 4217'),
        ({"tiers": {"prod": 3}}, "prices.tiers: .* is not a dictionary"),
        ({"tiers": {"prod": {"control_plane_hour": 3}}}, 'prices.tiers.prod: "control_plane_hour" is not a price'),
        ({"cpu_hour": "1e-10"}, 'prices.cpu_hour: "1e-10" is not a price'),
        ({"tiers": {"Prod": {}}}, r'prices.tiers: "Prod" is not a tier \(did you mean prod\?\). Use dev, prod'),
        ({"clusters": {"edge": {"tiers": {"test": {}}}}}, 'prices.clusters.edge.tiers: "test" is not a tier. Use dev'),
        ({"clusters": {"edge": {"tiers": {"prod": {"x": 3}}}}}, 'prices.clusters.edge.tiers.prod: "x" is not a price'),
    ],
)
def test_what_is_no_price_is_refused(given: Any, error: str) -> None:
    with pytest.raises(TenantryError, match=error):
        parse_prices(given)
