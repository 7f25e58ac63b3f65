"""If an administrator keeps the platform from listing one kind, all other findings are still reported."""

from __future__ import annotations

import json
from pathlib import Path

from .harness import call_module, kubectl, ran, until
from .people import User

GROUP = "v1.batch"


def _served_by_nobody(name: str) -> dict[str, object]:
    version, _dot, group = name.partition(".")
    service = {"namespace": "default", "name": "nobody"}
    spec = {"group": group, "version": version, "groupPriorityMinimum": 20000, "versionPriority": 1}
    spec |= {"service": service, "insecureSkipTLSVerify": True}
    return {"spec": spec, "metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": None}}}


def test_a_kind_that_cannot_be_listed_hides_no_other(payments: Path, dev: Path, user: User) -> None:
    assert not user(role="admin").failed
    before = json.loads(ran(dev, "get", "apiservice", GROUP, "-o", "json"))
    meta = {key: before["metadata"][key] for key in ("name", "labels")}
    ran(dev, "create", "serviceaccount", "helper", "-n", "tenantry-system")
    try:
        ran(dev, "patch", "apiservice", GROUP, "--type=merge", "-p", json.dumps(_served_by_nobody(GROUP)))
        until(lambda: kubectl(dev, "get", "cronjobs", "-A").returncode != 0)
        told = call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data
        assert told["unreachable_vclusters"] == {}
        found = {(one["kind"], one["name"]): one for one in told["findings"]}
        assert {*found} == {
            ("APIService", GROUP),
            ("CronJob", "*"),
            ("Job", "*"),
            ("ServiceAccount", "helper"),
        }
        assert "cannot be listed" in found["Job", "*"]["why"]
        removed = user(state="absent", kubeconfig_path=None)
        assert not removed.failed, removed.msg
        assert {(one["kind"], one["name"]) for one in removed.data["results"][0]["remains"]} == {*found}
    finally:
        ran(dev, "delete", "apiservice", GROUP)
        ran(dev, "create", "-f", "-", stdin=json.dumps({**before, "metadata": meta}))
        ran(dev, "delete", "serviceaccount", "helper", "-n", "tenantry-system")
        until(lambda: kubectl(dev, "get", "cronjobs", "-A").returncode == 0)
