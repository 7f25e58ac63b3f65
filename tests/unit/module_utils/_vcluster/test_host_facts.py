"""What a host's own networks and nodes mean for a virtual cluster on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import NO_RECORD, VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.host_facts import HostFacts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .example import SHARED, make_item


def node(name: str, pods: str, **addresses: str) -> dict:
    return {
        "metadata": {"name": name},
        "spec": {"podCIDRs": [pods]},
        "status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses.items()]},
    }


AROUND = HostFacts(
    "edge",
    [
        node("a", "10.42.0.0/24", InternalIP="172.16.0.5", Hostname="a"),
        node("b", "10.42.1.0/24", InternalIP="172.16.0.6", ExternalIP="203.0.113.6"),
    ],
    ["10.43.0.1"],
)


@pytest.mark.parametrize(
    ("networks", "told"),
    [
        ({"cluster_cidr": "10.42.0.0/16"}, "the pod network of node a"),
        ({"service_cidr": "10.43.0.0/16"}, "the service network"),
        ({"cluster_cidr": "172.16.0.0/20"}, "the address of node a"),
    ],
)
def test_networks_of_the_host_are_refused(networks, told):
    with pytest.raises(TenantryError) as refused:
        AROUND.check_networks(parse(make_item(**networks)))
    assert told in str(refused.value)
    assert "edge" in str(refused.value)


def test_the_default_networks_are_free_beside_those_of_k3s():
    AROUND.check_networks(parse(make_item()))


def at(record: dict | None = None, **expose: object) -> str:
    return AROUND.published_address(
        parse(make_item(expose={"address": None, **expose})), VClusterRecord(**(record or {}))
    )


def test_the_address_given_counts():
    assert at({"address": "172.16.0.6"}, address="api.example.com") == "api.example.com"


def test_an_address_once_published_is_kept_while_a_node_has_it():
    assert at({"address": "172.16.0.6"}) == "172.16.0.6"
    assert at({"address": "172.16.0.99"}) == at()


def test_an_address_reached_from_outside_is_preferred():
    """Of all nodes: any of them answers a node port."""
    assert at() == "203.0.113.6"


def test_without_a_node_an_address_must_be_given():
    empty = HostFacts("edge", [], [])
    with pytest.raises(TenantryError, match=r"expose\.address"):
        empty.published_address(parse(make_item(expose={"address": None})), NO_RECORD)
    assert empty.published_address(parse(make_item(expose={"type": "ClusterIP", "address": None})), NO_RECORD) == ""


SHARING = replace(AROUND, service_network="10.43.0.0/16")


@pytest.mark.parametrize("given", [None, "10.43.0.0/16"])
def test_a_shared_one_has_the_services_of_its_host(given):
    with_resolved_networks = SHARING.with_resolved_networks(parse(make_item(**SHARED, service_cidr=given)))
    assert (with_resolved_networks.service_cidr, with_resolved_networks.cluster_cidr) == ("10.43.0.0/16", None)


def test_a_shared_one_has_no_other_services():
    with pytest.raises(TenantryError, match=r"service_cidr: 10\.53\.0\.0/16 is not 10\.43\.0\.0/16.* host edge"):
        SHARING.with_resolved_networks(parse(make_item(**SHARED, service_cidr="10.53.0.0/16")))


def test_a_dedicated_one_keeps_its_own_services_beside_a_shared_one():
    assert SHARING.with_resolved_networks(parse(make_item())).service_cidr == "10.53.0.0/16"
    with pytest.raises(TenantryError, match="the service network"):
        SHARING.with_resolved_networks(parse(make_item(service_cidr="10.43.0.0/16")))
