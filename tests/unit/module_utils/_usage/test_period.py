"""What tenants used in a period, from the history."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import usage
from ansible_collections.tenantry.kube.plugins.module_utils._usage import gather, period
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import open_history
from ansible_collections.tenantry.kube.plugins.module_utils._usage.period import Period

from .fleet import LONG_AGO, NOW, sample, tenant, vcluster

USUAL = {"tenant": None, "history": "usage.sqlite", "since": None, "until": None, "interval": "day"}


def of(**given: Any) -> Period | None:
    return Period.of({**USUAL, **given}, NOW)


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Forty hours of payments/dev, which requests 2 cores, and of research/lab, which nobody measures."""
    path = tmp_path_factory.mktemp("history") / "usage.sqlite"
    with open_history(path, writable=True) as found:
        for back in reversed(range(40)):
            lab = vcluster("research", "lab", used=None, status="Paused")
            found.add(sample(vcluster(), lab, time=NOW - timedelta(hours=back)), timedelta(days=1100))
    return str(path)


def run(monkeypatch: pytest.MonkeyPatch, created: Any = LONG_AGO, **given: Any) -> dict[str, Any]:
    """Run the module with what the hub would say."""
    names = ("payments", "research")
    now = {"tenants": [{"name": name} for name in names], "unreachable_members": {}}
    monkeypatch.setattr(period, "clock", lambda: NOW)
    monkeypatch.setattr(usage, "run", lambda _context, _tenant: now)
    monkeypatch.setattr(gather, "tenants", lambda _hub: [tenant(name, created=created) for name in names])
    context: Any = SimpleNamespace(hub=None)
    return period.run(context, {**USUAL, **given})


@pytest.mark.parametrize(
    ("since", "until", "interval", "expected"),
    [
        ("7d", None, "day", ("2026-11-23T00:00:00Z", "2026-11-30T09:02:00Z")),
        ("21d", "20d", "hour", ("2026-11-09T09:00:00Z", "2026-11-10T09:00:00Z")),
        ("3d", "1d", "day", ("2026-11-27T00:00:00Z", "2026-11-29T00:00:00Z")),
        ("2h", "1h", "hour", ("2026-11-30T07:00:00Z", "2026-11-30T08:00:00Z")),
        ("2026-11-01", "2026-11-03", "day", ("2026-11-01T00:00:00Z", "2026-11-03T00:00:00Z")),
        ("2026-11-29T12:30:00+02:00", None, "hour", ("2026-11-29T10:00:00Z", "2026-11-30T09:02:00Z")),
    ],
)
def test_times(since: str, until: str | None, interval: str, expected: tuple[str, str]) -> None:
    found = of(since=since, until=until, interval=interval)
    assert found
    assert (period.rfc3339(found.since), period.rfc3339(found.until)) == expected


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"until": "1d"}, "until: needs since. Set since too"),
        ({"since": "1d", "history": None}, "since: needs history. Set history to the file"),
        ({"since": "yesterday"}, 'since: "yesterday" is not a time. Use a duration such as 7d'),
        ({"since": "1d", "until": "7"}, 'until: "7" is not a time'),
        ({"since": "1d", "until": "2d"}, r"until: 2026-11-28T00:00:00Z is not after since \(2026-11-29T00:00:00Z\)"),
        (
            {"since": "22d", "interval": "hour"},
            "since: 2026-11-08T09:02:00Z is too early",
        ),
    ],
)
def test_bad_periods_are_refused(given: dict[str, Any], error: str) -> None:
    with pytest.raises(TenantryError, match=error):
        of(**given)


def test_days_of_a_period(monkeypatch: pytest.MonkeyPatch, history: str) -> None:
    found = run(monkeypatch, history=history, since="2026-11-29", until="2026-11-30")
    payments, research = (one["history"] for one in found["tenants"])
    assert payments == [
        {
            **{"time": "2026-11-29T00:00:00Z", "vcluster": "dev", "host": "hub", "tier": "dev"},
            **{"seconds": 86400, "asleep_seconds": 0, "measured_seconds": 86400},
            "cpu_core_hours": {"promised": 96, "requested": 48, "limited": 72, "used": 24, "allocated": 48},
            "memory_gib_hours": {"promised": 192, "requested": 96, "limited": 144, "used": 48, "allocated": 96},
            **{"storage_gib_hours": 240, "gpu_hours": 0, "cpu_peak": 1, "memory_peak": 2 * 1024**3},
        }
    ]
    assert (research[0]["cpu_core_hours"]["used"], research[0]["cpu_peak"]) == (None, None)
    assert research[0]["asleep_seconds"] == 86400
    assert found["period"] == {
        **{"since": "2026-11-29T00:00:00Z", "until": "2026-11-30T00:00:00Z", "interval": "day"},
        "coverage": {"hub": 1.0},
    }


def test_hours_of_a_period_add_up_to_its_days(monkeypatch: pytest.MonkeyPatch, history: str) -> None:
    given = {"history": history, "since": "2026-11-29", "until": "2026-11-30"}
    hours = run(monkeypatch, **given, interval="hour")["tenants"][0]["history"]
    assert len(hours) == 24
    assert sum(one["cpu_core_hours"]["allocated"] for one in hours) == 48


def test_gap_is_less_coverage(monkeypatch: pytest.MonkeyPatch, history: str) -> None:
    found = run(monkeypatch, history=history, since="2026-11-20")
    assert len(found["tenants"][0]["history"]) == 3
    assert found["period"]["coverage"]["hub"] == pytest.approx(39 / (10 * 24 + 9), abs=0.001)


def test_period_of_an_earlier_tenant_of_the_name_is_left_out(monkeypatch: pytest.MonkeyPatch, history: str) -> None:
    found = run(monkeypatch, NOW - timedelta(hours=1), history=history, since="2026-11-20")
    assert [one["time"] for one in found["tenants"][0]["history"]] == ["2026-11-30T00:00:00Z"]


def test_missing_history_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, history: str) -> None:
    with pytest.raises(TenantryError, match=r"history: /nowhere/x is no file\. Correct the path, or run usage_report"):
        run(monkeypatch, history="/nowhere/x", since="1d")
    with pytest.raises(
        TenantryError, match=r"has no sample from 2026-11-01.* to 2026-11-05.* It begins on 2026-11-28\."
    ):
        run(monkeypatch, history=history, since="2026-11-01", until="2026-11-05")
    (tmp_path / "empty").touch()
    with pytest.raises(TenantryError, match=r"It has no sample at all\. Set another period"):
        run(monkeypatch, history=str(tmp_path / "empty"), since="1d")
    (tmp_path / "empty").write_text("something else, which is no database")
    with pytest.raises(TenantryError, match=r"history: .* cannot be used"):
        run(monkeypatch, history=str(tmp_path / "empty"), since="1d")


def test_without_a_period_the_history_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    found = run(monkeypatch, history="/nowhere/x")
    assert found == {"tenants": [{"name": "payments"}, {"name": "research"}], "unreachable_members": {}}
