"""Members of the fleet, on clusters in memory: what a row says after a failure."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import member_manifests, members, registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import HostOptions
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import run_each

from .._vcluster.fake_host import FakeHost

OPTIONS = HostOptions(probe_image="probe", wait_timeout=1)
CONTEXT = SimpleNamespace(check_mode=False, deadline=Deadline, warn=lambda _text: None)


def _fails(*_of: Any, **_options: Any) -> None:
    raise ApiError("no answer")


def _row(hub: FakeHost, want: members.DesiredMember) -> dict[str, Any]:
    fleet = registry.Fleet(hub, [], lambda *_of: hub)  # type: ignore[arg-type,return-value]  # fakes
    (row,) = run_each(hub, [want], members.DesiredMember.known, lambda one: members._row(CONTEXT, fleet, one, OPTIONS))  # type: ignore[arg-type]
    return row


def test_leave_that_times_out_tells_what_was_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, member = FakeHost.hub(), FakeHost("edge", *member_manifests.member_objects("uid-of-hub", None))
    monkeypatch.setattr(members, "wait_gone", _fails)
    want = members.DesiredMember("edge", False, None, 60, False, cluster=member, identity=member.identity())  # type: ignore[arg-type]
    row = _row(hub, want)
    assert (row["name"], row["changed"], row["error"]) == ("edge", True, "no answer")
    assert ("delete", "Namespace", naming.PLATFORM_NAMESPACE) in [
        (one["action"], one["kind"], one["name"]) for one in row["actions"]
    ]


def test_join_that_fails_tells_what_was_created(monkeypatch: pytest.MonkeyPatch) -> None:
    hub, member = FakeHost.hub(), FakeHost("edge")
    monkeypatch.setattr(members.bound_tokens, "issue", _fails)
    row = _row(hub, members.DesiredMember("edge", True, None, 60, False, cluster=member, identity=member.identity()))  # type: ignore[arg-type]
    assert (row["changed"], row["error"]) == (True, "no answer")
    assert member.get("v1/Namespace", naming.PLATFORM_NAMESPACE)
    assert "Namespace" in [one["kind"] for one in row["actions"]]
