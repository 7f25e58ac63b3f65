"""Virtual nodes: what they show of those of the host."""

from __future__ import annotations

from dataclasses import replace

from tenantry_syncer.controllers.nodes import Nodes
from tenantry_syncer.kube.resources import POD, QUOTA
from tenantry_syncer.sync_context import SyncContext

from ..objects import CONFIG

NODE = {"metadata": {"name": "one", "labels": {}}, "spec": {}}
SHOWN = {"type": "ExternalIP", "address": "192.0.2.1"}


def status(current: dict, version: str = CONFIG.version, **of_pod: object) -> dict:
    """Return the changes of the status of a node that has a pod with this status."""
    context = SyncContext(replace(CONFIG, version=version), None, None)
    hard = {"limits.cpu": "4", "pods": "10"}
    quota = {"name": "vcluster", "namespace": CONFIG.namespace, "resourceVersion": "1"}
    context.host.cache(QUOTA).put({"metadata": quota, "spec": {"hard": hard}})
    pod = {"name": "web", "namespace": CONFIG.namespace, "resourceVersion": "1"}
    context.host.cache(POD).put({"metadata": pod, "spec": {"nodeName": "one"}, "status": of_pod})
    return Nodes(context)._status("one", {**NODE, "status": current})


def external(current: list[dict], **of_pod: object) -> list[dict]:
    found = status({"addresses": current}, **of_pod).get("addresses", current)
    return [one for one in found if one["type"] == "ExternalIP"]


def test_status_removes_capacity_without_quota():
    changed = status({"capacity": {"cpu": "4", "memory": "8Gi"}})
    assert changed["capacity"] == {"cpu": "4", "memory": None, "pods": "10"}


def test_status_has_addresses_of_its_pods():
    both = [{"ip": "192.0.2.2"}, {"ip": "fd00::2"}]
    assert [one["address"] for one in external([SHOWN], phase="Running", hostIPs=both)] == ["192.0.2.2", "fd00::2"]


def test_status_keeps_addresses_without_pods():
    assert external([SHOWN], phase="Pending") == [SHOWN]
    assert external([SHOWN], phase="Succeeded", hostIPs=[{"ip": "192.0.2.9"}]) == [SHOWN]
    assert external([], phase="Pending") == []


def test_status_declares_resizes_from_1_36_on():
    """An older API server drops the field, and each look at the node would set it again."""
    assert "declaredFeatures" not in status({}, "v1.35.4+k3s1")
    declared = status({}, "v1.36.3+k3s1")["declaredFeatures"]
    assert declared == sorted(declared)
    assert "InPlacePodLevelResourcesVerticalScaling" in declared
    assert "declaredFeatures" not in status({"declaredFeatures": declared}, "v1.36.3+k3s1")
