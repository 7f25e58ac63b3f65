"""The report: what it says of a fleet whose history is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._usage import page, report
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import open_history
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Sample, VClusterSample
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import parse_prices
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import Calendar, Past

from .fleet import NOW, amounts, host, sample, tenant, vcluster

PRICES = parse_prices({"cpu_hour": "0.10"})
HOURS = 24 * 21


def history_of(tmp_path: Path, *vclusters: VClusterSample, hours: int = HOURS, **other: Any) -> tuple[Sample, Past]:
    """Return a sample, and the past of a fleet that was like it for so many hours."""
    found = vclusters or (vcluster(), vcluster("research", "lab"))
    with open_history(tmp_path / "history.sqlite", writable=True) as history:
        for back in reversed(range(hours)):
            last = sample(*found, time=NOW - timedelta(hours=back), **other)
            history.add(last, timedelta(days=1100))
        since = Calendar.at(NOW).since
        days, of_clusters = list(history.vclusters("day", since)), list(history.clusters("day", since))
        return last, Past(days, of_clusters, list(history.vclusters("hour", 0)))


def test_costs_of_the_month_add_up(tmp_path: Path) -> None:
    found = report.build(*history_of(tmp_path), PRICES)
    cost = found["cost"]
    parts = [Decimal(one["cost"]["month_to_date"]) for one in found["tenants"]]
    assert sum(parts) + Decimal(cost["idle"]) == Decimal(cost["month_to_date"])
    assert sum(parts) == Decimal(cost["tenants"])
    assert sum(Decimal(one["cost"]["month_to_date"]) for one in found["clusters"]) == Decimal(cost["month_to_date"])
    assert sum(Decimal(one["month_to_date"]) for one in found["vclusters"]) == Decimal(cost["tenants"])
    # 16 cores at 0.10 for 503 hours and the five minutes before them.
    assert cost["month_to_date"] == "804.93"


def test_forecast_and_trend(tmp_path: Path) -> None:
    """Each tenant has 2 cores at 0.10: 0.20 an hour. The month is over in 14:58 hours."""
    mine = report.build(*history_of(tmp_path), PRICES)["tenants"][0]["cost"]
    so_far = Decimal("0.20") * (HOURS - 1) + Decimal("0.20") * 5 / 60
    assert Decimal(mine["month_to_date"]) == round(so_far, 2)
    assert abs(Decimal(mine["forecast"]) - so_far - Decimal("0.20") * (15 - Decimal(2) / 60)) < Decimal("0.02")
    assert mine["trend"] == 0
    assert mine["last_month"] == "0.00"
    assert mine["days"][-2] == 4.8


def test_days_without_samples_are_gaps(tmp_path: Path) -> None:
    found = report.build(*history_of(tmp_path, hours=30), PRICES)
    mine = found["tenants"][0]
    assert mine["days"]["cpu_used"][-4:] == [None, None, 1.0, 1.0]
    assert mine["cost"]["days"][-3] is None
    assert found["coverage"] == {"hub": round((29 + 5 / 60) / (29 * 24 + 9 + 2 / 60), 4)}
    assert found["days"][-1] == "2026-11-30"


def test_use_that_is_not_measured_is_unknown(tmp_path: Path) -> None:
    gap = {"clusters": (host(used=None, unmeasured="no metrics API"),)}
    found = report.build(*history_of(tmp_path, vcluster(used=None), hours=3, **gap), PRICES)
    assert found["tenants"][0]["used"] is None
    assert found["tenants"][0]["days"]["cpu_used"][-1] is None
    assert found["tenants"][0]["days"]["cpu_requested"][-1] == 2
    assert found["vclusters"][0]["used"] is None
    assert found["clusters"][0]["cpu"]["used"] is None
    assert found["unmeasured_clusters"] == {"hub": "no metrics API"}


def test_deleted_tenant_still_has_its_cost(tmp_path: Path) -> None:
    _last, past = history_of(tmp_path, hours=3)
    found = report.build(sample(vcluster(), tenants=(tenant(),)), past, PRICES)
    # 0.41666…, of which there are two: the other one has the odd cent.
    assert found["former_tenants"] == {"research": "0.41"}
    assert found["tenants"][0]["cost"]["month_to_date"] == "0.42"


def test_tenant_of_an_earlier_name_pays_from_its_creation(tmp_path: Path) -> None:
    """The earlier one was deleted. Nothing of it is on the page of the one that has its name now."""
    mine = vcluster(created=NOW - timedelta(hours=3))
    last, past = history_of(tmp_path, hours=48)
    renewed = replace(last, vclusters=(mine,), tenants=(tenant(created=NOW - timedelta(hours=4)),))
    found = report.build(renewed, past.by_owner(renewed.tenants), PRICES)
    whole = report.build(last, past.by_owner(last.tenants), PRICES)
    (now,), (before, _research) = found["tenants"], whole["tenants"]
    cost = {name: Decimal(one["cost"]["month_to_date"]) for name, one in (("now", now), ("before", before))}
    assert found["former_tenants"].keys() == {"payments (earlier)", "research"}
    assert cost["now"] + Decimal(found["former_tenants"]["payments (earlier)"]) == cost["before"]
    # The day of the creation is the new one's.
    assert now["days"]["cpu_used"][-3:] == [None, None, 1.0]
    assert now["cost"]["days"][-3:] == [None, None, before["cost"]["days"][-1]]
    assert (now["cost"]["trend"], len(past.by_owner(renewed.tenants).hours)) == (None, len(past.hours))
    assert {one.tenant for one in past.by_owner(renewed.tenants).hours if one.time < NOW.timestamp() - 5 * 3600} == {
        *("payments (earlier)", "research")
    }
    assert "earlier" not in str(report.only_tenant(found, "payments"))


def test_without_prices_there_is_no_currency(tmp_path: Path) -> None:
    found = report.build(*history_of(tmp_path, hours=3), parse_prices(None))
    assert found["currency"] is None
    assert found["cost"]["month_to_date"] == "0.00"


def test_waste_of_a_tenant_is_there_after_that_of_ten_others(tmp_path: Path) -> None:
    others = [vcluster("payments", f"dev-{number}", requested=amounts(3, 6)) for number in range(report.WASTE_SHOWN)]
    last, past = history_of(tmp_path, *others, vcluster("research", "lab"), hours=30)
    whole = report.build(last, past, PRICES)
    mine = report.only_tenant(whole, "research")
    assert [one["name"] for one in mine["waste"]] == ["lab"]
    assert len(whole["waste"]) == report.WASTE_SHOWN + 1
    assert page.render(whole).count("Lower the requests") == report.WASTE_SHOWN
    assert page.render(mine).count("Lower the requests") == 1


def test_version_behind_others() -> None:
    old, new = vcluster(version="v1.36.9+k3s1"), vcluster(name="new", version="v1.36.10+k3s1")
    rows = report.build(sample(old, new), Past(), PRICES)["vclusters"]
    assert [one["version_behind"] for one in rows] == [True, False]


def test_calendar_at_the_turn_of_a_year() -> None:
    calendar = Calendar.at(NOW.replace(month=1))
    assert [report.rfc3339(one)[:10] for one in (calendar.last_month, calendar.month, calendar.month_end)] == [
        "2025-12-01",
        "2026-01-01",
        "2026-02-01",
    ]
