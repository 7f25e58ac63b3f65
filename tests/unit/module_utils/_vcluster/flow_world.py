"""Runs of the module vcluster on a host in memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import RECORD
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    apply,
    connection,
    guest,
    host_facts,
    lifecycle,
    plan,
    reconcile,
    trusted_keys,
    upgrade,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions

from .example import make_item
from .fake_host import FakeHost


class Kubeconfig:
    """In the place of AdministratorsKubeconfig, whose tokens need a real API server."""

    exists = False

    def __init__(self, path: str, *_of: Any) -> None:
        self.path = path

    def is_current(self, _api: object, _url: str) -> bool:
        return False

    def renew(self, _api: object, url: str) -> str:
        Path(self.path).write_text(url)
        return "token"

    def action(self) -> dict:
        return {"action": "create", "kind": "Kubeconfig", "name": self.path}


class World:
    """A hub and what is in its virtual clusters, and runs of the module."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.hub, self.guest = FakeHost.hub(), FakeHost("guest")
        self.warnings: list[str] = []
        self.progress: list[str] = []
        patch.setattr(connection, "connect", lambda *_of, **_by: self.guest)
        patch.setattr(guest, "wait_for_agents", lambda *_of: [])
        patch.setattr(host_facts, "service_network", lambda _host: "10.43.0.0/16")
        patch.setattr(plan, "AdministratorsKubeconfig", Kubeconfig)
        patch.setattr(trusted_keys, "keep", lambda *_of: None)
        patch.setattr(upgrade, "wait_for_server", lambda *_of: None)
        patch.setattr(lifecycle, "wait_until_ready", lambda *_of: None)
        patch.setattr(apply, "read_ca_on_first_use", lambda *_of: "ca\n")
        for name in ("wait_for_etcd", "wait_for_syncer", "wait_until_api_ready", "wait_until_endpoint_accepts"):
            patch.setattr(apply, name, lambda *_of: True)

    def run(self, *items: dict, check: bool = False, wait: bool = True) -> list[dict]:
        context = SimpleNamespace(
            hub=self.hub,
            cluster=None,
            check_mode=check,
            warn=self.warnings.append,
            secret=lambda *_texts: None,
            progress=lambda _name, phase: self.progress.append(phase),
            deadline=Deadline,
        )
        return reconcile.run(context, [*items], VClusterOptions(wait, wait_timeout=5))

    def record(self) -> dict:
        found = self.hub.get("v1/ConfigMap", RECORD, "tenant-payments")
        assert found
        return found

    def one(self, check: bool = False, wait: bool = True, **changes: Any) -> dict:
        (row,) = self.run(item(**changes), check=check, wait=wait)
        return row


def item(**changes: Any) -> dict[str, Any]:
    return {**make_item(expose={"port": 30443}), "kubeconfig_path": None, "k3s_config": None, **changes}
