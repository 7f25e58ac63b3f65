"""When a virtual cluster sleeps and how long it is kept."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import stamp
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import (
    NO_RECORD,
    SPEC_ANNOTATION,
    VClusterRecord,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.lifecycle import (
    LifecyclePolicy,
    check_may_be_deleted,
    expiry,
    parse_lifecycle_policy,
    parse_sleep,
)

from ..example import make_item


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NIGHT = ["mon-fri 20:00-06:00"]


@pytest.mark.parametrize(
    ("schedule", "now", "begun"),
    [  # 2026-11-25 is a Wednesday
        (NIGHT, "2026-11-25 19:59", None),
        (NIGHT, "2026-11-25 20:00", "2026-11-25T20:00:00Z"),
        (NIGHT, "2026-11-26 05:59", "2026-11-25T20:00:00Z"),
        (NIGHT, "2026-11-26 06:00", None),
        (NIGHT, "2026-11-28 05:00", "2026-11-27T20:00:00Z"),  # Friday's night
        (NIGHT, "2026-11-28 21:00", None),
        (NIGHT, "2026-11-30 05:00", None),  # Sunday has no night of its own
        ([*NIGHT, "sat,sun"], "2026-11-28 21:00", "2026-11-28T00:00:00Z"),
        (["fri-mon 12:00-13:00"], "2026-11-29 12:30", "2026-11-29T12:00:00Z"),
        (["tue"], "2026-11-25 00:00", None),
    ],
)
def test_schedule(schedule: list[str], now: str, begun: str | None) -> None:
    found = parse_sleep({"schedule": schedule}).begun(at(now))
    assert (stamp(found) if found else None) == begun


def test_a_schedule_is_by_the_local_time() -> None:
    sleep = parse_sleep({"schedule": NIGHT, "timezone": "America/New_York"})
    assert sleep.begun(at("2026-11-25 20:30")) is None
    assert stamp(sleep.begun(at("2026-11-26 01:30"))) == "2026-11-26T01:00:00Z"


@pytest.mark.parametrize(
    ("item", "option", "told"),
    [
        ({"ttl": "soon"}, "ttl:", "30d"),
        ({"ttl": "5m"}, "ttl:", "1h or more"),
        ({"ttl": "14"}, "ttl:", "duration"),
        ({"sleep": {}}, "sleep:", "idle"),
        ({"sleep": {"idle": "1m"}}, "sleep.idle:", "10m or more"),
        ({"sleep": {"idle": "2 hours"}}, "sleep.idle:", "duration"),
        ({"sleep": {"schedule": ["nights"]}}, "sleep.schedule:", "nights"),
        ({"sleep": {"schedule": ["mon 9-5"]}}, "sleep.schedule:", "mon-fri 20:00-06:00"),
        ({"sleep": {"schedule": ["mon 24:00-06:00"]}}, "sleep.schedule:", "23:59"),
        ({"sleep": {"schedule": ["mon-son"]}}, "sleep.schedule:", "unknown day. Use mon"),
        ({"sleep": {"schedule": ["mon 08:00-08:00"]}}, "sleep.schedule:", "two different"),
        ({"sleep": {"idle": "2h", "timezone": "Mars/Base"}}, "sleep.timezone:", "Europe/Berlin"),
        ({"sleep": {"idle": "2h", "timezone": "../etc/passwd"}}, "sleep.timezone:", "not a known time zone"),
    ],
)
def test_bad_input_is_one_line_with_option_and_rule(item: dict, option: str, told: str) -> None:
    with pytest.raises(TenantryError) as caught:
        parse(make_item(**item))
    assert option in str(caught.value)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_it_expires_so_long_after_it_was_made() -> None:
    created = "2026-11-25T09:00:00Z"
    assert expiry(created, NO_RECORD) is None
    assert stamp(expiry(created, VClusterRecord(ttl="14d"))) == "2026-12-09T09:00:00Z"


def test_what_was_asked_for_is_recorded() -> None:
    sleep = {"idle": "2h", "schedule": None, "timezone": "UTC"}
    spec = parse(make_item(deletion_protection=True, ttl="14d", sleep=sleep))
    record = VClusterRecord.of({"metadata": {"annotations": {SPEC_ANNOTATION: spec.record("").as_text()}}})
    assert (record.deletion_protection, record.ttl) == (True, "14d")
    assert record.sleep == {"idle": "2h", "timezone": "UTC"}
    assert parse_sleep(record.sleep).idle == 7200
    assert parse_lifecycle_policy({}) == LifecyclePolicy(deletion_protection=False, ttl=None, sleep=None)


def test_what_is_protected_is_not_deleted() -> None:
    check_may_be_deleted("payments--dev", NO_RECORD)
    with pytest.raises(TenantryError, match=r"deletion_protection: .* deletion_protection: false first"):
        check_may_be_deleted("payments--dev", VClusterRecord(deletion_protection=True))
