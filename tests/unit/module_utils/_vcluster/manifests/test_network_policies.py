"""Who may send packets to whom: the network policies of a virtual cluster, and what they are made of."""

from __future__ import annotations

import ipaddress

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import host_networks
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import HostNetworks
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import _phase
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.host_facts import HostFacts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import (
    cluster,
    network_policies,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from ..example import SHARED, make_item, render

HOST = HostNetworks(
    pods=("10.42.0.0/24", "10.42.1.0/24", "fd42::/64"),
    services=("10.43.0.0/16",),
    nodes=("172.16.0.5", "172.16.0.6", "fd16::5"),
    api=(("172.16.0.5", 6443), ("198.51.100.1", 443)),
)
SERVER, POD, DNS, AGENT, SYNCER = "server", "pod", "dns", "agent", "syncer"


def labels(rendering, who: str) -> dict[str, str]:
    if who == DNS:
        return network_policies.syncer_manifests.dns_selector(rendering)
    return {**rendering.selector(who)}


def selects(selector: dict, found: dict[str, str]) -> bool:
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "NotIn"
        if found.get(one["key"]) in one["values"]:
            return False
    return all(found.get(key) == value for key, value in selector.get("matchLabels", {}).items())


def meant(peer: dict, rendering, other: str) -> bool:
    """Whether a peer is meant by a block of addresses or, `other` being one of ours, by its labels."""
    if other in (SERVER, POD, DNS, AGENT, SYNCER):
        return (
            "namespaceSelector" not in peer
            and "podSelector" in peer
            and selects(peer["podSelector"], labels(rendering, other))
        )
    if "/" not in other and not other[0].isdigit() and ":" not in other:
        return peer.get("namespaceSelector") == {"matchLabels": {"kubernetes.io/metadata.name": other}}
    block, address = peer.get("ipBlock"), ipaddress.ip_address(other)
    return (
        bool(block)
        and address in ipaddress.ip_network(block["cidr"])
        and not any(address in ipaddress.ip_network(one) for one in block.get("except", []))
    )


def passes(rendering, direction: str, who: str, other: str, port: int, protocol: str = "TCP") -> bool:
    """By the rules of Kubernetes: a pod that policies select may do what any of them allows."""
    key, peers = ("egress", "to") if direction == "egress" else ("ingress", "from")
    for policy in network_policies.policies(rendering):
        if not selects(policy["spec"]["podSelector"], labels(rendering, who)):
            continue
        for rule in policy["spec"].get(key, []):
            ports = rule.get("ports")
            open_port = not ports or {"port": port, "protocol": protocol} in ports
            if open_port and any(meant(peer, rendering, other) for peer in rule[peers]):
                return True
    return False


def shared(**network):
    return render({"host": HOST}, **SHARED, network=network)


def dedicated(**network):
    return render({"host": HOST}, network=network)


FORBIDDEN = [
    ("10.42.1.7", 8080), ("10.43.0.1", 443), ("172.16.0.5", 6443), ("172.16.0.6", 10250), ("198.51.100.1", 443),
    ("169.254.169.254", 80), ("168.63.129.16", 80), ("100.100.100.200", 80), ("fd42::7", 8080), ("fd16::5", 10250),
    ("fe80::1", 80), ("fd00:ec2::254", 80),
]  # fmt: skip


@pytest.mark.parametrize(("address", "port"), FORBIDDEN)
@pytest.mark.parametrize(
    ("rendering", "who"),
    [(shared(), POD), (shared(), DNS), (shared(), SERVER), (dedicated(), AGENT), (dedicated(), SERVER)],
)
def test_what_is_the_hosts_is_closed(rendering, who, address, port):
    assert not passes(rendering, "egress", who, address, port)
    assert not passes(rendering, "egress", who, address, port, "UDP")


@pytest.mark.parametrize("address", ["192.0.2.1", "10.42.2.1", "172.16.0.7", "2001:db8::1"])
@pytest.mark.parametrize(("rendering", "who"), [(shared(), POD), (dedicated(), AGENT), (shared(), SERVER)])
def test_the_world_is_open(rendering, who, address):
    assert passes(rendering, "egress", who, address, 443)


@pytest.mark.parametrize(("rendering", "who"), [(shared(), POD), (dedicated(), AGENT)])
def test_pods_meet_each_other_and_their_api_only(rendering, who):
    for direction in ("egress", "ingress"):
        assert passes(rendering, direction, who, who, 1234, "UDP")
    assert passes(rendering, "egress", who, SERVER, 6443)
    assert passes(rendering, "ingress", SERVER, who, 6443)
    assert passes(rendering, "egress", SERVER, who, 10250)
    assert passes(rendering, "ingress", who, SERVER, 10250)
    assert not passes(rendering, "egress", who, SERVER, 8080)
    assert not passes(rendering, "ingress", SERVER, who, 8080)


def test_servers_meet_each_other():
    assert passes(dedicated(), "egress", SERVER, SERVER, 2380)
    assert passes(dedicated(), "ingress", SERVER, SERVER, 2380)


def test_the_syncer_alone_reaches_the_hosts_api():
    for address, port in HOST.api:
        assert passes(shared(), "egress", SYNCER, address, port)
    assert not passes(shared(), "egress", SYNCER, "172.16.0.5", 10250)


def test_the_syncer_reaches_nothing_else_and_is_reached_by_the_server_only():
    """Not even a resolver: it is told addresses."""
    assert passes(shared(), "egress", SYNCER, SERVER, 6443)
    assert passes(shared(), "ingress", SERVER, SYNCER, 6443)
    for port in (10250, 10251):
        assert passes(shared(), "ingress", SYNCER, SERVER, port)
        assert passes(shared(), "egress", SERVER, SYNCER, port)
        assert not passes(shared(), "ingress", SYNCER, POD, port)
    assert not passes(shared(), "ingress", SYNCER, SERVER, 8080)
    for other, port in ((POD, 8080), (SERVER, 10250), ("192.0.2.1", 443), ("172.16.0.5", 53)):
        assert not passes(shared(), "egress", SYNCER, other, port)
    assert not passes(shared(), "egress", POD, SYNCER, 10250)
    assert not passes(shared(), "ingress", SYNCER, "192.0.2.1", 10250)


def test_nothing_that_a_tenant_directs_asks_the_hosts_dns():
    """Its pods are named by labels, which no address of the outside has."""
    for rendering, parts in ((shared(), (SERVER, SYNCER, POD, DNS)), (dedicated(), (SERVER, AGENT))):
        for policy in network_policies.policies(rendering):
            if any(selects(policy["spec"]["podSelector"], labels(rendering, part)) for part in parts):
                assert "kube-dns" not in str(policy["spec"].get("egress", [])), policy["metadata"]["name"]


def test_resolvers_are_reached_by_those_who_ask_them():
    """On nodes and at clouds' own addresses too, which a host's resolvers may have. Not at pods."""
    for rendering, who in ((shared(), DNS), (dedicated(), AGENT), (dedicated(), SERVER), (shared(), SERVER)):
        for protocol in ("TCP", "UDP"):
            assert passes(rendering, "egress", who, "169.254.169.254", 53, protocol)
            assert passes(rendering, "egress", who, "172.16.0.5", 53, protocol)
            assert not passes(rendering, "egress", who, "10.42.1.7", 53, protocol)
    assert not passes(shared(), "egress", POD, "169.254.169.254", 53, "UDP")


def test_users_reach_the_api_and_nothing_else():
    for rendering, pods in ((shared(), POD), (dedicated(), AGENT)):
        # People, and nodes: behind a node port people have a node's address, of another node one in its pods' network.
        for outside in ("192.0.2.1", "2001:db8::1", "172.16.0.6", "10.42.1.0", "10.42.1.1", "fd42::1"):
            assert passes(rendering, "ingress", SERVER, outside, 6443)
            assert not passes(rendering, "ingress", SERVER, outside, 8080)
            assert not passes(rendering, "ingress", pods, outside, 8080)
        for others in ("10.42.1.7", "fd42::7"):
            assert not passes(rendering, "ingress", SERVER, others, 6443)


def test_options_open_and_close():
    opened = shared(egress_allow=["172.16.0.6/32", "10.42.1.7/32"], ingress_from=["ingress-nginx", "0.0.0.0/0"])
    assert passes(opened, "egress", POD, "172.16.0.6", 10250)
    assert passes(opened, "egress", POD, "10.42.1.7", 80)
    assert not passes(opened, "egress", POD, "172.16.0.5", 10250)
    assert passes(opened, "ingress", POD, "ingress-nginx", 8080)
    assert passes(opened, "ingress", SERVER, "ingress-nginx", 6443)
    assert passes(opened, "ingress", POD, "192.0.2.1", 8080)
    assert not passes(opened, "ingress", POD, "10.42.1.8", 8080)
    closed = shared(egress_deny=["192.0.2.0/24"])
    assert not passes(closed, "egress", POD, "192.0.2.1", 443)
    assert passes(closed, "egress", POD, "192.0.3.1", 443)
    hermit = shared(egress_deny=["0.0.0.0/0", "::/0"])
    assert not passes(hermit, "egress", POD, "192.0.3.1", 443)
    assert passes(hermit, "egress", POD, POD, 443)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("egress_allow", "192.0.2.1/24"), ("egress_deny", "example.com"), ("egress_deny", "10"),
        ("ingress_from", "Ingress"), ("ingress_from", "10.0.0.0/33"), ("ingress_from", "a.b"),
    ],
)  # fmt: skip
def test_what_is_not_a_network_is_refused(option, value):
    with pytest.raises(TenantryError, match=rf"^network\.{option}: .*192\.0\.2\.0/24") as refused:
        parse(make_item(network={option: [value]}))
    assert value in str(refused.value)


def test_exceptions_lie_inside_of_their_network():
    """An API server refuses others."""
    for rendering in (shared(ingress_from=["10.0.0.0/8"], egress_deny=["192.0.2.0/24", "192.0.2.7/32"]), dedicated()):
        for policy in network_policies.policies(rendering):
            for rule in [*policy["spec"].get("ingress", []), *policy["spec"].get("egress", [])]:
                for block in [
                    peer["ipBlock"] for peer in [*rule.get("to", []), *rule.get("from", [])] if "ipBlock" in peer
                ]:
                    network = ipaddress.ip_network(block["cidr"])
                    for one in map(ipaddress.ip_network, block.get("except", [])):
                        assert one.subnet_of(network)
                        assert one != network


def test_policies_stand_before_the_workload():
    objects = cluster.everything(shared()) + cluster.everything(dedicated())
    kinds = {f"{obj['apiVersion']}/{obj['kind']}" for obj in objects}
    assert _phase("networking.k8s.io/v1/NetworkPolicy") < min(_phase(kind) for kind in kinds if "StatefulSet" in kind)


class Host:
    """A host that tells of itself what it is given."""

    name = "edge"

    def __init__(self, pods: list[str], slices: dict | int | None = None, cidrs: list[str] | None = None) -> None:
        self.pods, self.slices, self.cidrs = pods, slices, cidrs

    def list(self, kind: str, *_where: str) -> list[dict]:
        if kind == "v1/Pod":
            pods = [{"spec": {}, "status": {"podIPs": [{"ip": address}]}} for address in self.pods]
            return [*pods, {"spec": {"hostNetwork": True}, "status": {"podIPs": [{"ip": "172.16.0.5"}]}}]
        if self.cidrs is None:
            raise ApiError("listing ServiceCIDRs", 404)
        return [{"spec": {"cidrs": self.cidrs}}]

    def get(self, _kind: str, _name: str, _namespace: str) -> dict | None:
        if isinstance(self.slices, int):
            raise ApiError("reading it", self.slices)
        return self.slices


NODES = [
    {
        "metadata": {"name": "a"},
        "spec": {"podCIDRs": ["10.42.0.0/24"]},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": "172.16.0.5"},
                {"type": "ExternalIP", "address": "node.example.com"},
                {"type": "Hostname", "address": "a"},
            ]
        },
    }
]


def test_a_host_tells_its_networks():
    slices = {"endpoints": [{"addresses": ["172.16.0.5"]}], "ports": [{"name": "https", "port": 6443}]}
    found = HostNetworks.of(Host(["10.42.0.9"], slices, ["10.43.0.0/16"]), NODES, ["10.43.0.1"])
    assert found == HostNetworks(("10.42.0.0/24",), ("10.43.0.0/16",), ("172.16.0.5",), (("172.16.0.5", 6443),))
    assert HostNetworks.of(Host([]), NODES, ["10.43.0.1"]).services == ("10.43.0.1",)


def test_a_member_that_was_joined_before_is_to_be_joined_again():
    with pytest.raises(TenantryError, match=r"host edge .* Join it again"):
        HostNetworks.of(Host([], 403), NODES, [])
    with pytest.raises(ApiError):
        HostNetworks.of(Host([], 503), NODES, [])


def test_pods_where_no_node_says_that_pods_are_are_reported():
    networks = HostNetworks.of(Host(["10.42.0.9", "10.99.0.4"]), NODES, [])
    assert networks.unlisted_pod_ips == ("10.99.0.4",)
    around = HostFacts("edge", NODES, [], networks=networks)
    assert "10.99.0.4" in around.isolation_gap(parse(make_item()))
    assert around.isolation_gap(parse(make_item(network={"egress_deny": ["10.99.0.0/16"]}))) is None


def test_addresses_and_networks():
    assert host_networks.within("10.42.0.9", ["10.42.0.0/24"])
    assert not host_networks.is_address("node.example.com")
