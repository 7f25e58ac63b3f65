"""Samples of a fleet, without any cluster."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import (
    Amounts,
    ClusterSample,
    Sample,
    TenantSample,
    VClusterSample,
)

NOW = datetime(2026, 11, 30, 9, 2, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=365)
GIB = 1024**3


def amounts(cpu: float | str, gib: float | str) -> Amounts:
    return Amounts(Decimal(str(cpu)), Decimal(str(gib)) * GIB)


def vcluster(tenant: str = "payments", name: str = "dev", cluster: str = "hub", **other: Any) -> VClusterSample:
    """A virtual cluster of 4 cores and 8 GiB, which requests half of it and uses a quarter."""
    usual: dict[str, Any] = {
        "tier": "dev",
        "mode": "shared",
        "status": "Ready",
        "created": LONG_AGO,
        "promised": amounts(4, 8),
        "requested": amounts(2, 4),
        "limited": amounts(3, 6),
        "used": amounts(1, 2),
        "promised_storage": Decimal(20 * GIB),
        "storage": Decimal(10 * GIB),
        "pods": Decimal(7),
        "version": "v1.37.2+k3s1",
    }
    known = {**usual, **other}
    own = {"cpu": known["promised"].cpu, "memory": known["promised"].memory, "storage": known["promised_storage"]}
    return VClusterSample(tenant=tenant, name=name, cluster=cluster, **{"resources": own, **known})


def host(name: str = "hub", **other: Any) -> ClusterSample:
    """A cluster of 16 cores and 64 GiB."""
    usual: dict[str, Any] = {
        "version": "v1.37.2+k3s1",
        "nodes": 2,
        "capacity": amounts(16, 64),
        "allocatable": amounts("15.5", 62),
        "used": amounts(3, 12),
    }
    return ClusterSample(name=name, **{**usual, **other})


def tenant(
    name: str = "payments", display_name: str = "Payments", scale: int = 1, created: datetime = LONG_AGO
) -> TenantSample:
    quota = {"cpu": 8, "memory": 16 * GIB, "storage": 100 * GIB, "pods": 100, "vclusters": 5}
    return TenantSample(name, display_name, {key: Decimal(value * scale) for key, value in quota.items()}, created)


def sample(
    *vclusters: VClusterSample,
    time: datetime = NOW,
    clusters: tuple[ClusterSample, ...] | None = None,
    tenants: tuple[TenantSample, ...] | None = None,
    missing: dict[str, str] | None = None,
) -> Sample:
    known = tenants or tuple(tenant(one) for one in sorted({one.tenant for one in vclusters} or {"payments"}))
    return Sample(time, clusters or (host(),), vclusters, known, missing or {})


def simulated(tenants: int, vclusters: int, members: int = 3, seed: int = 1) -> Iterator[Sample]:
    """Yield samples of a fleet forever, one every hour, whose use follows the day and the week."""
    chance = random.Random(seed)
    names = [f"team-{number:03}" for number in range(tenants)]
    clusters = ["hub", *(f"edge-{number}" for number in range(1, members))]
    fixed = [
        (
            names[number % tenants],
            f"{chance.choice(['dev', 'test', 'stage', 'prod', 'ci', 'demo'])}-{number // tenants}",
            clusters[number % members],
            chance.choice(["dev", "prod"]),
            chance.choice([2, 4, 8, 16]),
            chance.uniform(0.3, 0.9),
            chance.uniform(0.05, 0.9),
        )
        for number in range(vclusters)
    ]
    capacity = vclusters * 6 / members
    time = NOW
    while True:
        day = 0.6 if time.weekday() > 4 else 1.0
        load = day * (0.7 + 0.3 * (1 - abs(13 - time.hour) / 13))
        found = [_simulated(one, time, load * chance.uniform(0.8, 1.1), chance) for one in fixed]
        hosts = tuple(
            host(
                name,
                nodes=40,
                capacity=amounts(capacity, capacity * 4),
                allocatable=amounts(capacity * 0.97, capacity * 3.9),
                used=_used_on(name, found),
            )
            for name in clusters
        )
        yield Sample(time, hosts, tuple(found), tuple(tenant(name, name.title(), scale=6) for name in names))
        time += timedelta(hours=1)


def _used_on(name: str, found: list[VClusterSample]) -> Amounts:
    total = Amounts(Decimal(2), Decimal(4 * GIB))  # the host's own pods
    for one in found:
        total = total.plus(one.used or Amounts()) if one.cluster == name else total
    return total


def _simulated(
    one: tuple[str, str, str, str, int, float, float], time: datetime, load: float, chance: random.Random
) -> VClusterSample:
    owner, name, cluster, tier, cores, requested, used = one
    paused = tier == "dev" and used < 0.2 and not 6 < time.hour < 20
    share = 0 if paused else requested
    return vcluster(
        owner,
        name,
        cluster,
        tier=tier,
        status="Paused" if paused else "Ready",
        promised=amounts(cores, cores * 3),
        requested=amounts(round(cores * share, 3), round(cores * share * 3, 2)),
        limited=amounts(round(cores * share, 3), round(cores * share * 3, 2)),
        used=amounts(round(cores * share * used * load, 3), round(cores * share * 3 * used, 2)),
        expires=time + timedelta(days=chance.choice([1, 20, 300])),
        snapshot=time - timedelta(hours=chance.choice([3, 9, 200])),
    )
