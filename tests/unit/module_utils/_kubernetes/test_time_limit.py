"""How much of a run's time a virtual cluster may take. By a clock of the tests: the machine may be busy."""

from __future__ import annotations

import threading

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import time_limit
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.time_limit import ALLOWANCE, TimeLimit


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time_limit, "time", clock)
    return clock


def _left(limit: TimeLimit) -> float:
    with limit.running(lambda: None) as left:
        return left


def _request(limit: TimeLimit, clock: Clock, seconds: float) -> None:
    with limit.running(lambda: None):
        clock.now += seconds


def test_quick_requests_are_not_counted_however_many(clock: Clock) -> None:
    limit = TimeLimit(30, "dev")
    for _number in range(1000):
        _request(limit, clock, ALLOWANCE / 2)
    assert _left(limit) == pytest.approx(30 + ALLOWANCE)


def test_slow_ones_are(clock: Clock) -> None:
    limit = TimeLimit(30, "dev")
    for _number in range(2):
        _request(limit, clock, 10)
    assert _left(limit) == pytest.approx(10 + 3 * ALLOWANCE)


def test_what_waits_at_the_same_time_is_counted_once(clock: Clock) -> None:
    limit = TimeLimit(30, "dev")
    with limit.running(lambda: None), limit.running(lambda: None), limit.running(lambda: None):
        clock.now += 10
    assert _left(limit) == pytest.approx(20 + 4 * ALLOWANCE)


def test_time_between_requests_is_others(clock: Clock) -> None:
    limit = TimeLimit(30, "dev")
    _request(limit, clock, 0)
    clock.now += 1000
    assert _left(limit) == pytest.approx(30 + ALLOWANCE)


def _waits_for_ever(limit: TimeLimit) -> None:
    aborted = threading.Event()
    with limit.running(aborted.set):
        assert aborted.wait(60)
        raise OSError("the connection was ended")


def test_when_it_is_over_what_is_under_way_ends_and_nothing_begins() -> None:
    limit = TimeLimit(0.1, "dev")
    with pytest.raises(ApiError, match="dev took more than 0\\.1 s of this run"):
        _waits_for_ever(limit)
    with pytest.raises(ApiError, match="dev took more than"):
        _left(limit)


def test_the_first_reason_stays() -> None:
    limit = TimeLimit(30, "dev")
    limit.end("a webhook")
    limit.end("another")
    with pytest.raises(TenantryError, match=r"^a webhook$"):
        _left(limit)


def test_an_error_of_its_own_is_not_replaced(clock: Clock) -> None:
    del clock
    with pytest.raises(OSError, match="mine"), TimeLimit(30, "dev").running(lambda: None):
        raise OSError("mine")
