"""What a drain does when its deadline passes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import drain


def _pod(name: str) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "shop", "uid": name}
    return {"metadata": metadata, "spec": {"nodeName": "agent-1"}, "status": {}}


class Guest:
    """A virtual cluster in which a disruption budget denies each eviction, which takes all the time there is."""

    def __init__(self, deadline: SimpleNamespace) -> None:
        self.deadline = deadline
        self.evicted: list[str] = []

    def list(self, _kind: str) -> list[dict[str, Any]]:
        return [_pod("web-0"), _pod("web-1"), _pod("web-2")]

    def evict(self, pod: dict[str, Any]) -> str:
        self.evicted.append(pod["metadata"]["name"])
        self.deadline.expired = True
        return "The disruption budget web needs 2 healthy pods"

    def map(self, do: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [do(item) for item in items]


def _drained(deadline: SimpleNamespace, guest: Guest) -> str:
    """Return the error of a drain that does not end in time."""
    with pytest.raises(TenantryError) as caught:
        drain._empty(guest, ["agent-1"], deadline)
    return str(caught.value)


def test_drain_at_its_deadline_evicts_no_further_pod() -> None:
    deadline = SimpleNamespace(expired=False, seconds=60)
    guest = Guest(deadline)
    error = _drained(deadline, guest)
    assert guest.evicted == ["web-0"]
    reason = "pod shop/web-0 on agent-1 may not be evicted: The disruption budget web needs 2 healthy pods (3 left)"
    assert f"agents: agent-1 not empty within 60 s: {reason}" in error


def test_deadline_between_two_tries_keeps_the_reason() -> None:
    """Evictions were denied, and the time ended in the pause before the next."""
    deadline = SimpleNamespace(expired=False, seconds=60)
    deadline.pause = lambda: setattr(deadline, "expired", True)
    guest = Guest(SimpleNamespace())
    assert "pod shop/web-0 on agent-1 may not be evicted: The disruption budget web" in _drained(deadline, guest)
    assert guest.evicted == ["web-0", "web-1", "web-2"]


def test_deadline_before_the_first_try_says_so() -> None:
    deadline = SimpleNamespace(expired=True, seconds=60)
    error = _drained(deadline, Guest(deadline))
    assert "pod shop/web-0 on agent-1 has not been evicted yet (3 left)" in error
