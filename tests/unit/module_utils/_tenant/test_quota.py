"""What a run of tenant_quota changes in a tenant namespace that an earlier version created."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import RESOURCE_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import run_each
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import manifests, promises, quota

from .._vcluster.fake_host import QUOTA, FakeHost
from .fleet import LIMITS, add_silent_member, add_vcluster

SPACE = "tenant-payments"
WANTED = quota.DesiredTenant("payments", True, QUOTA, "payments")


def _quotas(hub: FakeHost) -> list[str]:
    return [one["metadata"]["name"] for one in hub.list(RESOURCE_QUOTA, SPACE)]


def _run(hub: FakeHost) -> list[tuple[str, str, str]]:
    found = existing(hub, quota.KINDS, naming.selector("tenant"))
    plan = quota._plan(hub, WANTED, found)
    plan.execute()
    return [(row["action"], row["kind"], row["name"]) for row in plan.rows()]


def test_quota_of_an_earlier_version_is_replaced() -> None:
    hub = FakeHost.hub()
    former = hub.get(RESOURCE_QUOTA, manifests.QUOTA, SPACE)
    hub.delete(RESOURCE_QUOTA, manifests.QUOTA, SPACE)
    former["metadata"]["name"] = "home"
    hub.apply(former)
    assert _run(hub) == [("create", "ResourceQuota", "tenant"), ("delete", "ResourceQuota", "home")]
    assert _quotas(hub) == ["tenant"]
    assert hub.writes[-2:] == [("apply", "ResourceQuota", "tenant"), ("delete", "v1/ResourceQuota", "home")]
    assert _run(hub) == []


def test_quota_of_somebody_else_stays() -> None:
    """An administrator of the hub may limit the namespace further."""
    hub = FakeHost.hub()
    hub.apply({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "home", "namespace": SPACE}})
    assert _run(hub) == []
    assert sorted(_quotas(hub)) == ["home", "tenant"]


def _set_quota(hub: FakeHost, tenant: str, cpu: str, cluster: Any = None) -> tuple[dict, str]:
    """Return the row of a run of the module, and its warnings."""
    warnings: list[str] = []
    context = SimpleNamespace(hub=hub, cluster=cluster, check_mode=False, warn=warnings.append, deadline=Deadline)
    given = {
        "tenant": tenant,
        "display_name": None,
        "paused_frees_quota": True,
        "state": "present",
        "quota": {**QUOTA, "cpu": cpu},
    }
    given["quota"] |= {key: int(QUOTA[key]) for key in ("pods", "vclusters")}
    (row,) = quota.run(context, [given], quota.QuotaOptions(5))
    return row, "\n".join(warnings)


def test_unreadable_record_of_another_tenant_is_ignored() -> None:
    hub = FakeHost.hub()
    add_vcluster(hub, "research", "lab", {"format": 2}, None)
    row, warnings = _set_quota(hub, "payments", "2")
    assert (row.get("error"), row["changed"], warnings) == (None, True, "")


def test_unreadable_record_counts_by_its_resource_quota() -> None:
    hub = FakeHost.hub()
    add_vcluster(hub, "payments", "dev", {"format": 2}, LIMITS)
    row, warnings = _set_quota(hub, "payments", "2")
    assert (row.get("error"), row["changed"]) == (None, True)
    assert warnings.startswith("quota of tenant payments: below the current use (cpu 3 of 2).")


def test_unreadable_record_without_resource_quota_is_unknown_use() -> None:
    hub = FakeHost.hub()
    add_vcluster(hub, "payments", "dev", {"format": 2}, None)
    row, warnings = _set_quota(hub, "payments", "2")
    assert (row.get("error"), row["changed"]) == (None, True)
    assert "may be below the use, part of which is unknown: annotation tenantry.dev/spec" in warnings
    assert "namespace payments--dev: has format 2" in warnings


def test_deletion_that_times_out_tells_what_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_of: Any, **_options: Any) -> None:
        raise ApiError("no answer")

    monkeypatch.setattr(quota, "wait_gone", fails)
    hub, gone = FakeHost.hub(), quota.DesiredTenant("payments", False, QUOTA, "payments")
    plan = quota._plan(hub, gone, existing(hub, quota.KINDS, naming.selector("tenant")))
    context = SimpleNamespace(hub=hub, check_mode=False, deadline=Deadline)
    options, in_use = quota.QuotaOptions(wait_timeout=1), quota.InUse({}, {})
    (row,) = run_each(
        hub, [gone], quota.DesiredTenant.known, lambda want: quota._row(context, want, plan, in_use, options)
    )
    assert (row["name"], row["changed"], row["error"]) == ("payments", True, "no answer")
    assert [(one["action"], one["kind"], one["name"]) for one in row["actions"]] == [("delete", "Namespace", SPACE)]


def test_tenant_with_a_virtual_cluster_on_a_silent_member_stays() -> None:
    hub = FakeHost.hub()
    part = {"cpu": "3", "memory": "1Gi", "storage": "0", "pods": "2"}
    cluster = add_silent_member(hub, "edge", {"payments--far": promises.Promise.of("edge", part)})
    refused = _removed(hub, cluster)["error"]
    assert "members that do not answer: payments--far on edge: edge is down" in refused
    _row, warnings = _set_quota(hub, "payments", "2", cluster)
    assert ("below the current use (cpu 3 of 2)" in warnings, "unknown" in warnings) == (True, False)


def test_tenant_stays_while_a_run_creates_a_virtual_cluster_of_it() -> None:
    hub = FakeHost.hub()
    promised = {"payments--new": promises.Promise.of("hub", {}, run="other")}
    cluster = add_silent_member(hub, "edge", {**promised, "payments--left": promises.Promise.of("hub", {})})
    refused = _removed(hub, cluster)["error"]
    assert refused == (
        "tenant payments cannot be removed while a run creates payments--new. Run again when it has ended. One that "
        f"was killed counts until {promised['payments--new'].until:%H:%M} UTC"
    )


def test_tenant_with_nothing_on_a_silent_member_can_be_removed() -> None:
    hub = FakeHost.hub()
    assert _removed(hub, add_silent_member(hub, "edge", {})).get("error") is None


def test_tenant_without_promises_may_have_something_on_a_silent_member() -> None:
    hub = FakeHost.hub()
    cluster = add_silent_member(hub, "edge", {})
    annotations = {promises.ANNOTATION: None}
    hub.merge("v1/ConfigMap", manifests.RECORD, SPACE, {"metadata": {"annotations": annotations}})
    assert "these members, which may have virtual clusters of it, do not answer" in _removed(hub, cluster)["error"]
    _row, warnings = _set_quota(hub, "payments", "2", cluster)
    assert "may be below the use, part of which is unknown: edge is down" in warnings


def _removed(hub: FakeHost, cluster: Any) -> dict:
    context = SimpleNamespace(hub=hub, cluster=cluster, check_mode=True, warn=print, deadline=Deadline)
    given = {"tenant": "payments", "display_name": None, "paused_frees_quota": True, "state": "absent", "quota": None}
    (row,) = quota.run(context, [given], quota.QuotaOptions(5))
    return row


def test_record_of_a_new_tenant_begins_with_promises() -> None:
    hub = FakeHost.hub()
    _set_quota(hub, "research", "2")
    record = hub.get("v1/ConfigMap", manifests.RECORD, "tenant-research")
    assert record
    assert promises.are_kept(record)


def test_further_resources_are_limited_only_if_they_are_named() -> None:
    """QUO-8."""
    hub = FakeHost.hub()
    given = {"tenant": "payments", "display_name": None, "state": "present", "paused_frees_quota": False}
    further = {"ephemeral_storage": "200Gi", "node_ports": 0, "load_balancers": None, "extended": {"nvidia.com/gpu": 4}}
    context = SimpleNamespace(hub=hub, cluster=None, check_mode=False, warn=print, deadline=Deadline)
    for changed in (True, False):
        (row,) = quota.run(context, [{**given, "quota": further}], quota.QuotaOptions(5))
        assert row["changed"] == changed
    named = {"ephemeral_storage": "200Gi", "node_ports": "0", "nvidia.com/gpu": "4"}
    assert row["quota"] == {**{key: str(value) for key, value in quota.DEFAULT_QUOTA.items()}, **named}
    record = hub.get("v1/ConfigMap", manifests.RECORD, SPACE)
    assert (manifests.quota_of(record), manifests.paused_frees_quota(record)) == (row["quota"], False)
    (row,) = quota.run(context, [{**given, "quota": None, "paused_frees_quota": True}], quota.QuotaOptions(5))
    record = hub.get("v1/ConfigMap", manifests.RECORD, SPACE)
    assert (set(manifests.quota_of(record)), manifests.paused_frees_quota(record)) == (set(quota.DEFAULT_QUOTA), True)
