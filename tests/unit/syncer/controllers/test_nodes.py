"""Nodes inside: what is shown of those on the host."""

from __future__ import annotations

from tenantry_syncer.controllers.nodes import Nodes
from tenantry_syncer.kube.resources import POD, QUOTA
from tenantry_syncer.sync_context import SyncContext

from ..objects import CONFIG

NODE = {"metadata": {"name": "one", "labels": {}}, "spec": {}}
SHOWN = {"type": "ExternalIP", "address": "192.0.2.1"}


def status(current: dict, **of_pod: object) -> dict:
    """What has to change on a node that carries a pod with this status."""
    context = SyncContext(CONFIG, None, None)
    hard = {"limits.cpu": "4", "pods": "10"}
    quota = {"name": "vcluster", "namespace": CONFIG.namespace, "resourceVersion": "1"}
    context.host.cache(QUOTA).put({"metadata": quota, "spec": {"hard": hard}})
    pod = {"name": "web", "namespace": CONFIG.namespace, "resourceVersion": "1"}
    context.host.cache(POD).put({"metadata": pod, "spec": {"nodeName": "one"}, "status": of_pod})
    return Nodes(context)._status("one", {**NODE, "status": current})


def external(current: list[dict], **of_pod: object) -> list[dict]:
    found = status({"addresses": current}, **of_pod).get("addresses", current)
    return [one for one in found if one["type"] == "ExternalIP"]


def test_capacity_that_the_quota_has_no_more_is_taken_away():
    changed = status({"capacity": {"cpu": "4", "memory": "8Gi"}})
    assert changed["capacity"] == {"cpu": "4", "memory": None, "pods": "10"}


def test_a_node_has_the_addresses_that_its_pods_name():
    both = [{"ip": "192.0.2.2"}, {"ip": "fd00::2"}]
    assert [one["address"] for one in external([SHOWN], phase="Running", hostIPs=both)] == ["192.0.2.2", "fd00::2"]


def test_a_node_whose_pods_name_none_keeps_its_addresses():
    assert external([SHOWN], phase="Pending") == [SHOWN]
    assert external([SHOWN], phase="Succeeded", hostIPs=[{"ip": "192.0.2.9"}]) == [SHOWN]
    assert external([], phase="Pending") == []
