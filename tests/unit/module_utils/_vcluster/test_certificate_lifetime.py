"""The oldest k3s process of a virtual cluster, which decides when its certificates need a restart."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import certificate_lifetime
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import PART_LABEL

from .fake_host import FakeHost

SPACE = "payments--dev"


def _pod(name: str, part: str, started: str, manager: str = naming.MANAGED_BY) -> dict[str, Any]:
    labels = {PART_LABEL: part, naming.LABEL_MANAGED_BY: manager}
    state = {"name": "k3s", "state": {"running": {"startedAt": started}}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": SPACE, "labels": labels},
        "status": {"containerStatuses": [state]},
    }


def test_oldest_start_is_of_servers_and_agents_with_one_list(monkeypatch: pytest.MonkeyPatch) -> None:
    host = FakeHost(
        "hub",
        _pod("server-0", SERVER, "2026-11-03T09:00:00Z"),
        _pod("agent-0", AGENT, "2026-11-02T09:00:00Z"),
        _pod("syncer-0", SYNCER, "2026-11-01T09:00:00Z"),
        _pod("x-forged", SERVER, "2026-10-01T09:00:00Z", manager=naming.MANAGED_BY_SYNCER),
    )
    lists: list[tuple[Any, ...]] = []
    monkeypatch.setattr(host, "list", lambda *given: lists.append(given) or FakeHost.list(host, *given))
    assert certificate_lifetime.oldest_start(host, SPACE) == moment("2026-11-02T09:00:00Z")
    assert len(lists) == 1


def test_no_process_has_no_start() -> None:
    assert certificate_lifetime.oldest_start(FakeHost("hub"), SPACE) is None
