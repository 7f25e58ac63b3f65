"""The platform on the hub, a cluster in memory: what the row says after a failure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import hub
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import HostLabels
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import HostOptions
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import platform_objects

from .._vcluster.fake_host import FakeHost


def test_removal_that_times_out_tells_what_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_of: Any, **_options: Any) -> None:
        raise ApiError("no answer")

    monkeypatch.setattr(hub, "wait_gone", fails)
    cluster = FakeHost("hub", *platform_objects("uid-of-hub", None))
    context = SimpleNamespace(hub=cluster, check_mode=False, deadline=Deadline)
    (row,) = hub.run(
        context, [{"state": "absent", "reconciler": None}], HostOptions(probe_image="probe", wait_timeout=1)
    )  # type: ignore[arg-type]
    assert (row["changed"], row["error"]) == (True, "no answer")
    assert "Namespace" in [one["kind"] for one in row["actions"]]


def test_labels_that_are_not_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FakeHost, "version", lambda _host: "v1.37.2", raising=False)
    monkeypatch.setattr(hub.network_policy_probe, "check_enforcement", lambda *_of: {"tenantry.dev/probed": "yes"})
    cluster = FakeHost("hub")
    context = SimpleNamespace(hub=cluster, check_mode=False, deadline=Deadline)
    options = HostOptions(probe_image=None, wait_timeout=1)

    def installed(**item: Any) -> dict[str, Any]:
        given = {"state": "present", "labels": None, "taints": None, "reconciler": None, **item}
        (row,) = hub.run(context, [given], options)  # type: ignore[arg-type]
        return {"labels": row["labels"], "taints": row["taints"]}

    both = {"labels": {"region": "eu"}, "taints": [{"key": "hub", "value": ""}]}
    assert installed(**both) == both
    assert installed() == both
    assert HostLabels.of(cluster.get("v1/Namespace", "tenantry-system")).as_row() == both
    assert installed(taints=[]) == {**both, "taints": []}
