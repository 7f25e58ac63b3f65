"""The lease, against a hub in memory. Two reconcilers at a real API server are in tests/lab/test_reconciler.py."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import leader_lease
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.leader_lease import LeaderLease


class Hub:
    """As much of a hub as the lease uses: optimistic concurrency."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.loses_next = False

    def get(self, *_of: str) -> dict[str, Any] | None:
        return self.lease and {**self.lease, "spec": dict(self.lease["spec"])}

    def create(self, obj: dict) -> None:
        assert self.lease is None
        self._store(obj["spec"])

    def merge(self, _kind: str, _name: str, _namespace: str, body: dict) -> None:
        assert self.lease
        if self.loses_next or body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError("conflict", 409)
        self._store({**self.lease["spec"], **body["spec"]})

    def _store(self, spec: dict) -> None:
        self.version += 1
        self.lease = {"metadata": {"resourceVersion": str(self.version)}, "spec": spec}


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only item."""
    at = [1000.0]
    monkeypatch.setattr(leader_lease.time, "monotonic", lambda: at[0])
    return at


def test_one_of_two_leads_until_it_stops_renewing(now: list[float]) -> None:
    hub: Any = Hub()
    first, second = LeaderLease("tenantry-system", "first"), LeaderLease("tenantry-system", "second")
    assert first.acquire_or_renew(hub)
    assert not second.acquire_or_renew(hub)
    assert second.current == "first"
    now[0] += leader_lease.DURATION - 1
    assert first.acquire_or_renew(hub)
    now[0] += leader_lease.DURATION - 1
    assert not second.acquire_or_renew(hub), "it was renewed in between"
    now[0] += leader_lease.DURATION + 1
    assert second.acquire_or_renew(hub)
    assert not first.acquire_or_renew(hub)


def test_a_restarted_container_of_the_same_pod_does_not_wait() -> None:
    hub: Any = Hub()
    assert LeaderLease("tenantry-system", "pod").acquire_or_renew(hub)
    assert LeaderLease("tenantry-system", "pod").acquire_or_renew(hub)


def test_a_released_lease_is_free_at_once() -> None:
    hub: Any = Hub()
    first, second = LeaderLease("tenantry-system", "first"), LeaderLease("tenantry-system", "second")
    assert first.acquire_or_renew(hub)
    second.release(hub)
    assert not second.acquire_or_renew(hub), "only the leader releases"
    first.release(hub)
    assert second.acquire_or_renew(hub)


def test_the_slower_of_two_does_not_lead() -> None:
    hub: Any = Hub()
    lease = LeaderLease("tenantry-system", "first")
    assert lease.acquire_or_renew(hub)
    hub.loses_next = True
    assert not lease.acquire_or_renew(hub)
    assert leader_lease.RENEW_EVERY < leader_lease.STOP_AFTER < leader_lease.DURATION
