# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module vcluster manages in a virtual cluster: objects for users, and nodes."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NODE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import encoded
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    inside_administrator,
    inside_base,
    inside_shared,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import RenderContext
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import AGENT_NODE, wait_for_agents
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec

# On a node that is being drained.
LEAVING = "tenantry.dev/leaving"


class GuestCluster:
    """A virtual cluster as its own API server shows it."""

    def __init__(self, host: Cluster, rendering: RenderContext, api: Cluster) -> None:
        self.host = host
        self.rendering = rendering
        self.api = api
        base = [*inside_base(), *(inside_shared() if rendering.spec.shared else ())]
        self.plan = Plan.make(api, [*base, *inside_administrator(rendering.labels)])
        self._nodes = api.list(NODE)
        self.stale_nodes = [node for node in self._nodes if is_stale(node, rendering.spec)]
        self.returning = [node for node in self._nodes if _is_leaving(node) and node not in self.stale_nodes]

    @property
    def nodes(self) -> str:
        """Ready nodes of all, such as 1/2."""
        return ready_of_all(self._nodes, agents_of(self.rendering.spec))

    def rows(self) -> list[dict]:
        """Return the changes as rows of a result."""
        rows = [("delete", self.stale_nodes), ("update", self.returning)]
        nodes = [(action, node["metadata"]["name"]) for action, nodes in rows for node in nodes]
        return [*self.plan.rows(), *({"action": action, "kind": "Node", "name": name} for action, name in nodes)]

    def execute(self, deadline: Deadline) -> None:
        """Apply the objects for users, delete nodes of removed agents, and wait for the others."""
        self.plan.execute()
        for node in self.stale_nodes:
            self.api.delete(NODE, node["metadata"]["name"], uid=node["metadata"]["uid"])
        for node in self.returning:
            self.api.merge(NODE, node["metadata"]["name"], None, marked(leaving=False))
        if not self.rendering.spec.shared:
            namespace, agents = self.rendering.namespace, self.rendering.spec.agents
            self._nodes = wait_for_agents(self.host, self.api, namespace, agents, deadline)


def connect_guest(host: Cluster, rendering: RenderContext) -> GuestCluster:
    """Connect to the virtual cluster, with a time limit for all requests together."""
    ca_data = encoded(require(rendering.keys.ca, "the CA of its API server"))
    api = connection.connect(host, rendering.namespace, token=rendering.keys.platform_token, ca_data=ca_data)
    return GuestCluster(host, rendering, api.limited(host.timeout))


def is_stale(node: dict, spec: VClusterSpec) -> bool:
    """Return whether it is the node of a removed agent. In mode shared, nodes belong to the syncer."""
    match = None if spec.shared else AGENT_NODE.fullmatch(node["metadata"]["name"])
    return match is not None and int(match[1]) >= spec.agents


def marked(*, leaving: bool) -> dict:
    """Return a patch for a node: whether it is about to be removed, and so cordoned."""
    value = True if leaving else None
    return {"metadata": {"annotations": {LEAVING: value and "true"}}, "spec": {"unschedulable": value}}


def _is_leaving(node: dict) -> bool:
    return LEAVING in (node["metadata"].get("annotations") or {})


def agents_of(spec: VClusterSpec) -> int | None:
    """Return the desired number of nodes. None in mode shared, where it changes with the pods."""
    return None if spec.shared else spec.agents


def ready_of_all(nodes: list[dict] | None, agents: int | None) -> str:
    """Return `ready/all`, with a question mark for an unknown number."""
    ready = "?" if nodes is None else sum(map(is_ready, nodes))
    if agents is None:
        return f"{ready}/{'?' if nodes is None else len(nodes)}"
    return f"{ready}/{agents}"
