"""Users of tenants that have, or do not have, virtual clusters on a member that does not answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SERVICE_ACCOUNT
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._users import reconcile

from .._tenant.fleet import add_silent_member
from .._vcluster.fake_host import FakeHost

OPTIONS = ("access", "hub_access", "kubeconfig_path", "kubeconfigs", "oidc", "purge_kubeconfigs", "revoke_certificates")


@pytest.mark.parametrize(
    ("host", "error"), [("edge", "edge is down"), ("hub", ""), (None, "")], ids=["there", "elsewhere", "none"]
)
def test_silent_member_concerns_tenants_with_promises_on_it(host: str | None, error: str) -> None:
    hub = FakeHost.hub()
    promised = {"payments--far": promises.Promise.of(host, {})} if host else {}
    cluster = add_silent_member(hub, "edge", promised)
    context = SimpleNamespace(hub=hub, cluster=cluster, check_mode=False, warn=print, missing=print)
    item: dict[str, Any] = {**dict.fromkeys(OPTIONS), "tenant": "payments", "name": "ann", "role": "viewer"}
    item["lifetime"] = "30d"
    for state in ("present", "absent"):
        (row,) = reconcile.run(context, [{**item, "state": state}])
        assert row["error"] == error
        assert row["actions"]
        assert bool(hub.get(SERVICE_ACCOUNT, "ann", "tenant-payments")) == (state == "present")
