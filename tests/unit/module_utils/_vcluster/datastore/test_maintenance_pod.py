"""The pod in which a stopped server's data is worked on: one that cannot have the data is not waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.maintenance_pod import (
    run_maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server

from ..example import render

SERVER = server.stateful_set(render())
LOCKED = "a server uses the data: /var/lib/rancher/k3s/.lock is locked"


class Host:
    """Where the pod gets as far as its status says."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.status = status
        self.pod: dict[str, Any] | None = None
        self.deleted = 0
        self.names: list[str] = []  # of the pods that were deleted

    def create(self, pod: dict[str, Any]) -> None:
        self.pod = {**pod, "status": self.status}

    def delete(self, _kind: str, name: str, *_where: str, **_how: object) -> bool:
        self.names.append(name)
        self.deleted += self.pod is not None
        self.pod = None
        return False

    def watch(self, *_which: str, **_how: object) -> Iterator[tuple[str, dict[str, Any]]]:
        yield "ADDED", self.pod
        time.sleep(0.2)  # and nothing more

    def list(self, *_which: str) -> list[dict[str, Any]]:
        return []


def ended(message: str) -> dict[str, Any]:
    state = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
    return {"phase": "Failed", "containerStatuses": [{"name": "k3s", "state": state}]}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (ended(f"{LOCKED}\n"), LOCKED),
        (ended(""), "Error"),
        ({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."}, "low on memory"),
        ({"phase": "Failed"}, "no reason was reported"),
    ],
)
def test_one_that_has_ended_is_not_waited_for(status: dict[str, Any], reason: str) -> None:
    host, began = Host(status), time.monotonic()
    with pytest.raises(TenantryError) as error, run_maintenance_pod(host, SERVER, Deadline(5)):
        pytest.fail("it runs")
    assert time.monotonic() - began < 3
    assert reason in str(error.value)
    assert "pod maintenance in payments--dev: ended before" in str(error.value)
    assert str(error.value).isprintable()
    assert host.deleted == 1


def test_one_that_is_ready_is_used() -> None:
    ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    host = Host(ready)
    with run_maintenance_pod(host, SERVER, Deadline(5)):
        assert host.pod
    assert host.deleted == 1


def test_pod_of_an_earlier_version_is_deleted_first() -> None:
    """A run of that version was killed: its pod holds the lock of the data."""
    host = Host({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]})
    with run_maintenance_pod(host, SERVER, Deadline(5)):
        assert host.names == ["workshop", "maintenance"]
    assert host.names == ["workshop", "maintenance", "maintenance"]


def test_what_its_shell_says_last_gets_into_its_status() -> None:
    (container,) = maintenance_pod.pod(SERVER)["spec"]["containers"]
    assert container["terminationMessagePolicy"] == "FallbackToLogsOnError"
