"""Waits whose deadline earlier waits have used up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
    wait_for,
    wait_until_none,
)

READY = {"metadata": {"name": "syncer"}, "status": {"phase": "Running"}}
CONDITION = {"type": "Ready", "status": "False", "message": "no node fits"}
PENDING = {"metadata": {"name": "syncer"}, "status": {"phase": "Pending", "conditions": [CONDITION]}}


class Api:
    """An API server whose watch begins with one object, or fails."""

    def __init__(self, found: dict | ApiError | None) -> None:
        self.found = found
        self.watches = 0

    def watch(self, *_of: Any, **_options: Any) -> Iterator[tuple[str, dict]]:
        self.watches += 1
        if isinstance(self.found, ApiError):
            raise self.found
        if self.found:
            yield "ADDED", self.found

    def list(self, *_of: Any) -> list[dict]:
        return []


def _wait(api: Api) -> dict:
    def is_running(pod: dict) -> bool:
        return pod["status"]["phase"] == "Running"

    return wait_for(api, "v1/Pod", "syncer", "shop", is_running, Deadline(0), what="syncer")


def test_object_that_is_ready_at_the_deadline_is_returned() -> None:
    assert _wait(Api(READY)) == READY


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (PENDING, "Ready: no node fits"),
        (None, "syncer does not exist"),
        (ApiError("no answer"), "syncer does not exist; no answer"),
    ],
)
def test_object_that_is_not_ready_is_read_once(found: dict | ApiError | None, reason: str) -> None:
    api = Api(found)
    with pytest.raises(TenantryError, match=f"^syncer: not ready within 0 s: {reason}\\. Remove the cause"):
        _wait(api)
    assert api.watches == 1


class Emptying:
    """An API server on which the pods end one by one, as a watch says, and another after the first list."""

    def __init__(self, *names: str, unwatched: str = "") -> None:
        self.names, self.unwatched = list(names), unwatched
        self.is_awaited = bool(unwatched)
        self.lists = 0

    def list(self, *_of: Any) -> list[dict]:
        self.lists += 1
        found = [_pod(name) for name in (*self.names, self.unwatched) if name]
        self.unwatched = ""
        return found

    def watch(self, *_of: Any, **_options: Any) -> Iterator[tuple[str, dict]]:
        while self.names:
            yield "DELETED", _pod(self.names.pop())
        assert self.is_awaited, "watched on after the last object"


@pytest.mark.parametrize("unwatched", ["", "late"])
def test_wait_until_none_ends_with_the_last_object(unwatched: str) -> None:
    """What ended between list and watch has no event."""
    api = Emptying("web", "batch", unwatched=unwatched)
    wait_until_none(api, "v1/Pod", "shop", Deadline(5))  # type: ignore[arg-type]  # as much of it as is used
    assert (api.names, api.lists) == ([], 2)


def test_wait_until_none_ends_at_the_deadline() -> None:
    api = Emptying("web")
    wait_until_none(api, "v1/Pod", "shop", Deadline(0))  # type: ignore[arg-type]  # as much of it as is used
    assert api.lists == 0


def _pod(name: str) -> dict:
    return {"metadata": {"name": name, "uid": name}}
