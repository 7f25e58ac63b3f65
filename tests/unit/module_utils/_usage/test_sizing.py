"""Which resources and quotas do not fit the use."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._usage import sizing
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import (
    HOUR,
    MEBI,
    TAKEN,
    UNKNOWN,
    Usage,
    vcluster_peaks,
    vcluster_sums,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import VClusterSample

from .fleet import GIB, NOW, amounts, sample, tenant, vcluster

FORTNIGHT = 14 * 24
NOW_SECONDS = int(NOW.timestamp())
# A virtual cluster and a quota that fit.
FITS = {"limited": amounts("3.3", "6.6"), "used": amounts(3, 6), "storage": Decimal(16 * GIB)}


def hours_of(*vclusters: VClusterSample, hours: int = FORTNIGHT, back: int = 0) -> list[Usage]:
    """Return the hours of virtual clusters that were like this for so long, until so many hours ago."""
    return [
        Usage(
            NOW_SECONDS - NOW_SECONDS % HOUR - HOUR * hour,
            *(one.tenant, one.name, one.cluster, one.tier),
            {
                "cpu": int(one.promised.cpu * 1000),
                "memory": int(one.promised.memory / MEBI),
                "storage": int(one.promised_storage / MEBI),
            },
            vcluster_sums(one, HOUR) | vcluster_peaks(one),
        )
        for hour in range(back, back + hours)
        for one in vclusters
    ]


def lines(hours: Iterable[Usage], *vclusters: VClusterSample, quota: int = 0, **other: object) -> list[str]:
    """Return the proposals. The quota is a multiple of 8 cores, 16 GiB and 100 GiB, or what is promised."""
    promised = {"cpu": Decimal(0), "memory": Decimal(0), "storage": Decimal(0)}
    for one in vclusters:
        promised["cpu"] += one.promised.cpu
        promised["memory"] += one.promised.memory
        promised["storage"] += one.promised_storage
    owner = tenant(scale=quota) if quota else replace(tenant(), quota=promised)
    found = sizing.propose(hours, sample(*vclusters, tenants=(owner,), **other))  # type: ignore[arg-type]
    return [f"{one.about}: {one.resource} {one.current_text} -> {one.text}" for one in found]


def test_fitting_amounts_stay() -> None:
    one = vcluster(**FITS)
    assert lines(hours_of(one), one) == []


def test_resources_are_lowered_to_the_limits_with_headroom() -> None:
    """By a fifth more, in steps of 0.25 cores, 256 MiB and 1 GiB."""
    one = vcluster(limited=amounts(2, 4), used=amounts("0.5", 1))
    assert lines(hours_of(one), one, quota=1) == [
        "payments/dev: cpu 4 -> 2500m",
        "payments/dev: memory 8Gi -> 5Gi",
        "payments/dev: storage 20Gi -> 12Gi",
        "payments, quota: cpu 8 -> 3",
        "payments, quota: memory 16Gi -> 6Gi",
        "payments, quota: storage 100Gi -> 15Gi",
    ]


def test_one_hour_of_higher_limits_keeps_the_resources() -> None:
    """A ResourceQuota rejects pods at once, so the limits count with their maximum, not with a percentile."""
    now, once = vcluster(**{**FITS, "limited": amounts(1, 2), "used": amounts(1, 2)}), vcluster(**FITS)
    assert lines([*hours_of(now, back=1), *hours_of(once, hours=1)], now) == []


def test_a_short_job_keeps_the_resources() -> None:
    """What a ResourceQuota counted once counts, not the mean of the hour."""
    one = vcluster(limited=amounts(1, 2), used=amounts("0.5", 1))
    rows = hours_of(one)
    rows[30] = replace(rows[30], sums={**rows[30].sums, "cpu_limited_peak": 3000})
    assert [line for line in lines(rows, one) if "cpu" in line] == []


def test_hour_without_known_peaks_of_limits_lowers_nothing() -> None:
    """It is of a release before. Use raises, nevertheless."""
    one, full = vcluster(limited=amounts(1, 2)), vcluster(used=amounts("3.9", 2))
    for like, expected in ((one, 0), (full, 1)):
        rows = hours_of(like)
        rows[30] = replace(rows[30], sums={**rows[30].sums, **dict.fromkeys(TAKEN, UNKNOWN)})
        assert len([line for line in lines(rows, like) if "quota" not in line]) == expected
        assert lines([*rows, rows[31], replace(rows[31], time=rows[30].time)], like) == lines(rows, like)


def test_resources_are_raised_by_the_use_not_by_the_limits() -> None:
    full = vcluster(**{**FITS, "limited": amounts(4, 8), "used": amounts("3.9", 2)})
    assert lines(hours_of(full), full) == ["payments/dev: cpu 4 -> 4750m", "payments, quota: cpu 4 -> 5750m"]


def test_a_peak_in_one_hour_of_twenty_does_not_raise() -> None:
    calm, busy = vcluster(**FITS), vcluster(**{**FITS, "used": amounts("3.9", 6)})
    assert lines([*hours_of(calm, back=10), *hours_of(busy, hours=10)], calm) == []
    assert lines([*hours_of(calm, back=30), *hours_of(busy, hours=30)], calm) != []


@pytest.mark.parametrize("used", ["0.2", "2.2", "3.9"])
@pytest.mark.parametrize("limited", ["0.3", "3.9"])
def test_applied_proposals_leave_nothing_to_propose(used: str, limited: str) -> None:
    one = vcluster(used=amounts(used, used), limited=amounts(limited, limited))
    owner = tenant()
    for _turn in range(2):
        found = sizing.propose(hours_of(one), sample(one, tenants=(owner,)))
        new = {(each.vcluster, each.resource): each.proposed for each in found}
        quota = {key: new.get((None, key), amount) for key, amount in owner.quota.items()}
        owner = replace(owner, quota=quota)
        cpu = new.get(("dev", "cpu"), one.promised.cpu)
        memory = new.get(("dev", "memory"), one.promised.memory)
        storage = new.get(("dev", "storage"), one.promised_storage)
        one = vcluster(
            promised=amounts(cpu, memory / GIB), promised_storage=storage, limited=one.limited, used=one.used
        )
        assert one.promised.cpu <= quota["cpu"], "the quota has room for what is proposed"
    assert found == []


def test_quota_keeps_room_for_virtual_clusters_that_come_and_go() -> None:
    one, gone = vcluster(**FITS), vcluster(name="review", **{**FITS, "promised": amounts(2, 4)})
    found = lines([*hours_of(one), *hours_of(gone, hours=100, back=3)], one, quota=2)
    assert "payments, quota: cpu 16 -> 7250m" in found


def test_quota_keeps_room_for_resources_that_cannot_be_edited() -> None:
    """Such as those of self-service: nothing lowers them. Raised ones need room in any case."""
    one = vcluster(limited=amounts(2, 4), used=amounts("0.5", "7.5"))

    def quota(*resources: str) -> dict[str, str]:
        found = sizing.propose(hours_of(one), sample(one), lambda change: change.resource in resources)
        return {each.resource: each.text for each in found if not each.vcluster}

    assert quota() == {"cpu": "5", "memory": "11Gi", "storage": "24Gi"}
    assert quota("cpu", "memory", "storage") == {"cpu": "3", "memory": "11Gi", "storage": "15Gi"}


def paused(one: VClusterSample) -> VClusterSample:
    """Return it as a pause leaves it, with returned resources."""
    nothing = amounts(0, 0)
    return replace(one, status="Paused", promised=amounts("0.25", 1), limited=nothing, used=nothing)


def test_paused_virtual_cluster_needs_its_resources_when_it_wakes_up() -> None:
    """So the quota stays. It is no reason to raise one that is shared by turns."""
    one = vcluster(**FITS)
    assert lines(hours_of(one), paused(one), quota=1) == lines(hours_of(one), one, quota=1)
    both = [paused(vcluster(name=name, **FITS)) for name in ("dev", "night", "weekend")]
    assert [line for line in lines(hours_of(*both), *both, quota=1) if "cpu" in line] == []


def test_virtual_cluster_that_was_deleted_while_paused_counts_with_its_resources() -> None:
    one, gone = vcluster(**FITS), vcluster(name="review", **FITS)
    rows = [*hours_of(one), *hours_of(gone, hours=3, back=200), *hours_of(paused(gone), hours=190, back=10)]
    assert "payments, quota: cpu 16 -> 9750m" in lines(rows, one, quota=2)


def test_paused_virtual_cluster_is_sized_by_its_hours_awake() -> None:
    one = vcluster(limited=amounts(2, 4), used=amounts("0.5", 1))
    assert "payments/dev: cpu 4 -> 2500m" in lines(hours_of(one), paused(one), quota=1)


def test_virtual_cluster_whose_record_cannot_be_read_stays() -> None:
    """The quota has room for the most that it had."""
    one = vcluster(limited=amounts(2, 4), used=amounts("0.5", 1))
    unreadable = replace(paused(one), resources=None)
    assert lines(hours_of(one), unreadable, quota=1) == [
        "payments, quota: cpu 8 -> 5",
        "payments, quota: memory 16Gi -> 9984Mi",
        "payments, quota: storage 100Gi -> 24Gi",
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"mode": "dedicated"},
        {"status": "Paused"},
        {"used": None},
        {"created": NOW - timedelta(hours=12)},
        {"promised": amounts(0, 0), "promised_storage": Decimal(0)},
    ],
)
def test_nothing_is_proposed_without_knowledge(change: dict) -> None:
    one = vcluster(**change)
    assert lines(hours_of(one), one) == []


def test_less_than_a_week_is_not_enough() -> None:
    one = vcluster(limited=amounts(1, 2))
    assert lines(hours_of(one, hours=7 * 24), one, quota=3) == []
    assert lines(hours_of(one, hours=7 * 24 + 1), one, quota=3) != []


def test_five_minutes_of_an_hour_are_no_hour() -> None:
    """Two samples a day count for five minutes each."""
    one = vcluster(limited=amounts(1, 2))
    rows = [
        replace(row, sums={**row.sums, "seconds": seconds, "measured": seconds})
        for seconds in (300, HOUR)
        for row in hours_of(one)[::12]
    ]
    few, enough = rows[:28], rows[28:]
    assert len(few) == 28
    assert lines(few, one, quota=3) == []
    assert len(lines(enough, one, quota=3)) == 6


def test_quota_waits_for_a_cluster_that_does_not_answer() -> None:
    one, silent = vcluster(**FITS), vcluster(name="lab", cluster="edge", **FITS)
    hours = hours_of(one, silent)
    assert lines(hours, one, quota=3, missing={"edge": "no answer"}) == []
    assert lines(hours, one, quota=3) != []


def test_hour_in_which_the_resources_changed_is_one_hour() -> None:
    """It has a row in the history for both."""
    one = vcluster(limited=amounts(2, 4), used=amounts("0.5", 1))
    larger = replace(one, promised=amounts(6, 12), used=amounts("1.9", 1))
    rows = [*hours_of(one), *hours_of(larger, hours=40)]
    assert lines(rows, one) == [line for line in lines(hours_of(one), one) if "quota" not in line] + [
        line for line in lines(rows, one) if "quota" in line
    ]
    assert "payments/dev: cpu 4 -> 2500m" in lines(rows, one)
