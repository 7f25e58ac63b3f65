"""The platform on the hub, a cluster in memory: what the row says after a failure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import hub
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
    (row,) = hub.run(context, [{"state": "absent"}], HostOptions(probe_image="probe", wait_timeout=1))  # type: ignore[arg-type]
    assert (row["changed"], row["error"]) == (True, "no answer")
    assert "Namespace" in [one["kind"] for one in row["actions"]]
