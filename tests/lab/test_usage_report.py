"""The module usage_report against a real API server: what it reads, what it writes, what it says is missing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for

from .harness import ModuleResult, ansible_playbook, call_module, kubectl, ran, until, writes
from .people import add_vcluster, labels_of, silent_member

QUOTA = {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 20, "vclusters": 3}
RESOURCES = {"cpu": "3", "memory": "2Gi", "storage": "5Gi", "pods": "10"}
HARD = {
    **{"limits.cpu": "3", "limits.memory": "2Gi", "requests.cpu": "3", "requests.memory": "2Gi"},
    **{"requests.storage": "5Gi", "pods": "10", "services.nodeports": "2", "requests.nvidia.com/gpu": "2"},
}
PRICES = {"cpu_hour": 0.06, "memory_gib_hour": "0.012", "clusters": {"hub": {"control_plane_hour": 1.2}}}
WEB = {
    "name": "web",
    "image": "web",
    "resources": {
        "requests": {"cpu": "500m", "memory": "256Mi", "nvidia.com/gpu": "1"},
        "limits": {"cpu": "1", "memory": "512Mi", "nvidia.com/gpu": "1"},
    },
}
NODE = {"cpu": "8", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2"}


def create(hub: Path, *objects: dict) -> None:
    ran(hub, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def metrics(kind: str, name: str, usage: dict[str, str], namespace: str | None = None) -> dict:
    spot = {"name": name, **({"namespace": namespace} if namespace else {})}
    measured = {"containers": [{"name": "web", "usage": usage}]} if namespace else {"usage": usage}
    return {"apiVersion": "metrics.k8s.io/v1beta1", "kind": kind, "metadata": spot, **measured}


def metrics_api(kind: str, plural: str, scope: str) -> dict:
    """The API of metrics-server, here with objects that the test chooses."""
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    approved = {"api-approved.kubernetes.io": "unapproved, for a test"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.metrics.k8s.io", "annotations": approved},
        "spec": {
            "group": "metrics.k8s.io",
            "scope": scope,
            "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1beta1", "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.fixture(scope="module")
def payments(platform: Path, cluster: Any) -> Iterator[Path]:
    """The hub with a node and the tenant payments, whose virtual cluster dev has a pod."""
    made = call_module("tenant_quota", kubeconfig=platform, tenant="payments", quota=QUOTA, display_name="<b>Pay</b>")
    assert not made.failed, made.msg
    add_vcluster(platform, "payments", "dev", resources=RESOURCES, tier="prod", mode="shared", version="v1.37.2+k3s1")
    home = {"namespace": "payments--dev"}
    quota = {"name": "vcluster", **home, "labels": labels_of("payments", "dev")}
    create(platform, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota, "spec": {"hard": HARD}})
    create(platform, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "node"}})
    status = {"status": {"capacity": NODE, "allocatable": {**NODE, "cpu": "7"}}}
    ran(platform, "patch", "node", "node", "--subresource=status", "-p", json.dumps(status))
    counted = {"what": "the quota", "deadline": Deadline(30)}
    wait_for(cluster, "v1/ResourceQuota", "vcluster", "payments--dev", lambda one: "used" in one["status"], **counted)
    wait_for(cluster, "v1/ServiceAccount", "default", "payments--dev", bool, **counted)
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", **home}, "spec": {"containers": [WEB]}}
    create(platform, pod)
    yield platform
    kubectl(platform, "delete", "node", "node")
    kubectl(platform, "delete", "namespace", "payments--dev")
    removed = call_module("tenant_quota", kubeconfig=platform, tenant="payments", state="absent")
    assert not removed.failed, removed.msg


@pytest.fixture
def measured(payments: Path) -> Iterator[Path]:
    """The same, measured: the pod uses 0.25 cores and 300 MiB, the node 2 cores and 4 GiB."""
    create(payments, metrics_api("PodMetrics", "pods", "Namespaced"), metrics_api("NodeMetrics", "nodes", "Cluster"))
    until(lambda: kubectl(payments, "get", "pods.metrics.k8s.io,nodes.metrics.k8s.io", "-A").returncode == 0)
    of_pod = metrics("PodMetrics", "web", {"cpu": "250000001n", "memory": "307200Ki"}, "payments--dev")
    elsewhere = metrics("PodMetrics", "other", {"cpu": "1", "memory": "1Gi"}, "default")
    create(payments, of_pod, elsewhere, metrics("NodeMetrics", "node", {"cpu": "2", "memory": "4Gi"}))
    yield payments
    ran(payments, "delete", "crd", "pods.metrics.k8s.io", "nodes.metrics.k8s.io")


def reported(hub: Path, directory: Path, **options: Any) -> tuple[ModuleResult, dict[str, Any]]:
    found = call_module("usage_report", kubeconfig=hub, json=directory / "report.json", **options)
    assert not found.failed, found.msg
    path = directory / "report.json"
    return found, json.loads(path.read_text()) if path.exists() else {}


def test_host_without_metrics_is_a_gap(payments: Path, tmp_path: Path) -> None:
    found, report = reported(payments, tmp_path)
    assert report["vclusters"][0]["used"] is None
    assert report["vclusters"][0]["requested"]["cpu"] == 0.5
    assert report["clusters"][0]["cpu"]["used"] is None
    assert "404" in found.data["unmeasured_clusters"]["hub"]
    assert [one["about"] for one in found.data["attention"] if "reports no use" in one["text"]] == ["hub"]


def test_silent_member_is_a_gap_that_is_named(payments: Path, tmp_path: Path) -> None:
    with silent_member(payments):
        found, report = reported(payments, tmp_path, page=tmp_path / "index.html", history=tmp_path / "usage.sqlite")
    assert list(found.data["missing_clusters"]) == ["edge"]
    assert found.data["counted_seconds"] == {"hub": 300}
    assert [one["name"] for one in report["clusters"]] == ["hub"]
    assert "edge does not answer" in (tmp_path / "index.html").read_text()


def test_all_files_are_private_and_whole(payments: Path, tmp_path: Path) -> None:
    kinds = {"page": "index.html", "csv": "charges.csv", "metrics": "tenantry.prom"}
    paths = {kind: tmp_path / name for kind, name in kinds.items()}
    more = {"history": tmp_path / "usage.sqlite", "tenant_pages": tmp_path / "tenants", "prices": PRICES}
    found, _report = reported(payments, tmp_path, **paths, **more)
    files = [tmp_path / "report.json", *paths.values(), tmp_path / "tenants" / "payments.html"]
    assert sorted(found.data["files"]) == sorted(map(str, files))
    assert {path.stat().st_mode & 0o777 for path in [*files, tmp_path / "usage.sqlite"]} == {0o600}
    page = paths["page"].read_text()
    assert "&lt;b&gt;Pay&lt;/b&gt;" in page
    assert "<b>" not in page
    assert paths["csv"].read_text().startswith("BilledCost,")
    assert 'tenantry_vcluster_cpu_requested_cores{tenant="payments",vcluster="dev",cluster="hub"} 0.5\n' in (
        paths["metrics"].read_text()
    )
    assert "hub" not in json.loads((tmp_path / "report.json").read_text())["missing_clusters"]


def test_check_mode_writes_nothing(payments: Path, tmp_path: Path) -> None:
    options = {"history": tmp_path / "usage.sqlite", "page": tmp_path / "index.html"}
    found, _report = reported(payments, tmp_path, check=True, **options)
    assert found.changed
    assert sorted(found.data["files"]) == [str(tmp_path / "index.html"), str(tmp_path / "report.json")]
    assert list(tmp_path.iterdir()) == []


def test_without_files_nothing_changes(payments: Path) -> None:
    found = call_module("usage_report", kubeconfig=payments, query="attention[?level=='critical'].about")
    assert (found.failed, found.changed) == (False, False)
    assert found.data["query_result"] == ["payments/dev"], "it has no server"


def test_one_tenant(payments: Path, tmp_path: Path) -> None:
    found, report = reported(payments, tmp_path, tenant="payments")
    assert (report["clusters"], report["cost"]) == ([], None)
    assert [one["name"] for one in report["tenants"]] == ["payments"]
    assert found.data["cost"] is None
    refused = call_module("usage_report", kubeconfig=payments, tenant="nobody")
    assert "there is no tenant nobody" in refused.msg


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"retention": "30d"}, "retention: 30d is too short. Use 93d or more"),
        ({"mode": "999"}, 'mode: "999" is not a file mode'),
        ({"prices": {"cpu_hour": "cheap"}}, 'prices.cpu_hour: "cheap" is not a price'),
        ({"tenant": "No"}, "tenant: "),
    ],
)
def test_bad_options_are_refused_before_a_request(options: dict[str, Any], error: str) -> None:
    found = call_module("usage_report", kubeconfig=Path("/nowhere"), **options)
    assert found.failed
    assert error in found.msg


def test_file_that_cannot_be_written_is_named(payments: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    found = call_module("usage_report", kubeconfig=payments, page=tmp_path / "file" / "index.html")
    assert f"{tmp_path}/file/index.html: cannot be written: " in found.msg
    assert "unexpected" not in found.msg


def test_sample_has_what_is_promised_requested_and_used(measured: Path, tmp_path: Path) -> None:
    written = len(writes(measured))
    found, report = reported(measured, tmp_path, history=tmp_path / "usage.sqlite", prices=PRICES)
    assert found.changed
    assert found.data["counted_seconds"] == {"hub": 300}
    (one,) = report["vclusters"]
    assert one["promised"] == {"cpu": 3, "memory": 2 * 1024**3, "storage": 5 * 1024**3}
    assert one["requested"] == {"cpu": 0.5, "memory": 256 * 1024**2}
    assert one["limited"] == {"cpu": 1, "memory": 512 * 1024**2}
    assert one["used"] == {"cpu": 0.25, "memory": 300 * 1024**2}
    assert (one["pods"], one["node_ports"], one["extended"]) == (1, 0, {"nvidia.com/gpu": 1})
    (hub,) = report["clusters"]
    assert hub["cpu"] | {"promised": 0} == {
        **{"capacity": 8, "allocatable": 7, "promised": 0, "requested": 0.5, "used": 2, "idle": 7.5}
    }
    assert (hub["gpus"], hub["nodes"]) == (2, 1)
    assert (report["missing_clusters"], report["unmeasured_clusters"]) == ({}, {})
    # 8 cores, 16 GiB and the control plane for five minutes: (8 * 0.06 + 16 * 0.012 + 1.2) / 12.
    assert report["cost"]["month_to_date"] == "0.16"
    assert len(writes(measured)) == written, "it changes nothing in a cluster"


def test_period_is_read_from_the_history(measured: Path, tmp_path: Path) -> None:
    given = {"kubeconfig": measured, "history": tmp_path / "usage.sqlite", "since": "1d"}
    missing = call_module("tenant_usage_info", **given)
    assert "usage.sqlite is no file. Correct the path, or run usage_report" in missing.msg
    reported(measured, tmp_path, history=given["history"])
    query = "tenants[?name=='payments'].history[].cpu_core_hours.allocated"
    found = call_module("tenant_usage_info", **given, query=query)
    assert not found.failed, found.msg
    (tenant,) = [one for one in found.data["tenants"] if one["name"] == "payments"]
    assert {(one["vcluster"], one["host"]) for one in tenant["history"]} == {("dev", "hub")}
    assert found.data["query_result"] == [one["cpu_core_hours"]["allocated"] for one in tenant["history"]]
    assert 0 < sum(found.data["query_result"]) < 0.1


def test_playbook_writes_a_patch_of_its_own_inventory(payments: Path, tmp_path: Path) -> None:
    """It is empty, because a proposal needs a week of history."""
    inventory = tmp_path / "inventory"
    (inventory / "group_vars").mkdir(parents=True)
    (inventory / "hosts.yml").write_text("fleet_hub: {hosts: {hub: {ansible_connection: local}}}\n")
    variables: dict[str, Any] = {"tenantry_kubeconfig": str(payments)}
    variables["tenantry_usage_history"] = str(tmp_path / "usage.sqlite")
    variables["tenantry_tenants"] = [{"name": "payments", "quota": QUOTA}]
    (inventory / "group_vars" / "all.yml").write_text(json.dumps(variables))
    patch = tmp_path / "sizing.patch"
    ansible_playbook("playbooks/report.yml", "-e", f"usage_report_patch={patch}", inventory=str(inventory))
    assert patch.read_text() == ""
