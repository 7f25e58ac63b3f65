"""The module tenant_usage_info against a real API server, whose own quotas count."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for

from .harness import call_module, kubectl, writes
from .people import add_vcluster, labels_of

QUOTA = {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 20, "vclusters": 3}
RESOURCES = {"cpu": "3", "memory": "2Gi", "storage": "5Gi", "pods": "10"}
HARD = {"limits.cpu": "3", "limits.memory": "2Gi", "requests.storage": "5Gi", "pods": "10"}


def usage(hub: Path, **options: Any) -> dict[str, dict]:
    found = call_module("tenant_usage_info", kubeconfig=hub, **options)
    assert not found.failed, found.msg
    assert not found.changed
    return {row["name"]: row for row in found.data["tenants"]}


def create(hub: Path, *objects: dict) -> None:
    made = kubectl(hub, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    assert made.returncode == 0, made.stderr


@pytest.fixture
def payments(platform: Path, cluster: Any) -> Iterator[Path]:
    """The hub with two tenants, of which payments has the virtual cluster dev, whose resources one pod uses."""
    tenants = [{"tenant": "payments", "quota": QUOTA}, {"tenant": "research"}]
    assert not call_module("tenant_quota", kubeconfig=platform, tenants=tenants).failed
    add_vcluster(platform, "payments", "dev", resources=RESOURCES)
    home = {"namespace": "payments--dev"}
    quota = {"name": "vcluster", **home, "labels": labels_of("payments", "dev")}
    limits = {"cpu": "500m", "memory": "256Mi"}
    container = {"name": "web", "image": "web", "resources": {"limits": limits}}
    create(platform, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": quota, "spec": {"hard": HARD}})
    counted = {"what": "the quota", "deadline": Deadline(30)}
    wait_for(cluster, "v1/ResourceQuota", "vcluster", "payments--dev", lambda one: "used" in one["status"], **counted)
    wait_for(cluster, "v1/ServiceAccount", "default", "payments--dev", bool, **counted)
    create(
        platform,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", **home}, "spec": {"containers": [container]}},
    )
    yield platform
    kubectl(platform, "delete", "namespace", "payments--dev")
    gone = [{"tenant": one["tenant"], "state": "absent"} for one in tenants]
    removed = call_module("tenant_quota", kubeconfig=platform, tenants=gone)
    assert not removed.failed, removed.msg


def test_quota_resources_and_use(payments: Path) -> None:
    written = len(writes(payments))
    found = usage(payments)
    assert list(found) == ["payments", "research"]
    mine = found["payments"]
    assert mine["quota"] == {**QUOTA, "pods": "20", "vclusters": "3"}
    assert mine["allocated"] == {**RESOURCES, "vclusters": "1"}
    assert mine["available"] == {"cpu": "1", "memory": "6Gi", "storage": "15Gi", "pods": "10", "vclusters": "2"}
    assert mine["used"] == {"cpu": "500m", "memory": "256Mi", "storage": "0", "pods": "1", "vclusters": "1"}
    assert mine["exceeded"] == []
    assert [one["name"] for one in mine["vclusters"]] == ["dev"]
    assert mine["vclusters"][0]["resources"]["cpu"] == {"used": "500m", "hard": "3"}
    assert found["research"]["vclusters"] == []
    assert found["research"]["allocated"]["cpu"] == "0"
    assert len(writes(payments)) == written, "it only looks"


def test_a_quota_below_what_was_given_is_reported(payments: Path) -> None:
    lowered = call_module("tenant_quota", kubeconfig=payments, tenant="payments", quota={**QUOTA, "cpu": "2"})
    assert "below the current use (cpu 3 of 2)" in lowered.text
    mine = usage(payments, tenant="payments")["payments"]
    assert mine["exceeded"] == ["cpu"]
    assert mine["available"]["cpu"] == "0"


@pytest.mark.parametrize(("tenant", "rule"), [("nobody", "there is no tenant nobody"), ("No", "lower-case")])
def test_a_tenant_that_is_not_there_is_refused(platform: Path, tenant: str, rule: str) -> None:
    refused = call_module("tenant_usage_info", kubeconfig=platform, tenant=tenant)
    assert refused.failed
    assert rule in refused.msg


def test_query_selects_a_part(payments: Path) -> None:
    found = call_module("tenant_usage_info", kubeconfig=payments, query="tenants[?used.pods=='1'].name")
    assert found.data["query_result"] == ["payments"]
    assert [row["name"] for row in found.data["tenants"]] == ["payments", "research"]
    nothing = call_module("tenant_usage_info", kubeconfig=payments, query="nothing")
    assert nothing.data["query_result"] is None
    assert "query_result" not in call_module("tenant_usage_info", kubeconfig=payments).data


def test_query_invalid_is_an_error_before_a_request() -> None:
    found = call_module("tenant_usage_info", kubeconfig=Path("/nowhere"), query="tenants[?")
    assert found.failed
    assert found.msg.startswith('query: "tenants[?" is not a valid query: ')


def test_query_of_wrong_types_is_an_error(payments: Path) -> None:
    found = call_module("tenant_usage_info", kubeconfig=payments, query="length(nothing)")
    assert found.failed
    assert 'query: "length(nothing)" is not a valid query: ' in found.msg
