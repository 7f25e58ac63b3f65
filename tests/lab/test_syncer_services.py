"""Services of a tenant on the host: each part of one by itself, what is taken away too, and ways from outside."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ROOT, until
from .syncer_pair import Pair, PairSpace, syncer_pair

PORTS = [{"name": "web", "port": 80, "targetPort": 8080, "protocol": "TCP"}]


@pytest.fixture(scope="module")
def pair(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """With room for some node ports and load balancers."""
    resources = {"cpu": "4", "memory": "8Gi", "storage": "20Gi", "pods": 50, "node_ports": 4, "load_balancers": 1}
    with syncer_pair(platform, tmp_path_factory.mktemp("services"), resources=resources) as found:
        yield found


@pytest.fixture
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space() as found:
        yield found


def make(space: PairSpace, name: str = "web", **spec: Any) -> None:
    given = {"selector": {"app": "blue"}, "ports": copy.deepcopy(PORTS), **spec}
    given = {key: value for key, value in given.items() if value is not None}
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": given}
    space.api.create(made, space.name)


def patch(space: PairSpace, change: dict, name: str = "web") -> None:
    space.patch("services", name, {"spec": change})


def on_host(pair: Pair, space: PairSpace, name: str = "web") -> dict:
    found = space.found_on_host("services", name)
    return found["spec"] if found else {}


def limit(pair: Pair, node_ports: int, load_balancers: int = 1) -> None:
    hard = {"services.nodeports": str(node_ports), "services.loadbalancers": str(load_balancers)}
    pair.host_api.patch("resourcequotas", pair.namespace, "vcluster", {"spec": {"hard": hard}})


@pytest.fixture
def no_node_ports(pair: Pair) -> Iterator[None]:
    limit(pair, 0, 0)
    yield
    limit(pair, 4)


@pytest.mark.usefixtures("no_node_ports")
def test_a_refused_type_keeps_no_other_change_away(pair: Pair, space: PairSpace) -> None:
    make(space)
    until(lambda: on_host(pair, space))
    patch(space, {"type": "NodePort"})
    until(lambda: space.told("web", "services.nodeports"))
    patch(space, {"selector": {"app": "green"}, "sessionAffinity": "ClientIP"})
    until(lambda: on_host(pair, space)["selector"].get("x.tenantry.dev/app") == "green")
    until(lambda: on_host(pair, space)["sessionAffinity"] == "ClientIP")
    patch(space, {"ports": [*PORTS, {"name": "more", "port": 81}]})
    until(lambda: [one["port"] for one in on_host(pair, space)["ports"]] == [80, 81])
    assert on_host(pair, space)["type"] == "ClusterIP"
    limit(pair, 4)  # what was refused is tried again by itself
    until(lambda: on_host(pair, space)["type"] == "NodePort", 90)


@pytest.mark.usefixtures("no_node_ports")
def test_a_new_service_is_reached_from_inside_whatever_is_refused(pair: Pair, space: PairSpace) -> None:
    make(space, type="LoadBalancer")
    until(lambda: on_host(pair, space).get("type") == "ClusterIP")
    until(lambda: space.told("web", "services.loadbalancers"))
    assert on_host(pair, space)["clusterIP"] == space.get("services", "web")["spec"]["clusterIP"]


# Every field that is passed on: what makes it possible, a value, another one. Taken away is what was never given.
NODE_PORT, BALANCER = {"type": "NodePort"}, {"type": "LoadBalancer", "allocateLoadBalancerNodePorts": False}
CLIENT_IP = {"sessionAffinity": "ClientIP"}
FIELDS: dict[str, tuple[dict, Any, Any]] = {
    "type": ({}, "NodePort", "ClusterIP"),
    "selector": ({}, {"app": "green"}, {"app": "red", "colour": "x"}),
    "ports": ({}, [{"port": 81}], [{"port": 82, "appProtocol": "h2c", "targetPort": "web", "protocol": "UDP"}]),
    "sessionAffinity": ({}, "ClientIP", "None"),
    "sessionAffinityConfig": (CLIENT_IP, {"clientIP": {"timeoutSeconds": 5}}, {"clientIP": {"timeoutSeconds": 6}}),
    "internalTrafficPolicy": ({}, "Local", "Cluster"),
    "publishNotReadyAddresses": ({}, True, False),
    "trafficDistribution": ({}, "PreferClose", "PreferClose"),
    "externalTrafficPolicy": (NODE_PORT, "Local", "Cluster"),
    "loadBalancerSourceRanges": (BALANCER, ["192.0.2.0/24"], ["198.51.100.0/24", "192.0.2.0/25"]),
    "allocateLoadBalancerNodePorts": ({"type": "LoadBalancer"}, False, True),
    "healthCheckNodePort": ({**BALANCER, "externalTrafficPolicy": "Local"}, None, None),  # never changes
}
NEEDED = {"type", "selector", "ports"}


def test_every_field_that_is_passed_on_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "syncer")
    services = importlib.import_module("tenantry_syncer.controllers.services")
    assert set(FIELDS) == {"selector", "ports", *services.PASSED_THROUGH, *services._EXPOSURE}


@pytest.mark.parametrize("field", FIELDS)
def test_what_is_set_changed_or_taken_away_is_so_on_the_host(pair: Pair, space: PairSpace, field: str) -> None:
    base, first, second = FIELDS[field]
    make(space, **base)
    wanted = [first, second] + ([] if field in NEEDED else [None])
    for value in wanted if first is not None else [None]:
        if first is not None:
            patch(space, {field: value})
        until(lambda: _agree(pair, space))
    patch(space, dict.fromkeys(base) | {"type": "ClusterIP"})
    until(lambda: _agree(pair, space))


def _agree(pair: Pair, space: PairSpace) -> bool:
    inside, there = space.get("services", "web")["spec"], on_host(pair, space)
    fields = [field for field in FIELDS if field != "selector"]
    selector = {f"x.tenantry.dev/{key}": value for key, value in (inside.get("selector") or {}).items()}
    same = {field: inside.get(field) for field in fields} == {field: there.get(field) for field in fields}
    return same and selector.items() <= there.get("selector", {}).items()


def test_a_node_port_that_was_asked_for_stays(pair: Pair, space: PairSpace) -> None:
    make(space, type="NodePort", ports=[{**PORTS[0], "nodePort": 31789}])
    until(lambda: [one.get("nodePort") for one in on_host(pair, space).get("ports", [])] == [31789])
    patch(space, {"ports": [{**PORTS[0], "nodePort": 31790}]})
    until(lambda: [one.get("nodePort") for one in on_host(pair, space)["ports"]] == [31790])
    patch(space, {"selector": None})
    until(lambda: "selector" not in on_host(pair, space))
    until(lambda: [one.get("nodePort") for one in on_host(pair, space).get("ports", [])] == [31790])


def test_a_node_port_of_somebody_elses_is_refused_with_the_reason(pair: Pair, space: PairSpace) -> None:
    number = 31791
    _elsewhere(pair, number)
    try:
        make(space, type="NodePort", ports=[{**PORTS[0], "nodePort": number}])
        until(lambda: space.told("web", "already allocated"))
        assert space.get("services", "web")["spec"]["ports"][0]["nodePort"] == number
        assert on_host(pair, space)["type"] == "ClusterIP"
        patch(space, {"ports": [{**PORTS[0], "nodePort": 31792}]})
        until(lambda: on_host(pair, space)["ports"][0].get("nodePort") == 31792)
        patch(space, {"ports": [{**PORTS[0], "nodePort": number}], "selector": {"app": "green"}})
        until(lambda: on_host(pair, space)["selector"].get("x.tenantry.dev/app") == "green")
        assert on_host(pair, space)["ports"][0]["nodePort"] == 31792
        assert space.get("services", "web")["spec"]["ports"][0]["nodePort"] == number
    finally:
        _gone(pair, number)


def test_a_node_port_that_nobody_asked_for_is_the_hosts(pair: Pair, space: PairSpace) -> None:
    """The one that the API server inside has chosen may be taken on the host."""
    pair.stop_syncer()
    make(space, type="NodePort")
    chosen = space.get("services", "web")["spec"]["ports"][0]["nodePort"]
    _elsewhere(pair, chosen)
    try:
        pair.start_syncer()
        number = until(lambda: on_host(pair, space).get("ports", [{}])[0].get("nodePort"))
        assert number != chosen
        until(lambda: space.get("services", "web")["spec"]["ports"][0]["nodePort"] == number)
    finally:
        _gone(pair, chosen)


def _elsewhere(pair: Pair, number: int) -> None:
    """Somebody else on the host has it."""
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": number}]}
    other = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": f"other-{number}"}, "spec": spec}
    pair.host_api.create(other, "default")


def _gone(pair: Pair, number: int) -> None:
    pair.host_api.delete("services", "default", f"other-{number}")


def test_a_load_balancer_needs_no_node_ports(pair: Pair, space: PairSpace) -> None:
    limit(pair, 0)
    try:
        make(space, type="LoadBalancer", allocateLoadBalancerNodePorts=False)
        until(lambda: on_host(pair, space).get("type") == "LoadBalancer")
        assert "nodePort" not in on_host(pair, space)["ports"][0]
    finally:
        limit(pair, 4)


def test_addresses_of_a_load_balancer_come_and_go(pair: Pair, space: PairSpace) -> None:
    make(space, type="LoadBalancer", allocateLoadBalancerNodePorts=False)
    copy_name = until(lambda: space.found_on_host("services", "web"))["metadata"]["name"]
    for address in ([{"ip": "203.0.113.5"}], [{"ip": "203.0.113.6"}], None):
        pair.set_status("services", copy_name, {"loadBalancer": {"ingress": address}})
        until(lambda address=address: _balanced(space) == address)


def _balanced(space: PairSpace) -> list[dict] | None:
    addresses = space.get("services", "web")["status"]["loadBalancer"].get("ingress")
    return [{"ip": one["ip"]} for one in addresses] if addresses else None


def test_what_is_not_passed_on_is_reported(pair: Pair, space: PairSpace) -> None:
    make(space, externalIPs=["192.0.2.9"])
    until(lambda: space.told("web", "spec.externalIPs: not passed on"))
    assert "externalIPs" not in on_host(pair, space)
