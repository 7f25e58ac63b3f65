"""The cost of all tenants and what is idle is the cost of the fleet, to the cent, whatever is sampled."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._usage.costs import (
    IDLE,
    Charge,
    apportion,
    charges,
    rounded,
    total,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import History, open_history
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Sample
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import CONTROL_PLANE, PRICED, parse_prices
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .fleet import GIB, NOW, amounts, host, sample, vcluster

KEPT = timedelta(days=1100)
CPU = parse_prices({"cpu_hour": "0.10"})
# Nothing here depends on how long a run takes, and examples on disk are of no use.
STEADY = settings(
    max_examples=60, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)

_price = st.decimals(0, 99, places=4, allow_nan=False).map(str)
_level = st.fixed_dictionaries({}, optional=dict.fromkeys(PRICED, _price))
_cores = st.decimals(0, 40, places=3, allow_nan=False)


def _prices() -> st.SearchStrategy[dict[str, Any]]:
    fee = st.fixed_dictionaries({}, optional={**dict.fromkeys(PRICED, _price), CONTROL_PLANE: _price})
    both = st.builds(lambda one, tiers: {**one, "tiers": tiers}, fee, st.dictionaries(_tier, _level, max_size=2))
    sections = {
        "tiers": st.dictionaries(_tier, _level, max_size=2),
        "clusters": st.dictionaries(_host, both, max_size=2),
    }
    return st.builds(lambda one, more: {**one, **more}, fee, st.fixed_dictionaries({}, optional=sections))


_tier, _host = st.sampled_from(["dev", "prod"]), st.sampled_from(["hub", "edge"])


@st.composite
def _samples(draw: st.DrawFn) -> list[Sample]:
    """Samples at growing and shrinking times, of hosts that are sometimes too small for what they run."""
    found, time = [], NOW
    for _number in range(draw(st.integers(1, 6))):
        time += timedelta(seconds=draw(st.integers(-900, 9000)))
        ones = {}
        for _one in range(draw(st.integers(0, 5))):
            key = draw(st.sampled_from(["a", "b", "c"])), draw(st.sampled_from(["x", "y"])), draw(_host)
            ones[key] = vcluster(
                *key,
                tier=draw(_tier),
                requested=amounts(str(draw(_cores)), str(draw(_cores))),
                used=None if draw(st.booleans()) else amounts(str(draw(_cores)), str(draw(_cores))),
                storage=Decimal(draw(st.integers(0, 10**13))),
                extended={"nvidia.com/gpu": Decimal(draw(st.integers(0, 4)))},
                created=NOW + timedelta(seconds=draw(st.integers(-900, 900))),
            )
        hosts = [host(name, gpus=Decimal(2)) for name in ("hub", "edge") if draw(st.booleans())]
        found.append(sample(*ones.values(), time=time, clusters=tuple(hosts) or (host(),)))
    return found


def _fleet_cost(history: History, table: str, prices: Any) -> Fraction:
    """
    The cost of the fleet by another way: capacity (or what is allocated beyond it) at the cluster's prices, storage,
    fees, and the difference to the tiers' prices.
    """
    found = Fraction(0)
    allocated: dict[Any, int] = defaultdict(int)
    for one in history.vclusters(table, 0):
        for option, (column, unit) in PRICED.items():
            allocated[one.time, one.cluster, option] += one.sums[column]
            extra = prices.of(option, one.cluster, one.tier) - prices.of(option, one.cluster)
            found += extra * Fraction(one.sums[column], unit)
            if option == "storage_gib_month":
                found += prices.of(option, one.cluster) * Fraction(one.sums[column], unit)
    for whole in history.clusters(table, 0):
        found += prices.of(CONTROL_PLANE, whole.cluster) * Fraction(whole.sums["seconds"], 3600)
        for option, column in (("cpu_hour", "cpu"), ("memory_gib_hour", "memory"), ("gpu_hour", "gpus")):
            busy = allocated[whole.time, whole.cluster, option]
            # The idle part was counted hour by hour; that none is lost is tested for hours.
            amount = (
                max(whole.sums[f"{column}_capacity"], busy) if table == "hour" else busy + whole.sums[f"{column}_idle"]
            )
            found += prices.of(option, whole.cluster) * Fraction(amount, PRICED[option][1])
    return found


@STEADY
@given(samples=_samples(), given_prices=_prices())
def test_tenants_and_idle_cost_what_the_fleet_costs(
    tmp_path_factory: Any, samples: list[Sample], given_prices: dict
) -> None:
    prices = parse_prices(given_prices)
    path: Path = tmp_path_factory.mktemp("history") / "history.sqlite"
    with open_history(path, writable=True) as history:
        for one in samples:
            history.add(one, KEPT)
        found = {
            table: charges(history.vclusters(table, 0), history.clusters(table, 0), prices) for table in ("hour", "day")
        }
        fleet = {table: _fleet_cost(history, table, prices) for table in found}
        assert total(found["day"]) == fleet["day"]
        assert fleet["hour"] <= total(found["hour"]), "an hour's idle time is that of its samples"
    assert total(found["hour"]) == total(found["day"]), "the roll-ups agree"
    for of_table in found.values():
        assert all(one.cost >= 0 for one in of_table)
        parts: dict[str, Fraction] = defaultdict(Fraction)
        for charge in of_table:
            parts[charge.tenant] += charge.cost
        assert sum(apportion(parts).values(), Decimal(0)) == rounded(total(of_table))


def _charged(tmp_path: Path, *samples: Sample, prices: Any = CPU) -> list[Charge]:
    with open_history(tmp_path / "history.sqlite", writable=True) as history:
        for one in samples:
            history.add(one, KEPT)
        return charges(history.vclusters("day", 0), history.clusters("day", 0), prices)


def test_cost_is_quantity_times_price(tmp_path: Path) -> None:
    hour = timedelta(hours=1)
    found = _charged(tmp_path, sample(time=NOW, clusters=(host(),)), sample(vcluster(), time=NOW + hour))
    mine = [one for one in found if one.tenant == "payments"]
    assert [(one.option, one.quantity, one.cost) for one in mine] == [("cpu_hour", 2, Fraction(1, 5))]
    assert total(found) == Fraction(16 * 65, 600), "16 cores for 65 minutes"
    assert total(one for one in found if one.tenant == IDLE) == total(found) - Fraction(1, 5)


def test_storage_costs_by_the_month(tmp_path: Path) -> None:
    prices = parse_prices({"storage_gib_month": 1})
    (one,) = _charged(tmp_path, sample(vcluster(storage=Decimal(730 * 12 * GIB))), prices=prices)
    assert one.cost == 1, "730 * 12 GiB for five minutes are a GiB for a month"


def test_control_plane_is_shared_by_time(tmp_path: Path) -> None:
    prices = parse_prices({CONTROL_PLANE: 12})
    half = vcluster(name="new", created=NOW - timedelta(minutes=2, seconds=30))
    found = _charged(tmp_path, sample(vcluster(), half), prices=prices)
    assert {one.name: one.cost for one in found} == {"dev": Fraction(2, 3), "new": Fraction(1, 3)}


def test_control_plane_without_virtual_clusters_is_idle(tmp_path: Path) -> None:
    (one,) = _charged(tmp_path, sample(), prices=parse_prices({CONTROL_PLANE: 12}))
    assert (one.tenant, one.cost) == (IDLE, 1)


_part = st.fractions(0, 1000, max_denominator=9973)


@STEADY
@given(parts=st.dictionaries(st.text(max_size=3), _part, min_size=1, max_size=30), places=st.integers(0, 6))
def test_apportioned_parts_add_up_and_are_near(parts: dict[str, Fraction], places: int) -> None:
    found = apportion(parts, places=places)
    assert sum(found.values()) == rounded(sum(parts.values(), Fraction(0)), places)
    unit = Fraction(1, 10**places)
    assert all(abs(Fraction(found[key]) - part) < unit for key, part in parts.items())


def test_apportion_to_a_given_whole() -> None:
    thirds = dict.fromkeys("abc", Fraction(1, 3))
    assert apportion(thirds, Decimal("1.01")) == {"a": Decimal("0.34"), "b": Decimal("0.34"), "c": Decimal("0.33")}
    assert apportion(thirds, Decimal("0.98")) == {"a": Decimal("0.33"), "b": Decimal("0.33"), "c": Decimal("0.32")}
    assert apportion({}) == {}
