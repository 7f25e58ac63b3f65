# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Fewer agents: nothing new comes to the nodes that leave, and what runs there ends first, as its quotas allow.

Only then the StatefulSet is scaled, and last the nodes are deleted inside: a run that was killed in between goes on
with the rest, and one that wants the nodes back finds them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import has_ended, without_controller
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NODE, POD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import (
    is_ready,
    marked,
)

_MIRROR = "kubernetes.io/config.mirror"


def leaving(agents: dict | None, wanted: int) -> list[str]:
    """The nodes to drain, by the agents' StatefulSet. Where none is to stay there is nowhere to go."""
    running = agents["spec"]["replicas"] if agents else 0
    return [f"{AGENT}-{number}" for number in range(wanted, running)] if wanted else []


def rows(nodes: Iterable[str]) -> list[dict]:
    return [{"action": "drain", "kind": "Node", "name": node} for node in nodes]


def drain(host: Cluster, namespace: str, names: Iterable[str], deadline: Deadline, warn: Callable[[str], None]) -> None:
    api = connection.inside(host, namespace).limited(max(host.timeout, deadline.remaining()))
    try:
        found = [api.get(NODE, name) for name in names]
        # What runs on a node that is not there any more does not end by being asked.
        nodes = [node["metadata"]["name"] for node in found if node and is_ready(node)]
        for node in nodes:
            api.merge(NODE, node, None, marked(leaving=True))
        if lost := without_controller(_pods(api, nodes)):
            warn(f"{namespace}: pods without a controller end with their node: {lost}")
        _empty(api, nodes, deadline)
    finally:
        api.close()


def _empty(api: Cluster, nodes: list[str], deadline: Deadline) -> None:
    """What a quota refuses now has to be asked for again, so this looks again and again."""
    while pods := _pods(api, nodes):
        answers = api.map(lambda pod: _end(api, pod), pods)
        if deadline.expired:
            refused = [(pod, answer) for pod, answer in zip(pods, answers, strict=True) if answer]
            pod, why = refused[0] if refused else (pods[0], "is still ending")
            raise TenantryError(
                one_line(
                    f"agents: {', '.join(nodes)} not empty within {deadline.seconds:g} s: pod {_path(pod)} on "
                    f"{pod['spec']['nodeName']} {why} ({len(pods)} left). Remove the cause or raise wait_timeout and "
                    "run again, or set the previous number of agents to keep the nodes"
                )
            )
        deadline.pause()


def _end(api: Cluster, pod: dict) -> str:
    """Why it stays for now."""
    if pod["metadata"].get("deletionTimestamp"):
        return ""
    refusal = api.evict(pod)
    return f"may not be evicted: {refusal}" if refusal else ""


def _pods(api: Cluster, nodes: list[str]) -> list[dict]:
    return [pod for pod in api.list(POD) if pod["spec"].get("nodeName") in nodes and _moves(pod)]


def _moves(pod: dict) -> bool:
    """Whether it is worth waiting for: neither one of each node, nor one that has ended and stays to be looked at."""
    meta = pod["metadata"]
    owned = any(owner["kind"] == "DaemonSet" for owner in meta.get("ownerReferences") or [])
    stays = has_ended(pod) and not meta.get("deletionTimestamp")
    return not (owned or stays or _MIRROR in (meta.get("annotations") or {}))


def _path(pod: dict) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
