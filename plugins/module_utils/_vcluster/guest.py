# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the module vcluster has inside a virtual cluster: the users' foundation, nodes, a kubeconfig."""

from __future__ import annotations

import base64
import re
import socket
import time
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens as _credentials
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as _kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
    explanation,
    insist,
    wait_for,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    ADMINISTRATOR,
    inside_administrator,
    inside_base,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection as _tunnel
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.connection import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    AGENT,
    ETCD,
    SERVER,
    Rendering,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import VCluster

STATEFUL_SET = "apps/v1/StatefulSet"
REVISION_LABEL = "controller-revision-hash"
# On a node inside that is made ready to leave.
LEAVING = "tenantry.dev/leaving"
# The administrator's kubeconfig, renewed by a run when a third of it is left.
LIFETIME = 30 * 24 * 3600
HTTPS = 443
LED_SECONDS = 15
_AGENT_NODE = re.compile(rf"{AGENT}-([0-9]+)")


class Inside:
    """One virtual cluster seen from inside, by the platform."""

    def __init__(self, host: Cluster, rendering: Rendering, api: Cluster) -> None:
        self.host = host
        self.rendering = rendering
        self.api = api
        self.plan = Plan.make(api, [*inside_base(), *inside_administrator(rendering.labels)])
        self._nodes = api.list("v1/Node")
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
            self.api.delete("v1/Node", node["metadata"]["name"], uid=node["metadata"]["uid"])
        for node in self.returning:
            self.api.merge("v1/Node", node["metadata"]["name"], None, marked(leaving=False))
        if not self.rendering.spec.shared:
            namespace, agents = self.rendering.namespace, self.rendering.spec.agents
            self._nodes = wait_for_agents(self.host, self.api, namespace, agents, deadline)


class AdministratorsKubeconfig:
    """The kubeconfig file that the option kubeconfig_path asks for."""

    def __init__(self, path: str, namespace: str, labels: dict[str, str]) -> None:
        self.path = path
        self._namespace = namespace
        self._labels = labels
        self._there = _kubeconfig.read_back(path)

    @property
    def exists(self) -> bool:
        return self._there is not None

    def is_current(self, api: Cluster, url: str) -> bool:
        """Whether the file lets the administrator in, now and for a while."""
        if self._there is None or _kubeconfig.write(self.path, self._content(api, url, self._token), check=True):
            return False
        secrets = api.list("v1/Secret", _names.PLATFORM_NAMESPACE, self._selector)
        return _credentials.still_good(self._token, secrets, LIFETIME, time.time())

    def renew(self, api: Cluster, url: str) -> str:
        """Write a new one, then end what it supersedes; the new token."""
        before = api.list("v1/Secret", _names.PLATFORM_NAMESPACE, self._selector)
        name = _credentials.secret_name(ADMINISTRATOR, before)
        issued = _credentials.issue(api, _names.PLATFORM_NAMESPACE, ADMINISTRATOR, name, self._labels, LIFETIME)
        _kubeconfig.write(self.path, self._content(api, url, issued.token))
        mine = _credentials.claims(self._token)
        for secret in before:
            if (mine and mine.secret_uid == secret["metadata"]["uid"]) or _credentials.outlived(secret, time.time()):
                _credentials.revoke(api, secret)
        return issued.token

    def action(self) -> dict:
        return {"action": "update" if self._there else "create", "kind": "Kubeconfig", "name": self.path}

    @property
    def _token(self) -> str:
        try:
            return self._there["users"][0]["user"]["token"]
        except (KeyError, IndexError, TypeError):
            return ""

    @property
    def _selector(self) -> str:
        return _names.selecting(self._labels)

    def _content(self, api: Cluster, url: str, token: str) -> dict:
        way = _kubeconfig.KubeContext(self._namespace, url, api.ca_data, ADMINISTRATOR, token)
        return _kubeconfig.build([way], current=self._namespace)


def first_contact(host: Cluster, namespace: str, deadline: Deadline) -> str:
    """The CA, as PEM. The API answers; what lies between may need a moment longer."""
    return insist(lambda: _tunnel.authority(host, namespace), lambda error: error.transient, deadline)


def wait_until_it_answers(host: Cluster, namespace: str, deadline: Deadline) -> None:
    """Until the API server says that it is ready, which no watch tells before the kubelet asks it the next time."""
    what = f"server of virtual cluster {namespace}"
    wait_for(host, "v1/Pod", _tunnel.POD, namespace, _has_started, deadline, what=what)
    insist(lambda: _tunnel.ready(host, namespace), lambda error: error.transient, deadline)


def wait_until_led_to(url: str, deadline: Deadline) -> bool:
    """
    Until its address refuses nobody any more, which of several servers is so a moment after one is ready: the host's
    nodes learn last to which they may lead. Whether it can be reached from here at all is another question.
    """
    address = urlsplit(url)

    def connect() -> None:
        with suppress(OSError):
            try:
                socket.create_connection((address.hostname, address.port or HTTPS), timeout=1).close()
            except ConnectionRefusedError as error:
                raise ApiError(one_line(error)) from None

    try:
        insist(connect, lambda error: True, Deadline(min(LED_SECONDS, deadline.remaining())))
    except ApiError:
        return False
    return True


def replace_agents(host: Cluster, rendering: Rendering) -> list[str]:
    """Have all agents made anew: one that has joined knows the CA it joined by and no other."""
    pods = host.list("v1/Pod", rendering.namespace, _names.selecting(rendering.selector(AGENT)))
    for pod in pods:
        host.delete("v1/Pod", pod["metadata"]["name"], rendering.namespace, uid=pod["metadata"]["uid"])
    return sorted(pod["metadata"]["name"] for pod in pods)


def open_inside(host: Cluster, rendering: Rendering) -> Inside:
    ca_data = base64.b64encode(rendering.keys.ca.encode()).decode()
    api = _tunnel.connect(host, rendering.namespace, token=rendering.keys.platform_token, ca_data=ca_data)
    return Inside(host, rendering, api)


def wait_for_server(host: Cluster, namespace: str, deadline: Deadline) -> None:
    _wait_for_part(host, namespace, SERVER, f"server of virtual cluster {namespace}", deadline)


def wait_for_etcd(host: Cluster, namespace: str, deadline: Deadline) -> None:
    _wait_for_part(host, namespace, ETCD, f"etcd of virtual cluster {namespace}", deadline)


def _wait_for_part(host: Cluster, namespace: str, part: str, what: str, deadline: Deadline) -> None:
    explain = partial(_why_not, host, namespace, part)
    _replace_stuck(host, namespace, part, deadline, what)
    wait_for(host, STATEFUL_SET, part, namespace, is_rolled_out, deadline, what=what, explain=explain)


def _replace_stuck(host: Cluster, namespace: str, part: str, deadline: Deadline, what: str) -> None:
    """
    A StatefulSet waits for a pod that cannot start, also when it has been told to make it otherwise. Its documentation
    ("Forced rollback") asks for the deletion of that pod.
    """
    stateful_set = wait_for(host, STATEFUL_SET, part, namespace, is_observed, deadline, what=what)
    wanted = (stateful_set.get("status") or {}).get("updateRevision")
    # The last first: one that is made anew while a later one is of the old make would be of that too.
    pods = sorted(_tunnel.pods_of(host, namespace, part), key=lambda pod: pod["metadata"]["name"], reverse=True)
    for pod in pods:
        if not is_ready(pod) and pod["metadata"]["labels"].get(REVISION_LABEL) != wanted:
            host.delete("v1/Pod", pod["metadata"]["name"], namespace, uid=pod["metadata"]["uid"])


def _why_not(host: Cluster, namespace: str, part: str) -> str:
    """The reason is the pod's or, where there is none, that of the StatefulSet that cannot make it."""
    pods = sorted(_tunnel.pods_of(host, namespace, part), key=lambda pod: pod["metadata"]["name"])
    for pod in [one for one in pods if not is_ready(one)] or pods:
        return explanation(host, pod, pod["metadata"]["name"], namespace)
    found = host.get(STATEFUL_SET, part, namespace)
    return explanation(host, found, part, namespace) if found else f"StatefulSet {part} does not exist"


def wait_for_agents(host: Cluster, api: Cluster, namespace: str, agents: int, deadline: Deadline) -> list[dict]:
    """Until all of their pods are of the present make, and their nodes ready: the nodes."""
    if not agents:
        return []
    what = f"agents of virtual cluster {namespace}"
    wait_for(host, STATEFUL_SET, AGENT, namespace, is_rolled_out, deadline, what=what)
    names = [f"{AGENT}-{number}" for number in range(agents)]
    return api.map(lambda name: _wait_for_node(host, api, namespace, name, deadline), names)


def _wait_for_node(host: Cluster, api: Cluster, namespace: str, name: str, deadline: Deadline) -> dict:
    """A node keeps saying that it is ready for a while after its pod has gone; the new pod's address tells."""
    what = f"node {name} of virtual cluster {namespace}"
    pod = wait_for(host, "v1/Pod", name, namespace, _is_running, deadline, what=what)
    address = pod["status"]["podIP"]
    return wait_for(
        api,
        "v1/Node",
        name,
        None,
        lambda node: is_ready(node) and address in _addresses(node),
        deadline,
        what=what,
        explain=lambda: _why_no_agent(host, api, namespace, name),
    )


def _why_no_agent(host: Cluster, api: Cluster, namespace: str, pod: str) -> str:
    """An agent that does not come up has its reason on the host."""
    node = api.get("v1/Node", pod)
    if node is not None:
        return explanation(api, node, pod, None)
    return explanation(host, host.get("v1/Pod", pod, namespace), pod, namespace)


def is_stale(node: dict, spec: VCluster) -> bool:
    """Whether it is that of an agent that is gone. In mode shared nodes are the syncer's, whatever they are called."""
    match = None if spec.shared else _AGENT_NODE.fullmatch(node["metadata"]["name"])
    return bool(match) and int(match[1]) >= spec.agents


def marked(*, leaving: bool) -> dict:
    """A patch of a node: whether it is about to leave, and so takes no more pods."""
    value = True if leaving else None
    return {"metadata": {"annotations": {LEAVING: value and "true"}}, "spec": {"unschedulable": value}}


def _is_leaving(node: dict) -> bool:
    return LEAVING in (node["metadata"].get("annotations") or {})


def agents_of(spec: VCluster) -> int | None:
    """How many nodes there should be. In mode shared that changes with the pods: those of the host that carry any."""
    return None if spec.shared else spec.agents


def ready_of_all(nodes: list[dict] | None, agents: int | None) -> str:
    """The ready nodes of all, for people; a question mark for what is not known."""
    ready = "?" if nodes is None else sum(map(is_ready, nodes))
    if agents is None:
        return f"{ready}/{'?' if nodes is None else len(nodes)}"
    return f"{ready}/{agents}"


def is_observed(stateful_set: dict) -> bool:
    """Whether its status is about what it says now."""
    return (stateful_set.get("status") or {}).get("observedGeneration", 0) >= stateful_set["metadata"]["generation"]


def without_controller(pods: list[dict]) -> str:
    """Those that nobody makes anew, for people; empty if there are none."""
    alone = [pod["metadata"] for pod in pods if not pod["metadata"].get("ownerReferences")]
    return ", ".join(sorted(f"{meta['namespace']}/{meta['name']}" for meta in alone))


def has_ended(pod: dict) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_rolled_out(stateful_set: dict) -> bool:
    wanted, status = stateful_set["spec"]["replicas"], stateful_set.get("status") or {}
    return (
        is_observed(stateful_set)
        and status.get("updateRevision") == status.get("currentRevision", status.get("updateRevision"))
        and status.get("readyReplicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
    )


def _addresses(node: dict) -> list[str]:
    return [one["address"] for one in (node.get("status") or {}).get("addresses") or []]


def _has_started(pod: dict) -> bool:
    return pod.get("status", {}).get("phase") == "Running"


def _is_running(pod: dict) -> bool:
    return is_ready(pod) and bool(pod["status"].get("podIP")) and not pod["metadata"].get("deletionTimestamp")
