"""The syncer between two API servers without nodes: that a pair shows what a virtual cluster on machines would."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .harness import kubectl, until
from .syncer_pair import NODE, Pair, PairSpace


@pytest.fixture
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space() as found:
        yield found


def test_a_pod_has_a_copy_and_its_status_comes_back(pair: Pair, space: PairSpace) -> None:
    pod = {"containers": [{"name": "web", "image": "web"}]}
    space.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": pod})
    pair.run_pod(space, "web", "10.42.0.77")
    space("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
    found = space.json("pod", "web")
    assert (found["spec"]["nodeName"], found["status"]["podIP"]) == (NODE, "10.42.0.77")


def test_the_syncer_has_no_more_rights_than_its_role(pair: Pair) -> None:
    who = f"system:serviceaccount:{pair.namespace}:syncer"
    asked = ("-n", pair.namespace, "auth", "can-i", "--as", who, "create")
    assert kubectl(pair.host, *asked, "services").stdout.strip() == "yes"
    assert kubectl(pair.host, *asked, "statefulsets").stdout.strip() == "no"


def test_a_restarted_syncer_goes_on(pair: Pair, space: PairSpace) -> None:
    ports = [{"port": 80}]
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": {"ports": ports}}
    pair.stop_syncer()
    space.create(service)
    pair.start_syncer()
    assert until(lambda: space.copy_of(pair.host, "services", "web"))


def test_a_node_shows_the_addresses_of_the_hosts_node(pair: Pair, space: PairSpace) -> None:
    """First where the API server finds its kubelet, then where the host's node is reached, as its pods say."""
    pod = {"containers": [{"name": "web", "image": "web"}]}
    for name, address in (("first", "192.0.2.21"), ("second", "192.0.2.22")):
        space.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": pod})
        pair.run_pod(space, name, "10.42.0.78", address)
        wanted = [("InternalIP", "127.0.0.1"), ("ExternalIP", address), ("Hostname", NODE)]
        until(lambda wanted=wanted: addresses(pair) == wanted)
        space("delete", "pod", name, "--wait=false")
        pair.end_pod(space, name)


def addresses(pair: Pair) -> list[tuple[str, str]]:
    found = kubectl(pair.virtual, "get", "node", NODE, "-o", "json").stdout
    status = json.loads(found)["status"] if found else {}
    return [(one["type"], one["address"]) for one in status.get("addresses", [])]
