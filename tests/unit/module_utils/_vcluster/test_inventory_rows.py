"""Virtual clusters by what their hosts know of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    RESOURCE_QUOTA,
    SERVICE,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import inventory_rows

SERVER, SYNCER, AGENT = "server", "syncer", "agent"


class Host:
    """A cluster with these objects, which counts how often they are listed."""

    def __init__(self, name: str = "hub", **by_kind: list[dict]) -> None:
        self.name = name
        self.by_kind = by_kind
        self.lists: list[str] = []
        self.error: ApiError | None = None

    def list(self, kind: str, selector: str) -> list[dict]:
        assert selector == naming.selector("vcluster")
        self.lists.append(kind)
        if self.error:
            raise self.error
        return self.by_kind.get(kind.rpartition("/")[2], [])

    def map(self, function: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
        return [function(item) for item in items]


def found(host: Host, name: str, record: dict[str, Any], **metadata: Any) -> VirtualCluster:
    space = {
        "name": f"payments--{name}",
        "creationTimestamp": "2026-11-20T09:00:00Z",
        "labels": naming.labels("vcluster", tenant="payments", vcluster=name),
        "annotations": {SPEC_ANNOTATION: json.dumps({"format": 1, **record})},
        **metadata,
    }
    return VirtualCluster(host, {"metadata": space})  # type: ignore[arg-type]  # as much of a host as is asked


def part(name: str, ready: int | None, replicas: int = 1, namespace: str = "payments--dev") -> dict:
    status = {} if ready is None else {"readyReplicas": ready}
    return {
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": replicas},
        "status": status,
    }


def row(*parts: dict, record: dict[str, Any] | None = None, **metadata: Any) -> dict:
    host = Host(StatefulSet=list(parts))
    [found_row] = inventory_rows._rows_by_hosts([found(host, "dev", record or {"mode": "shared"}, **metadata)])
    return found_row


@pytest.mark.parametrize(
    ("parts", "mode", "status", "message"),
    [
        ([part(SERVER, 1), part(SYNCER, 1)], "shared", "Ready", None),
        ([part(SERVER, 1, 3), part(SYNCER, 1, 3)], "shared", "Ready", None),
        ([part(SERVER, None), part(SYNCER, 1)], "shared", "NotReady", "no server is ready"),
        ([part(SERVER, None), part(SYNCER, None)], "shared", "NotReady", "no server and no syncer is ready"),
        ([part(SERVER, 1)], "shared", "NotReady", "no syncer is ready"),
        ([], "dedicated", "NotReady", "no server is ready"),
        ([part(SERVER, 1), part(AGENT, 2, 2)], "dedicated", "Ready", None),
        ([part(SERVER, 1), part(AGENT, None, 2)], "dedicated", "NotReady", "no agent is ready"),
        ([part(SERVER, 1)], "dedicated", "Ready", None),
        ([part(SERVER, None, 0)], "shared", "Paused", None),
    ],
)
def test_rows_status_is_that_of_the_parts(parts: list[dict], mode: str, status: str, message: str | None) -> None:
    shown = row(*parts, record={"mode": mode})
    assert (shown["status"], shown["message"]) == (status, message)


def test_rows_namespace_that_ends_is_deleting() -> None:
    shown = row(part(SERVER, 1), deletionTimestamp="2026-11-21T09:00:00Z")
    assert (shown["status"], shown["endpoint"]) == ("Deleting", None)


def test_rows_have_what_is_on_record_and_on_the_host() -> None:
    namespace = "payments--dev"
    service = {
        "metadata": {"name": "api", "namespace": namespace},
        "spec": {"type": "NodePort", "ports": [{"nodePort": 30001}]},
    }
    quota = {
        "metadata": {"name": "vcluster", "namespace": namespace},
        "status": {"hard": {"limits.cpu": "2"}, "used": {"limits.cpu": "1"}},
    }
    host = Host(StatefulSet=[part(SERVER, 1, 3)], Service=[service], ResourceQuota=[quota])
    record = {"mode": "dedicated", "tier": "prod", "version": "v1.37.0+k3s1", "address": "192.0.2.1"}
    [shown] = inventory_rows._rows_by_hosts([found(host, "dev", record)])
    assert {name: shown[name] for name in ("servers", "endpoint", "tier", "version", "namespace", "host")} == {
        "servers": "1/3",
        "endpoint": "https://192.0.2.1:30001",
        "tier": "prod",
        "version": "v1.37.0+k3s1",
        "namespace": namespace,
        "host": "hub",
    }
    assert shown["resources"]["cpu"] == {"used": "1", "hard": "2"}


def test_rows_of_many_cost_a_request_per_kind_and_host() -> None:
    names = [f"v{number}" for number in range(200)]
    hosts = [Host(name, StatefulSet=[part(SERVER, 1, 1, f"payments--{one}") for one in names]) for name in ("hub", "b")]
    vclusters = [found(host, name, {"mode": "dedicated"}) for host in hosts for name in names]
    rows = inventory_rows._rows_by_hosts(vclusters)
    assert [sorted(host.lists) for host in hosts] == [sorted((RESOURCE_QUOTA, SERVICE, STATEFUL_SET))] * 2
    assert len(rows) == 400
    assert {shown["status"] for shown in rows} == {"Ready"}


def test_rows_host_that_fails_hides_no_other() -> None:
    broken, sound = Host("edge"), Host("hub", StatefulSet=[part(SERVER, 1, 1, "payments--stage")])
    broken.error = ApiError("listing v1/Service on edge: 503 unavailable")
    rows = inventory_rows._rows_by_hosts(
        [found(broken, "dev", {"mode": "dedicated"}), found(sound, "stage", {"mode": "dedicated"})]
    )
    assert [(shown["name"], shown["status"], shown["message"]) for shown in rows] == [
        ("dev", "NotReady", "listing v1/Service on edge: 503 unavailable"),
        ("stage", "Ready", None),
    ]


def test_first_of_each_name_of_the_hub_counts() -> None:
    hub, member = Host("hub"), Host("edge")
    both = [found(hub, "dev", {}), found(member, "dev", {}), found(member, "lab", {})]
    assert [(one.host.name, one.name) for one in inventory_rows._first_of_each(both)] == [
        ("hub", "dev"),
        ("edge", "lab"),
    ]
