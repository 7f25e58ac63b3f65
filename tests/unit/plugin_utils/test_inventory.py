"""Hosts and groups of the inventory, by rows."""

from __future__ import annotations

import re
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.plugin_utils import _inventory

HUB = {"kubeconfig": "/etc/hub.yaml"}


def vcluster(name: str, **other: Any) -> dict:
    row = {"tenant": "payments", "name": name, "namespace": f"payments--{name}", "host": "hub"}
    return {**row, "mode": "shared", "tier": "dev", "status": "Ready", "version": "v1.37.0+k3s1", **other}


def cluster(name: str, **other: Any) -> dict:
    return {"name": name, "reachable": True, "message": None, **other}


def hosts(fleet: list[dict], vclusters: list[dict]) -> dict[str, _inventory.Host]:
    found = list(_inventory.hosts({"fleet": fleet, "vclusters": vclusters}, HUB))
    assert len({host.name for host in found}) == len(found)
    return {host.name: host for host in found}


def test_hosts_vcluster_is_in_a_group_by_each_field() -> None:
    row = vcluster("dev", host="gcp-1", tier="prod", status="NotReady", version="v1.37.0+k3s1")
    assert hosts([], [row])["payments--dev"].groups == (
        "tenantry_vclusters",
        "tenant_payments",
        "cluster_gcp_1",
        "mode_shared",
        "tier_prod",
        "status_not_ready",
        "version_v1_37_0_k3s1",
    )


def test_hosts_unknown_field_makes_no_group() -> None:
    row = vcluster("dev", mode=None, tier=None, version="")
    assert hosts([], [row])["payments--dev"].groups == (
        "tenantry_vclusters",
        "tenant_payments",
        "cluster_hub",
        "status_ready",
    )


def test_hosts_variables_name_row_and_connection() -> None:
    row = vcluster("dev", host="gcp-1")
    assert hosts([], [row])["payments--dev"].variables == {
        "vcluster": row,
        "ansible_connection": "local",
        "cluster_name": "payments--dev",
        "cluster_host": "gcp-1",
        "tenantry_hub": HUB,
    }


def test_hosts_members_that_do_not_answer_are_grouped() -> None:
    found = hosts([cluster("hub"), cluster("edge", reachable=False, message="cannot connect")], [])
    assert {name: host.groups for name, host in found.items()} == {
        "hub.fleet": ("tenantry_fleet",),
        "edge.fleet": ("tenantry_fleet", "status_unreachable"),
    }
    assert found["edge.fleet"].variables["fleet_cluster"]["message"] == "cannot connect"
    assert {found["edge.fleet"].variables[name] for name in ("cluster_name", "cluster_host")} == {"edge"}


@pytest.mark.parametrize(
    "value", ["a-b", "v1.37.0+k3s1", "{{ 1 }}", "[all]", "ü", " ", "-", "x" * 10_000, "all:!others", 7, True]
)
def test_group_any_value_is_a_safe_name(value: object) -> None:
    name = _inventory.group("version", value)
    assert re.fullmatch(r"version_[a-z0-9_]+", name)
    assert len(name) < 80


def test_group_tenants_have_a_group_each() -> None:
    names = ["a-b", "ab", "a-b-c", "abc", "notready", "not-ready"]
    assert len({_inventory.group("tenant", name) for name in names}) == len(names)
