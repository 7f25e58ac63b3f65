"""The loop: its lease and its health, with hub and clock in memory. All of it is in tests/lab/test_reconciler.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import leader_lease
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import loop as module
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.loop import Loop, LoopOptions
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.playbook_runs import Run


class Hub:
    """Remembers the limits of its requests."""

    def __init__(self) -> None:
        self.limits: list[float] = []

    def limited(self, seconds: float) -> Hub:
        self.limits.append(seconds)
        return self

    def close(self) -> None:
        pass


class Lease:
    """Is held, until requests take `slow` seconds and fail."""

    current = ""

    def __init__(self, now: list[float]) -> None:
        self.now, self.slow = now, 0.0

    def acquire_or_renew(self, _hub: Hub) -> bool:
        self.now[0] += self.slow
        if self.slow:
            raise ApiError("no answer")
        return True


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only item."""
    at = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: at[0])
    return at


@pytest.fixture
def hub() -> Hub:
    return Hub()


@pytest.fixture
def leader(now: list[float], hub: Hub) -> Loop:
    connect: Any = lambda: hub  # noqa: E731 - of another type
    loop = Loop(LoopOptions(Path("inventory.yml"), {"self_service": 300}, "one", "tenantry-system"), connect)
    lease: Any = Lease(now)
    loop._lease, loop._watches = lease, []
    assert loop._keep_lease()
    return loop


def slow(loop: Loop, seconds: float) -> None:
    lease: Any = loop._lease
    lease.slow = seconds


def test_a_leader_that_cannot_renew_stops_before_another_one_begins(now: list[float], leader: Loop) -> None:
    slow(leader, module.LOOK)
    now[0] += leader_lease.RENEW_EVERY
    assert leader._keep_lease(), "it tries again"
    now[0] = 1000 + leader_lease.STOP_AFTER - 1
    leader._tried_at = float("-inf")
    assert not leader._keep_lease(), "the time of the attempt counts"
    assert now[0] - 1000 < leader_lease.DURATION


def test_every_look_at_the_hub_ends_in_time(leader: Loop, hub: Hub) -> None:
    assert hub.limits == [module.LOOK]
    assert leader_lease.STOP_AFTER + module.LOOK <= leader_lease.DURATION


def test_nothing_begins_after_the_lease_has_run_out(
    now: list[float], leader: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[float] = []
    monkeypatch.setattr(leader._runs, "start_due", lambda: started.append(now[0]))
    monkeypatch.setattr(module, "grant_missing", lambda _hub: None)
    leader._turn()
    assert started == [1000.0]
    now[0] += 300
    leader._turn()
    assert started == [1000.0]


def test_a_run_that_does_not_end_makes_it_unhealthy(leader: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    assert leader.unhealthy() == ""
    monkeypatch.setattr(leader._runs, "stuck", lambda: [Run("self_service", "payments")])
    assert leader.unhealthy() == "self_service (tenant payments) is stuck"
