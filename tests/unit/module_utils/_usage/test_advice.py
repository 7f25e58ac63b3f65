"""What needs attention, and which requests are larger than the use."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._usage import advice
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import VClusterSample
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import parse_prices

from .fleet import GIB, NOW, amounts, host, sample, vcluster
from .test_report import PRICES, history_of

DAY = timedelta(days=1)


def lines(*vclusters: VClusterSample, **other: Any) -> list[str]:
    return [f"{one.level} {one.about} {one.text}" for one in advice.attention(sample(*vclusters, **other))]


def test_a_quiet_fleet_needs_nothing() -> None:
    assert lines(vcluster()) == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"status": "NotReady", "message": "no server"}, "critical payments/dev is not ready: no server"),
        ({"expires": NOW + DAY}, "warning payments/dev expires at 2026-12-01T09:02:00Z"),
        ({"expires": NOW - DAY}, "warning payments/dev expired at 2026-11-29T09:02:00Z"),
        (
            {"certificates_valid_until": NOW + 20 * DAY},
            "warning payments/dev its certificates are valid until 2026-12-20T09:02:00Z at least",
        ),
        (
            {"limited": amounts(4, 1)},
            "warning payments/dev its pods take all of its cpu, so that new ones are rejected",
        ),
        ({"tier": "prod"}, "warning payments/dev it has no snapshot on record"),
        (
            {"tier": "prod", "snapshot": NOW - 8 * DAY},
            "warning payments/dev its newest snapshot is of 2026-11-22T09:02:00Z",
        ),
        ({"idle_since": NOW - 15 * DAY}, "note payments/dev is unused since 2026-11-15T09:02:00Z"),
        ({"promised": amounts(7, 8)}, "note payments has allocated 87 % of its quota of cpu"),
        ({"promised": amounts(9, 8)}, "warning payments exceeds its quota of cpu: 112 % of it are allocated"),
    ],
)
def test_each_finding(change: dict[str, Any], line: str) -> None:
    assert lines(vcluster(**change)) == [line]


@pytest.mark.parametrize(
    "change",
    [
        {"tier": "prod", "external_datastore": True},
        {"expires": NOW + 4 * DAY},
        {"certificates_valid_until": NOW + 22 * DAY},
        {"limited": amounts(4, 8), "mode": "dedicated"},
        {"tier": "prod", "snapshot": NOW - 6 * DAY},
        {"idle_since": NOW - 15 * DAY, "status": "Paused"},
    ],
)
def test_what_is_fine_is_not_reported(change: dict[str, Any]) -> None:
    assert lines(vcluster(**change)) == []


def test_findings_of_the_fleet_come_by_urgency() -> None:
    full = host("full", allocatable=amounts(2, 100))
    tired = host("tired", credential_expires=NOW + 13 * DAY)
    dumb = host("dumb", used=None, unmeasured="no metrics API")
    found = lines(vcluster(cluster="full"), clusters=(full, tired, dumb), missing={"lost": "no answer"})
    assert found == [
        "critical lost does not answer: no answer",
        "warning dumb reports no use: no metrics API",
        "warning full virtual clusters allocate 100 % of its cpu",
        "warning tired the platform's credential expires at 2026-12-13T09:02:00Z",
    ]


def test_waste_is_what_is_requested_beyond_the_peaks(tmp_path: Path) -> None:
    fits = vcluster("research", "lab", used=amounts("1.8", "3.5"))
    last, past = history_of(tmp_path, vcluster(used=amounts("0.5", 3)), fits, hours=30)
    (found,) = advice.waste(past.hours, last, PRICES)
    assert found.one.name == "dev"
    assert found.peak == amounts("0.5", 3)
    # A fifth more than the peaks, in steps of 0.05 cores and 64 MiB.
    assert found.proposed.cpu == Decimal("0.6")
    assert found.proposed.memory == Decimal(58 * 64 * 1024**2)
    assert found.monthly_cost == Decimal("1.4") * 73
    assert found.unused.memory == 4 * GIB - found.proposed.memory


def test_waste_leaves_what_the_platforms_own_pods_request(tmp_path: Path) -> None:
    """Nobody can lower the requests of a control plane."""
    most = vcluster(platform=amounts("1.5", 4), used=amounts("0.5", 1))
    every = vcluster(name="alone", platform=amounts(2, 4), used=amounts("0.1", 1))
    last, past = history_of(tmp_path, most, every, hours=30)
    (found,) = advice.waste(past.hours, last, PRICES)
    assert (found.one.name, found.proposed) == ("dev", amounts("1.5", 4))
    assert found.monthly_cost == Decimal("0.5") * 73


def test_waste_is_ranked_by_cost_or_by_size(tmp_path: Path) -> None:
    small = vcluster(name="small", used=amounts("1.5", 4))
    large = vcluster(name="large", used=amounts("0.1", 4))
    last, past = history_of(tmp_path, small, large, hours=30)
    for prices in (PRICES, parse_prices(None)):
        assert [one.one.name for one in advice.waste(past.hours, last, prices)] == ["large", "small"]


@pytest.mark.parametrize("change", [{"used": None}, {"status": "Paused"}])
def test_waste_needs_measured_hours(tmp_path: Path, change: dict[str, Any]) -> None:
    last, past = history_of(tmp_path, vcluster(**change), hours=30)
    assert advice.waste(past.hours, last, PRICES) == []


def test_waste_needs_a_day(tmp_path: Path) -> None:
    last, past = history_of(tmp_path, vcluster(), hours=20)
    assert advice.waste(past.hours, last, PRICES) == []


def test_p95_by_nearest_rank() -> None:
    assert advice.p95(list(range(1, 101))) == 95
    assert advice.p95([7]) == 7
    assert advice.p95([1] * 19 + [9]) == 1
