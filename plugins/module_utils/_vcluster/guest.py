# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module vcluster has inside a virtual cluster: the users' foundation, nodes, a kubeconfig."""

from __future__ import annotations

import base64

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import (
    is_ready,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NODE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    inside_administrator,
    inside_base,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import RenderContext
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.rollout import _AGENT_NODE, wait_for_agents
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VClusterSpec

# On a node inside that is made ready to leave.
LEAVING = "tenantry.dev/leaving"


class GuestCluster:
    """One virtual cluster seen from inside, by the platform."""

    def __init__(self, host: Cluster, rendering: RenderContext, api: Cluster) -> None:
        self.host = host
        self.rendering = rendering
        self.api = api
        self.plan = Plan.make(api, [*inside_base(), *inside_administrator(rendering.labels)])
        self._nodes = api.list(NODE)
        self.stale_nodes = [node for node in self._nodes if is_stale(node, rendering.spec)]
        self.returning = [node for node in self._nodes if _is_leaving(node) and node not in self.stale_nodes]

    @property
    def nodes(self) -> str:
        return ready_of_all(self._nodes, agents_of(self.rendering.spec))

    def rows(self) -> list[dict]:
        rows = [("delete", self.stale_nodes), ("update", self.returning)]
        nodes = [(action, node["metadata"]["name"]) for action, nodes in rows for node in nodes]
        return [*self.plan.rows(), *({"action": action, "kind": "Node", "name": name} for action, name in nodes)]

    def execute(self, deadline: Deadline) -> None:
        """The foundation of the users, nodes of agents that are gone removed, all others waited for."""
        self.plan.execute()
        for node in self.stale_nodes:
            self.api.delete(NODE, node["metadata"]["name"], uid=node["metadata"]["uid"])
        for node in self.returning:
            self.api.merge(NODE, node["metadata"]["name"], None, marked(leaving=False))
        if not self.rendering.spec.shared:
            namespace, agents = self.rendering.namespace, self.rendering.spec.agents
            self._nodes = wait_for_agents(self.host, self.api, namespace, agents, deadline)


def connect_guest(host: Cluster, rendering: RenderContext) -> GuestCluster:
    ca_data = base64.b64encode(require(rendering.keys.ca, "the CA of its API server").encode()).decode()
    api = connection.connect(host, rendering.namespace, token=rendering.keys.platform_token, ca_data=ca_data)
    return GuestCluster(host, rendering, api.limited(host.timeout))


def is_stale(node: dict, spec: VClusterSpec) -> bool:
    """Whether it is that of an agent that is gone. In mode shared nodes are the syncer's, whatever they are called."""
    match = None if spec.shared else _AGENT_NODE.fullmatch(node["metadata"]["name"])
    return match is not None and int(match[1]) >= spec.agents


def marked(*, leaving: bool) -> dict:
    """A patch of a node: whether it is about to leave, and so takes no more pods."""
    value = True if leaving else None
    return {"metadata": {"annotations": {LEAVING: value and "true"}}, "spec": {"unschedulable": value}}


def _is_leaving(node: dict) -> bool:
    return LEAVING in (node["metadata"].get("annotations") or {})


def agents_of(spec: VClusterSpec) -> int | None:
    """How many nodes there should be. In mode shared that changes with the pods: those of the host that carry any."""
    return None if spec.shared else spec.agents


def ready_of_all(nodes: list[dict] | None, agents: int | None) -> str:
    """The ready nodes of all, for people; a question mark for what is not known."""
    ready = "?" if nodes is None else sum(map(is_ready, nodes))
    if agents is None:
        return f"{ready}/{'?' if nodes is None else len(nodes)}"
    return f"{ready}/{agents}"
