"""Virtual nodes: one for each host node that runs pods of the virtual cluster, with the data that tenants may see."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

from tenantry_syncer import naming
from tenantry_syncer.config import KUBELET_PORT
from tenantry_syncer.kube import reduced
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.resources import LEASE, NODE, POD, QUOTA
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.pod_status import FINISHED

_CONDITIONS = (
    ("Ready", "True", "SyncerReady", "The syncer reports the status of pods on the host"),
    ("MemoryPressure", "False", "HostManaged", "Managed by the host cluster"),
    ("DiskPressure", "False", "HostManaged", "Managed by the host cluster"),
    ("PIDPressure", "False", "HostManaged", "Managed by the host cluster"),
)
# Changes of running pods that the API rejects from Kubernetes 1.36 on, unless the pod's node declares them. The syncer
# passes them on; whether the host's node can make them is decided there.
_DECLARED_FEATURES = ["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"]
_DECLARED_SINCE = 36
_VCLUSTER_QUOTA = "vcluster"
# The node controller considers a node dead once its lease has expired. Kubelets, too, renew after a quarter of it.
LEASES = "kube-node-lease"
LEASE_SECONDS = 240
RENEW_SECONDS = 60.0


class Nodes:
    """Creates and deletes virtual nodes, and renews their leases."""

    def __init__(self, context: SyncContext) -> None:
        self._context = context
        self._locks: dict[str, asyncio.Lock] = {}
        self._renewed: dict[str, float] = {}
        self._host: dict = {}  # /version of the host's API server, for os and architecture

    async def start(self) -> None:
        self._host = await self._context.host.api.get("/version") or {}

    async def ensure(self, name: str) -> None:
        """Create or update this node in the virtual cluster."""
        async with self._locks.setdefault(name, asyncio.Lock()):
            node = self._context.virtual.get(NODE, "", name)
            if node is None:
                node = await self._create(name)
            if reduced.is_reduced(node):
                return  # its own key loads and reconciles it as a whole
            if node["spec"].get("taints") or node["spec"].get("unschedulable"):
                # New nodes are tainted until a kubelet reports ready.
                node = await self._context.virtual.merge(NODE, node, {"spec": {"taints": None, "unschedulable": None}})
            status = self._status(name, node)
            if status is not None:
                await self._context.virtual.merge(NODE, node, {"status": status}, "status")

    async def reconcile(self, name: str) -> float | None:
        """Delete a node without pods, or update it and return the seconds until its lease is due."""
        if self._context.host.by_index(POD, name):
            await self.ensure(name)
            return await self._renew(name)
        node = self._context.virtual.get(NODE, "", name)
        if node and not self._context.virtual.by_index(POD, name):
            await self._context.virtual.delete(NODE, node)
        self._renewed.pop(name, None)
        return None

    async def _renew(self, name: str) -> float:
        """Renew the node's lease if due; return the seconds until the next renewal."""
        node = self._context.virtual.get(NODE, "", name)
        age = time.monotonic() - self._renewed.get(name, float("-inf"))
        if node is None or age < RENEW_SECONDS:
            return max(RENEW_SECONDS - age, 1.0)
        owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": node["metadata"]["uid"]}
        spec = {"holderIdentity": name, "leaseDurationSeconds": LEASE_SECONDS, "renewTime": _now("microseconds")}
        lease = {"metadata": {"name": name, "ownerReferences": [owner]}, "spec": spec}
        api = self._context.virtual.api
        try:
            await api.merge(LEASE.path(LEASES, name), lease)
        except ApiError as error:
            if error.status != 404:
                raise
            await api.create(LEASE.path(LEASES), {"apiVersion": LEASE.api_version, "kind": LEASE.name, **lease})
        self._renewed[name] = time.monotonic()
        return RENEW_SECONDS

    async def _create(self, name: str) -> dict:
        system, _slash, machine = self._host.get("platform", "linux/amd64").partition("/")
        labels = {
            "kubernetes.io/arch": machine,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": system,
            naming.MANAGED_BY: naming.SYNCER,
        }
        metadata = {"name": name, "labels": labels}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {}}
        try:
            return await self._context.virtual.create(NODE, node)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            return await self._context.virtual.api.get(NODE.path(name=name)) or node

    def _status(self, name: str, node: dict) -> dict | None:
        """Return the merge patch of the node's status; None if it is current."""
        now = _now("seconds")
        limits = self._quota_limits()
        current = node.get("status") or {}
        desired = {
            "capacity": limits,
            "allocatable": limits,
            # The first address leads the virtual API server to the syncer, which serves the kubelet API.
            "addresses": [
                {"type": "InternalIP", "address": self._context.config.address},
                *self._addresses(name, current),
                {"type": "Hostname", "address": name},
            ],
            "daemonEndpoints": {"kubeletEndpoint": {"Port": KUBELET_PORT}},
            "nodeInfo": _node_info(node["metadata"].get("labels") or {}, self._context.config.version),
        }
        if _minor(self._context.config.version) >= _DECLARED_SINCE:
            desired["declaredFeatures"] = _DECLARED_FEATURES
        changed: dict[str, Any] = {key: value for key, value in desired.items() if current.get(key) != value}
        for key in ("capacity", "allocatable"):
            if key in changed:  # a merge patch removes only the keys that it names
                changed[key] = {**dict.fromkeys(current.get(key) or {}), **limits}
        kinds = {one["type"]: one["status"] for one in current.get("conditions") or []}
        if kinds != {kind: status for kind, status, *_rest in _CONDITIONS}:
            changed["conditions"] = [
                {"type": kind, "status": status, "reason": reason, "message": message}
                | {"lastHeartbeatTime": now, "lastTransitionTime": now}
                for kind, status, reason, message in _CONDITIONS
            ]
        return changed or None

    def _addresses(self, name: str, current: dict) -> list[dict]:
        """Return the host node's addresses, for node ports, from its pods' status; unchanged if no pod has one."""
        for _namespace, pod_name in self._context.host.by_index(POD, name):
            pod = self._context.host.get(POD, "", pod_name)
            status = (pod or {}).get("status") or {}
            if status.get("hostIPs") and status.get("phase") not in FINISHED:
                return [{"type": "ExternalIP", "address": one["ip"]} for one in status["hostIPs"]]
        return [one for one in current.get("addresses") or [] if one["type"] == "ExternalIP"]

    def _quota_limits(self) -> dict[str, str]:
        """Return what all pods of the virtual cluster together may use, on any node."""
        quota = self._context.host.get(QUOTA, "", _VCLUSTER_QUOTA) or {}
        hard = (quota.get("spec") or {}).get("hard") or {}
        given = {"cpu": hard.get("limits.cpu"), "memory": hard.get("limits.memory"), "pods": hard.get("pods")}
        return {name: amount for name, amount in given.items() if amount}


def _now(precision: str) -> str:
    return datetime.now(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def _node_info(labels: dict[str, str], version: str) -> dict[str, str]:
    return {
        "architecture": labels.get("kubernetes.io/arch", ""),
        "operatingSystem": labels.get("kubernetes.io/os", ""),
        "kubeletVersion": version,
        "kubeProxyVersion": "",
        "containerRuntimeVersion": "",
        "kernelVersion": "",
        "osImage": "shared host",
        "machineID": "",
        "systemUUID": "",
        "bootID": "",
    }
