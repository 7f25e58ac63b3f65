# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Drain the nodes of agents that are removed: cordon them, and evict their pods within disruption budgets.

Afterwards the StatefulSet is scaled, and at last the nodes are deleted. A later run continues an interrupted one, or
uncordons the nodes if they are to stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import (
    has_ended,
    is_ready,
    without_controller,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NODE, POD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import marked

_MIRROR = "kubernetes.io/config.mirror"


def leaving(agents: dict | None, wanted: int) -> list[str]:
    """Return the nodes to drain, from the agents' StatefulSet. Empty if no node stays, because pods could not move."""
    running = agents["spec"]["replicas"] if agents else 0
    return [f"{AGENT}-{number}" for number in range(wanted, running)] if wanted else []


def rows(nodes: Iterable[str]) -> list[dict]:
    """Return the drains as rows of a result."""
    return [{"action": "drain", "kind": "Node", "name": node} for node in nodes]


def drain(host: Cluster, namespace: str, names: Iterable[str], deadline: Deadline, warn: Callable[[str], None]) -> None:
    """Cordon and empty these nodes. `warn` gets a line about pods that no controller recreates."""
    api = connection.inside(host, namespace).limited(max(host.timeout, deadline.remaining()))
    try:
        found = [api.get(NODE, name) for name in names]
        # Pods on a node that is not ready cannot be evicted, because no kubelet ends them.
        nodes = [node["metadata"]["name"] for node in found if node and is_ready(node)]
        for node in nodes:
            api.merge(NODE, node, None, marked(leaving=True))
        if lost := without_controller(_pods(api, nodes)):
            warn(f"{namespace}: pods without a controller end with their node: {lost}")
        _empty(api, nodes, deadline)
    finally:
        api.close()


def _empty(api: Cluster, nodes: list[str], deadline: Deadline) -> None:
    """Evict again and again, because a disruption budget may deny it for a while."""
    denied: dict[str, str] = {}  # by UID of the pod: the last reason
    while pods := _pods(api, nodes):
        answers = api.map(lambda pod: _end(api, pod, deadline), pods)
        denied |= {_uid(pod): why for pod, why in zip(pods, answers, strict=True) if why is not None}
        if deadline.expired:
            pod = next((one for one in pods if denied.get(_uid(one))), pods[0])
            why = denied.get(_uid(pod), "has not been evicted yet") or "is still ending"
            raise TenantryError(
                one_line(
                    f"agents: {', '.join(nodes)} not empty within {deadline.seconds:g} s: pod {_path(pod)} on "
                    f"{pod['spec']['nodeName']} {why} ({len(pods)} left). Remove the cause or raise wait_timeout and "
                    "run again, or set the previous number of agents to keep the nodes"
                )
            )
        deadline.pause()


def _end(api: Cluster, pod: dict, deadline: Deadline) -> str | None:
    """Evict a pod. Return why that was denied, an empty string if it ends, or None if the deadline has passed."""
    if pod["metadata"].get("deletionTimestamp"):
        return ""
    if deadline.expired:
        return None
    refusal = api.evict(pod)
    return f"may not be evicted: {refusal}" if refusal else ""


def _uid(pod: dict) -> str:
    return pod["metadata"]["uid"]


def _pods(api: Cluster, nodes: list[str]) -> list[dict]:
    return [pod for pod in api.list(POD) if pod["spec"].get("nodeName") in nodes and _moves(pod)]


def _moves(pod: dict) -> bool:
    """Return whether to wait for the pod: not for those of a DaemonSet, nor for those that have ended."""
    meta = pod["metadata"]
    owned = any(owner["kind"] == "DaemonSet" for owner in meta.get("ownerReferences") or [])
    stays = has_ended(pod) and not meta.get("deletionTimestamp")
    return not (owned or stays or _MIRROR in (meta.get("annotations") or {}))


def _path(pod: dict) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
