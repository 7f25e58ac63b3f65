"""The record of the newest snapshot, with other runs beside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import wait
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import newest_record

from .._vcluster.fake_host import FakeHost
from .test_reconcile import NAMESPACE, origin

SPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}


class Host(FakeHost):
    """A host that rejects a patch of another version of an object, as Kubernetes does."""

    meanwhile: Callable[[], None] | None = None  # what another run does between a read and a write of this one

    def merge(self, kind: str, name: str, namespace: str | None, body: dict) -> dict:
        between, self.meanwhile = self.meanwhile, None
        if between:
            between()
        live = self.get(kind, name, namespace)
        version = body["metadata"].get("resourceVersion")
        if version and live and version != live["metadata"]["resourceVersion"]:
            raise ApiError("the object has been modified", 409)
        super().merge(kind, name, namespace, body)
        return self._store(self.get(kind, name, namespace) or {})

    @property
    def noted(self) -> dict[str, Any] | None:
        return newest_record.noted(self.get("v1/Namespace", NAMESPACE))


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Host:
    monkeypatch.setattr(wait, "SHORT_PAUSE", 0)
    return Host("hub", SPACE)


def test_note_of_a_slower_run_leaves_a_newer_snapshot(host: Host) -> None:
    newest_record.note(host, origin("fast", 2))  # type: ignore[arg-type]  # a fake
    newest_record.note(host, origin("slow", 1))  # type: ignore[arg-type]
    assert host.noted == {"snapshot": "fast", "sequence": 2}
    newest_record.note(host, origin("next", 3))  # type: ignore[arg-type]
    assert host.noted == {"snapshot": "next", "sequence": 3}


def test_note_in_a_race_leaves_a_newer_snapshot(host: Host) -> None:
    host.meanwhile = lambda: newest_record.note(host, origin("fast", 2))  # type: ignore[arg-type]
    newest_record.note(host, origin("slow", 1))  # type: ignore[arg-type]
    assert host.noted == {"snapshot": "fast", "sequence": 2}


def test_note_in_a_race_replaces_an_older_snapshot(host: Host) -> None:
    host.meanwhile = lambda: newest_record.note(host, origin("fast", 1))  # type: ignore[arg-type]
    newest_record.note(host, origin("slow", 2))  # type: ignore[arg-type]
    assert host.noted == {"snapshot": "slow", "sequence": 2}


def test_note_of_a_deleted_virtual_cluster_is_left_out(host: Host) -> None:
    host.delete("v1/Namespace", NAMESPACE)
    newest_record.note(host, origin("late", 1))  # type: ignore[arg-type]
    assert host.noted is None
