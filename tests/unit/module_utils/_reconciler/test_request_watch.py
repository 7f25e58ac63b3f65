"""What counts as a change of a request. A real API server is in tests/lab/test_reconciler.py."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import VIRTUAL_CLUSTER_REQUEST
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.request_watch import RequestWatch

Event = tuple[str, dict]


class Hub:
    """Answers lists and watches as given; each watch follows a list."""

    def __init__(self, *rounds: tuple[list[dict], list[Event]]) -> None:
        self.rounds = list(rounds)

    def list(self, _kind: str) -> list[dict]:
        return self.rounds[0][0]

    def watch(self, _kind: str, *, timeout: int) -> Iterator[Event]:
        assert timeout
        yield from self.rounds.pop(0)[1]

    def close(self) -> None:
        pass


def request(name: str, generation: int = 1, phase: str = "", message: str = "") -> dict:
    metadata = {"uid": f"uid-{name}", "name": name, "namespace": "tenant-payments", "generation": generation}
    return {"metadata": metadata, **({"status": {"phase": phase, "message": message}} if phase else {})}


def changes(*rounds: tuple[list[dict], list[Event]]) -> list[str]:
    """The reasons of all changes, after so many lists and watches."""
    found: list[str] = []
    hub: Any = Hub(*rounds)
    watch = RequestWatch(lambda: hub, VIRTUAL_CLUSTER_REQUEST, lambda change: found.append(change.reason))
    for _round in rounds:
        watch._watch()
    assert watch.listed.is_set()
    return [reason.removeprefix("VirtualClusterRequest tenant-payments/") for reason in found]


def test_what_is_there_at_the_start_is_no_change() -> None:
    assert changes(([request("dev")], [("ADDED", request("dev"))])) == []


def test_each_change_of_a_spec_is_one() -> None:
    events = [
        ("ADDED", request("dev")),
        ("MODIFIED", request("dev", phase="Ready")),
        ("MODIFIED", request("dev", generation=2, phase="Ready")),
        ("DELETED", request("dev", generation=2)),
    ]
    assert changes(([], events)) == ["dev appeared", "dev changed", "dev was deleted"]


def test_what_changes_between_two_watches_is_found_by_the_list() -> None:
    first = ([request("dev"), request("stage")], [])
    assert changes(first, ([request("stage", generation=2), request("new")], [])) == [
        "dev was deleted",
        "stage changed",
        "new appeared",
    ]


def test_a_request_that_was_recreated_is_another() -> None:
    again = request("dev")
    again["metadata"]["uid"] = "another"
    assert changes(([request("dev")], [("DELETED", request("dev")), ("ADDED", again)])) == [
        "dev was deleted",
        "dev appeared",
    ]


def test_each_phase_is_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    denied = request("dev", phase="Denied", message="quota")
    changes(([request("old", phase="Ready")], [("ADDED", request("dev")), ("MODIFIED", denied), ("MODIFIED", denied)]))
    assert caplog.messages == ["VirtualClusterRequest tenant-payments/dev is Denied: quota"]


def test_a_hub_that_does_not_answer_is_one_line(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ended(BaseException):
        pass

    tries = iter(["no answer", "no answer", "forbidden"])

    def connect() -> Any:
        if (text := next(tries, None)) is None:
            raise Ended
        raise ApiError(text)

    monkeypatch.setattr(f"{RequestWatch.__module__}.time.sleep", lambda _seconds: None)
    with pytest.raises(Ended):
        RequestWatch(connect, VIRTUAL_CLUSTER_REQUEST, lambda change: None).run()
    assert caplog.messages == ["watching VirtualClusterRequest: no answer", "watching VirtualClusterRequest: forbidden"]
