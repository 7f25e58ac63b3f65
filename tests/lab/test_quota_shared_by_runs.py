"""QUO-3 of two runs at once: of what a quota has left for one, only one is made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_quotas import FleetQuotas

from .harness import ModuleResult, call_module, kubectl, ran, run_module

TENANT = "thrifty"


@pytest.fixture
def hub(platform: Path) -> Iterator[Path]:
    """A hub, without nodes, with a tenant that may have one virtual cluster."""
    tenant = {"kubeconfig": platform, "tenant": TENANT}
    made = call_module("tenant_quota", **tenant, quota={"vclusters": 1})
    assert not made.failed, made.msg
    yield platform
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("first", "second")]
    for removed in (
        call_module("vcluster", kubeconfig=platform, vclusters=gone),
        call_module("tenant_quota", **tenant, state="absent"),
    ):
        assert not removed.failed, removed.msg


def options(hub: Path, name: str, **more: Any) -> dict[str, Any]:
    shape = {"mode": "dedicated", "version": "v1.37.2+k3s1", "wait": False}
    return {"kubeconfig": hub, "tenant": TENANT, "name": name, **shape, **more}


def exists(hub: Path, name: str) -> bool:
    return kubectl(hub, "get", "namespace", f"{TENANT}--{name}").returncode == 0


def test_who_comes_second_is_refused(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other run comes when this one has checked and is about to write, and does all it does."""
    others: list[ModuleResult] = []
    plan = reconcile.Batch.plan

    def slowly(batch: reconcile.Batch) -> None:
        plan(batch)
        others.append(run_module("vcluster", **options(hub, "first")))

    monkeypatch.setattr(reconcile.Batch, "plan", slowly)
    refused = call_module("vcluster", **options(hub, "second"))
    assert not others[0].failed, others[0].msg
    assert refused.failed
    assert "vclusters 1 asked for, but 0 left (1 of 1 used by other virtual clusters)" in refused.msg
    assert (exists(hub, "first"), exists(hub, "second")) == (True, False)


def test_promise_of_a_killed_run_counts_until_it_is_old(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run was killed between the promise and the namespace."""
    with monkeypatch.context() as killed:
        killed.setattr(FleetQuotas, "settle", lambda *_given: None)
        assert not call_module("vcluster", **options(hub, "first")).failed
    ran(hub, "delete", "namespace", f"{TENANT}--first")
    assert "vclusters 1 asked for, but 0 left" in call_module("vcluster", **options(hub, "second")).msg
    own = call_module("vcluster", **options(hub, "first", check=True))
    assert not own.failed, "what is promised to it does not count against it"
    later = promises.clock() + promises.LASTS + timedelta(seconds=1)
    monkeypatch.setattr(promises, "clock", lambda: later)
    made = call_module("vcluster", **options(hub, "second"))
    assert not made.failed
    assert f"{TENANT}--first: promised cpu" in made.text


def test_promise_ends_with_its_virtual_cluster(hub: Path) -> None:
    assert not call_module("vcluster", **options(hub, "first")).failed
    assert not call_module("vcluster", **options(hub, "first")).changed
    assert "vclusters 1 asked for, but 0 left" in call_module("vcluster", **options(hub, "second")).msg
    assert not call_module("vcluster", **options(hub, "first", state="absent", wait=True)).failed
    assert not call_module("vcluster", **options(hub, "second", check=True)).failed
    made = run_module("vcluster", **options(hub, "second"))
    assert (made.failed, "warnings" in made.data) == (False, False)


def test_a_tenant_with_promises_has_nothing_to_change(hub: Path) -> None:
    assert not call_module("vcluster", **options(hub, "first")).failed
    tenant = {"kubeconfig": hub, "tenant": TENANT, "quota": {"vclusters": 1}}
    assert not call_module("tenant_quota", **tenant).changed
    assert call_module("tenant_quota", kubeconfig=hub, tenant=TENANT, quota={"vclusters": 2}).changed
    assert not call_module("vcluster", **options(hub, "second")).failed
