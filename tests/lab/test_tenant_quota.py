"""The module tenant_quota against a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ModuleResult, call_module, everything, kubectl, run_module, writes
from .people import add_vcluster

DEFAULTS = {"cpu": "8", "memory": "16Gi", "storage": "100Gi", "pods": "100", "vclusters": "5"}


@pytest.fixture(scope="module", autouse=True)
def _removed_afterwards(platform: Path) -> Iterator[None]:
    yield
    tenants = [{"tenant": name, "state": "absent"} for name in ("payments", "research")]
    removed = call_module("tenant_quota", kubeconfig=platform, tenants=tenants)
    assert not removed.failed, removed.msg


@pytest.fixture
def payments(platform: Path) -> Path:
    """The hub, with the tenant payments and its default quota."""
    assert not call_module("tenant_quota", kubeconfig=platform, tenant="payments").failed
    return platform


def _steps(row: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(action["action"], action["kind"], action["name"]) for action in row["actions"]]


def _record(hub: Path, tenant: str) -> dict[str, str]:
    found = kubectl(hub, "get", "configmap", "-n", f"tenant-{tenant}", "tenant", "-o", "json")
    return json.loads(found.stdout)["data"]


@pytest.fixture
def vcluster(payments: Path) -> Iterator[Path]:
    """The hub, on which payments has the virtual cluster dev with resources of 2 cores and 3 GiB."""
    add_vcluster(payments, "payments", "dev", resources={"cpu": "2", "memory": "3Gi", "storage": "0", "pods": "12"})
    yield payments
    kubectl(payments, "delete", "namespace", "payments--dev")


def test_make_predict_repeat_remove(platform: Path) -> None:
    before, written = everything(platform), len(writes(platform))
    options = {
        "kubeconfig": platform,
        "tenants": [
            {"tenant": "payments", "display_name": "Payments (7)", "quota": {"cpu": "500m", "memory": "1024Mi"}},
            {"tenant": "research"},
        ],
    }
    predicted = run_module("tenant_quota", check=True, diff=True, **options)
    assert predicted.changed
    assert writes(platform)[written:] == []

    made = run_module("tenant_quota", diff=True, **options)
    assert [row["actions"] for row in made.data["results"]] == [row["actions"] for row in predicted.data["results"]]
    assert made.data["diff"] == predicted.data["diff"]
    assert made.data["results"][0]["quota"] == DEFAULTS | {"cpu": "500m", "memory": "1Gi"}
    assert _record(platform, "payments")["display_name"] == "Payments (7)"
    assert json.loads(_record(platform, "payments")["quota"]) == made.data["results"][0]["quota"]
    assert json.loads(_record(platform, "research")["quota"]) == DEFAULTS

    written = len(writes(platform))
    options["tenants"][0]["quota"] = {"cpu": "0.5", "memory": "1Gi"}  # the same, in other words
    again = run_module("tenant_quota", diff=True, **options)
    assert (again.failed, again.changed, again.data["diff"]) == (False, False, [])
    assert writes(platform)[written:] == []

    absent = [{"tenant": "payments", "state": "absent"}, {"tenant": "research", "state": "absent"}]
    removed = call_module("tenant_quota", kubeconfig=platform, tenants=absent)
    assert [_steps(row) for row in removed.data["results"]] == [
        [("delete", "Namespace", "tenant-payments")],
        [("delete", "Namespace", "tenant-research")],
    ]
    assert everything(platform) == before
    assert not call_module("tenant_quota", kubeconfig=platform, tenants=absent).changed


def test_nothing_runs_in_a_home_namespace(payments: Path) -> None:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "x", "namespace": "tenant-payments"},
        "spec": {"containers": [{"name": "x", "image": "x"}]},
    }
    control = kubectl(payments, "create", "configmap", "-n", "tenant-payments", "x", "--from-literal=a=b")
    assert control.returncode == 0, control.stderr
    assert "PodSecurity" in kubectl(payments, "create", "-f", "-", stdin=json.dumps(pod)).stderr
    pod["spec"] |= {"securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}}
    pod["spec"]["containers"][0]["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    assert "exceeded quota" in kubectl(payments, "create", "-f", "-", stdin=json.dumps(pod)).stderr


def test_one_quota_changes_and_the_diff_says_how(payments: Path) -> None:
    options = {"kubeconfig": payments, "tenant": "payments", "quota": {"cpu": "16"}, "diff": True}
    changed = call_module("tenant_quota", **options)
    assert [(action["kind"], action["paths"]) for action in changed.data["actions"]] == [("ConfigMap", ["data.quota"])]
    shown = changed.data["diff"][0]
    assert '"cpu": "8"' in shown["before"]
    assert '"cpu": "16"' in shown["after"]
    assert not call_module("tenant_quota", **options).changed


def test_drift_is_named_and_repaired(payments: Path) -> None:
    kubectl(payments, "delete", "resourcequota", "-n", "tenant-payments", "tenant")
    kubectl(payments, "label", "namespace", "tenant-payments", "pod-security.kubernetes.io/enforce-")
    repaired = call_module("tenant_quota", kubeconfig=payments, tenant="payments")
    assert sorted(_steps(repaired.data)) == [
        ("create", "ResourceQuota", "tenant"),
        ("update", "Namespace", "tenant-payments"),
    ]
    assert not call_module("tenant_quota", kubeconfig=payments, tenant="payments").changed


def test_a_foreign_namespace_is_left_alone(platform: Path) -> None:
    kubectl(platform, "create", "namespace", "tenant-foreign")
    try:
        refused = call_module("tenant_quota", kubeconfig=platform, tenant="foreign")
        assert refused.failed
        assert "Namespace tenant-foreign on hub exists and does not belong to the platform" in refused.msg
        labels = kubectl(platform, "get", "namespace", "tenant-foreign", "-o", "jsonpath={.metadata.labels}").stdout
        assert "tenantry" not in labels
        # What is not a tenant of ours is not removed as one either.
        absent = call_module("tenant_quota", kubeconfig=platform, tenant="foreign", state="absent")
        assert (absent.failed, absent.changed) == (False, False)
        assert kubectl(platform, "get", "namespace", "tenant-foreign").returncode == 0
    finally:
        kubectl(platform, "delete", "namespace", "tenant-foreign")


def test_a_quota_below_use_is_accepted_with_a_warning(vcluster: Path) -> None:
    options = {"kubeconfig": vcluster, "tenant": "payments"}
    lowered = run_module("tenant_quota", quota={"cpu": "1500m", "memory": "3Gi"}, **options)
    assert lowered.changed
    assert "below the current use (cpu 2 of 1500m)" in str(lowered.data["warnings"])
    assert kubectl(vcluster, "get", "namespace", "payments--dev").returncode == 0
    enough = run_module("tenant_quota", quota={"cpu": "2", "memory": "3Gi", "vclusters": 1}, **options)
    assert (enough.changed, "warnings" in enough.data) == (True, False)


def test_a_tenant_with_virtual_clusters_stays(vcluster: Path) -> None:
    written = len(writes(vcluster))
    refused = call_module("tenant_quota", kubeconfig=vcluster, tenant="payments", state="absent")
    assert refused.failed
    assert "cannot be removed while it has virtual clusters: payments--dev" in refused.msg
    assert writes(vcluster)[written:] == []
    assert "tenant payments" in call_module("platform", kubeconfig=vcluster, state="absent").msg


def test_the_platform_comes_first(second_api_server: Path) -> None:
    refused = call_module("tenant_quota", kubeconfig=second_api_server, tenant="payments")
    assert "the platform is not installed on the cluster at https://" in refused.msg


@pytest.mark.parametrize(
    ("item", "line"),
    [
        ({"tenant": ""}, "is empty"),
        ({"tenant": "Payments"}, "for example payments"),
        ({"tenant": "pay_ments"}, "is not a valid name"),
        ({"tenant": "-payments"}, "is not a valid name"),
        ({"tenant": "payments-"}, "is not a valid name"),
        ({"tenant": "pay.ments"}, "is not a valid name"),
        ({"tenant": "pay/ments"}, "is not a valid name"),
        ({"tenant": "a--b"}, "contains `--`"),
        ({"tenant": "p" * 60}, "at most 63 are allowed"),
        ({"tenant": "system"}, "is reserved"),
        ({"tenant": "pаyments"}, "is not a valid name"),
        ({"tenant": "pay\nments"}, "is not a valid name"),
        ({"tenant": False}, "is not text"),
        ({"tenant": "{{ x }}"}, "is not a valid name"),
        ({"tenant": "payments", "display_name": "a\x1b[31m"}, "display_name"),
        ({"tenant": "payments", "quota": {"cpu": "-1"}}, "quota.cpu of tenant payments"),
        ({"tenant": "payments", "quota": {"cpu": "ten"}}, "quota.cpu of tenant payments"),
        ({"tenant": "payments", "quota": {"memory": "10gb"}}, "quota.memory of tenant payments"),
        ({"tenant": "payments", "quota": {"pods": -1}}, "quota.pods of tenant payments"),
        ({"tenant": "payments", "quota": {"pods": "many"}}, "pods"),
        ({"tenant": "payments", "quota": {"cpus": "1"}}, "cpus"),
        ({"tenant": "payments", "bugdet": {}}, "bugdet"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(platform: Path, item: dict[str, Any], line: str) -> None:
    written = len(writes(platform))
    for options in (item, {"tenants": [{"tenant": "good"}, item]}):
        refused: ModuleResult = call_module("tenant_quota", kubeconfig=platform, **options)
        assert refused.failed
        assert line in refused.msg
        assert "\n" not in refused.msg
        assert "Traceback" not in refused.text
    assert writes(platform)[written:] == []


def test_a_tenant_given_twice_is_refused(platform: Path) -> None:
    refused = call_module("tenant_quota", kubeconfig=platform, tenants=[{"tenant": "a"}, {"tenant": "a"}])
    assert '"a" is given twice' in refused.msg
    refused = call_module("tenant_quota", kubeconfig=platform, tenant="a", tenants=[{"tenant": "a"}])
    assert "not together with tenant" in refused.msg
