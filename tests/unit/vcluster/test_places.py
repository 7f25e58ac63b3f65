"""What a host's own networks and nodes mean for a virtual cluster on it."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_places import Surroundings, check_volume
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster_spec import parse

from .example import make_item


def node(name: str, pods: str, **addresses: str) -> dict:
    return {
        "metadata": {"name": name},
        "spec": {"podCIDRs": [pods]},
        "status": {"addresses": [{"type": kind, "address": address} for kind, address in addresses.items()]},
    }


AROUND = Surroundings(
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
    return AROUND.published_address(parse(make_item(expose={"address": None, **expose})), record or {})


def test_the_address_given_counts():
    assert at({"address": "172.16.0.6"}, address="api.example.com") == "api.example.com"


def test_an_address_once_published_is_kept_while_a_node_has_it():
    assert at({"address": "172.16.0.6"}) == "172.16.0.6"
    assert at({"address": "172.16.0.99"}) == at()


def test_an_address_reached_from_outside_is_preferred():
    """Of all nodes: any of them answers a node port."""
    assert at() == "203.0.113.6"


def test_without_a_node_an_address_must_be_given():
    empty = Surroundings("edge", [], [])
    with pytest.raises(TenantryError, match=r"expose\.address"):
        empty.published_address(parse(make_item(expose={"address": None})), {})
    assert empty.published_address(parse(make_item(expose={"type": "ClusterIP", "address": None})), {}) == ""


class Host:
    """A host whose storage classes are known."""

    name = "edge"

    def get(self, _kind: str, name: str) -> dict:
        return {"metadata": {"name": name}, "allowVolumeExpansion": name == "grows"}


@pytest.mark.parametrize(
    ("size", "storage_class", "told"),
    [
        ("4Gi", "grows", "shrink"),
        ("5Gi", "fixed", None),
        ("5120Mi", "fixed", None),
        ("6Gi", "grows", None),
        ("6Gi", "fixed", "storage class fixed of host edge"),
        ("6Gi", None, "does not allow it"),
    ],
)
def test_a_volume_grows_where_its_storage_class_lets_it(size, storage_class, told):
    claim = {"spec": {"resources": {"requests": {"storage": "5Gi"}}, "storageClassName": storage_class}}
    spec = parse(make_item(persistence={"size": size}))
    if told is None:
        check_volume(Host(), spec, claim)
        return
    with pytest.raises(TenantryError, match=told):
        check_volume(Host(), spec, claim)


def test_a_new_volume_has_the_size_asked_for():
    check_volume(Host(), parse(make_item()), None)
