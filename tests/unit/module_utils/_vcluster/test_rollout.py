"""Which nodes a virtual cluster has, and whether its address leads to it."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import (
    agents_of,
    is_stale,
    ready_of_all,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import wait_until_endpoint_accepts
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from .example import SHARED, make_item


def node(name: str, ready: str = "True") -> dict:
    return {"metadata": {"name": name}, "status": {"conditions": [{"type": "Ready", "status": ready}]}}


@pytest.mark.parametrize(
    ("changes", "name", "stale"),
    [
        ({"agents": 2}, "agent-1", False),
        ({"agents": 2}, "agent-2", True),
        ({"agents": 0}, "agent-0", True),
        ({"agents": 0}, "worker-0", False),
        (SHARED, "agent-0", False),
    ],
)
def test_nodes_of_agents_that_are_gone_are_stale_and_those_of_the_host_never(changes, name, stale):
    assert is_stale(node(name), parse(make_item(**changes))) is stale


@pytest.mark.parametrize(
    ("changes", "nodes", "text"),
    [
        ({"agents": 2}, [node("agent-0")], "1/2"),
        ({"agents": 2}, None, "?/2"),
        (SHARED, [node("a"), node("b", "False")], "1/2"),
        (SHARED, [], "0/0"),
        (SHARED, None, "?/?"),
    ],
)
def test_nodes_are_counted_against_agents_or_those_that_are_there(changes, nodes, text):
    assert ready_of_all(nodes, agents_of(parse(make_item(**changes)))) == text


def test_an_address_that_refuses_is_waited_for_and_one_that_is_silent_is_not():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert wait_until_endpoint_accepts(f"https://127.0.0.1:{port}", Deadline(5))
    assert not wait_until_endpoint_accepts(f"https://127.0.0.1:{port}", Deadline(0.3))
    assert wait_until_endpoint_accepts("https://no-such-name.invalid:6443", Deadline(5)), "not ours to know"


def test_an_address_that_refuses_at_first_is_good_later():
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        timer = threading.Timer(0.3, later.listen)
        timer.start()
        assert wait_until_endpoint_accepts(f"https://127.0.0.1:{later.getsockname()[1]}", Deadline(10))
        timer.join()
