"""The flow of the module vcluster, where a host fails in the middle of it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.options import VClusterOptions
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.reconcile import Batch

from .example import make_item


def test_a_member_that_fails_while_resources_shrink_refuses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is used is asked only for a hint."""

    def lowered(_places: FleetState, specs: list) -> list[str]:
        if any(spec.name == "shrinks" for spec in specs):
            raise ApiError("member edge: no answer in time")
        return [f"{spec.namespace}: below the current use" for spec in specs]

    def place(batch: Batch) -> None:
        wanted = [one for one in batch.desired if one.state != "absent"]
        batch.specs = batch.wanted = {
            one.namespace: SimpleNamespace(name=one.name, namespace=one.namespace) for one in wanted
        }

    quotas = SimpleNamespace(correct=lambda _context: None, lowered_below_use=lambda specs: lowered(places, specs))
    places = SimpleNamespace(unreachable={}, quotas=quotas)
    warnings: list[str] = []
    context = SimpleNamespace(hub=None, cluster=None, check_mode=True, warn=warnings.append)
    context.secret = lambda *_texts: None
    monkeypatch.setattr(Batch, "place", place)
    monkeypatch.setattr(reconcile, "FleetState", lambda _fleet: places)
    for name in ("check_databases", "check_quotas", "plan"):
        monkeypatch.setattr(Batch, name, lambda *_given, **_more: None)
    monkeypatch.setattr(reconcile.registry, "require_platform", lambda _hub: None)
    monkeypatch.setattr(reconcile.registry, "hosts", lambda *_given: SimpleNamespace(close=lambda: None))
    monkeypatch.setattr(Batch, "execute", lambda batch: [one.name for one in batch.desired])
    wanted = {"shrinks": "present", "other": "present", "goes": "absent"}
    items = [
        {**make_item(name=name), "k3s_config": None, "kubeconfig_path": None, "state": state}
        for name, state in wanted.items()
    ]
    assert reconcile.run(context, items, VClusterOptions(True, 1)) == ["shrinks", "other", "goes"]
    assert warnings == [
        "payments--shrinks: resources: its use is not known: member edge: no answer in time",
        "payments--other: below the current use",
    ]
