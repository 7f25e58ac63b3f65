# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wait until the parts of a virtual cluster run: servers, etcd, syncer, agents, and the way to its API."""

from __future__ import annotations

import re
import socket
from contextlib import suppress
from functools import partial
from urllib.parse import urlsplit

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import (
    is_observed,
    is_ready,
    is_rolled_out,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NODE, POD, STATEFUL_SET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
    explanation,
    retry,
    wait_for,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import RenderContext

REVISION_LABEL = "controller-revision-hash"
HTTPS = 443
LED_SECONDS = 15
_AGENT_NODE = re.compile(rf"{AGENT}-([0-9]+)")


def read_ca_on_first_use(host: Cluster, namespace: str, deadline: Deadline) -> str:
    """The CA, as PEM. The API answers; what lies between may need a moment longer."""
    return retry(lambda: connection.authority(host, namespace), lambda error: error.transient, deadline)


def wait_until_api_ready(host: Cluster, namespace: str, deadline: Deadline) -> None:
    """Until the API server says that it is ready, which no watch tells before the kubelet asks it the next time."""
    what = f"server of virtual cluster {namespace}"
    explain = partial(_why_not, host, namespace, SERVER)
    wait_for(host, POD, connection.SERVER_POD, namespace, _has_started, deadline, what=what, explain=explain)
    retry(lambda: connection.ready(host, namespace), lambda error: error.transient, deadline)


def wait_until_endpoint_accepts(url: str, deadline: Deadline) -> bool:
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
        retry(connect, lambda error: True, Deadline(min(LED_SECONDS, deadline.remaining())))
    except ApiError:
        return False
    return True


def replace_agents(host: Cluster, rendering: RenderContext) -> list[str]:
    """Recreate all agents: an agent trusts only the CA with which it joined."""
    pods = host.list(POD, rendering.namespace, naming.selecting(rendering.selector(AGENT)))
    for pod in pods:
        host.delete(POD, pod["metadata"]["name"], rendering.namespace, uid=pod["metadata"]["uid"])
    return sorted(pod["metadata"]["name"] for pod in pods)


def wait_for_server(host: Cluster, namespace: str, deadline: Deadline) -> None:
    _wait_for_part(host, namespace, SERVER, f"server of virtual cluster {namespace}", deadline)


def wait_for_syncer(host: Cluster, namespace: str, deadline: Deadline) -> None:
    _wait_for_part(host, namespace, SYNCER, f"syncer of virtual cluster {namespace}", deadline)


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
    # Highest ordinal first: a StatefulSet recreates a pod from the old revision while a higher ordinal still has it.
    pods = sorted(connection.pods_of(host, namespace, part), key=lambda pod: pod["metadata"]["name"], reverse=True)
    for pod in pods:
        if not is_ready(pod) and pod["metadata"]["labels"].get(REVISION_LABEL) != wanted:
            host.delete(POD, pod["metadata"]["name"], namespace, uid=pod["metadata"]["uid"])


def _why_not(host: Cluster, namespace: str, part: str) -> str:
    """The reason is the pod's or, where there is none, that of the StatefulSet that cannot make it."""
    pods = sorted(connection.pods_of(host, namespace, part), key=lambda pod: pod["metadata"]["name"])
    for pod in [one for one in pods if not is_ready(one)] or pods:
        name = pod["metadata"]["name"]
        phase = (pod.get("status") or {}).get("phase", "")
        return f"{name} {phase}: {explanation(host, pod, name, namespace) or 'no reason was reported'}"
    found = host.get(STATEFUL_SET, part, namespace)
    return explanation(host, found, part, namespace) if found else f"StatefulSet {part} does not exist"


def wait_for_agents(host: Cluster, api: Cluster, namespace: str, agents: int, deadline: Deadline) -> list[dict]:
    """Until all of their pods are of the present make, and their nodes ready: the nodes."""
    if not agents:
        return []
    what = f"agents of virtual cluster {namespace}"
    explain = partial(_why_not, host, namespace, AGENT)
    wait_for(host, STATEFUL_SET, AGENT, namespace, is_rolled_out, deadline, what=what, explain=explain)
    names = [f"{AGENT}-{number}" for number in range(agents)]
    return api.map(lambda name: _wait_for_node(host, api, namespace, name, deadline), names)


def _wait_for_node(host: Cluster, api: Cluster, namespace: str, name: str, deadline: Deadline) -> dict:
    """A node keeps saying that it is ready for a while after its pod has gone; the new pod's address tells."""
    what = f"node {name} of virtual cluster {namespace}"
    pod = wait_for(host, POD, name, namespace, _is_running, deadline, what=what)
    address = pod["status"]["podIP"]
    return wait_for(
        api,
        NODE,
        name,
        None,
        lambda node: is_ready(node) and address in _addresses(node),
        deadline,
        what=what,
        explain=lambda: _why_no_agent(host, api, namespace, name),
    )


def _why_no_agent(host: Cluster, api: Cluster, namespace: str, pod: str) -> str:
    """An agent that does not come up has its reason on the host."""
    node = api.get(NODE, pod)
    if node is not None:
        return explanation(api, node, pod, None)
    return explanation(host, host.get(POD, pod, namespace), pod, namespace)


def _addresses(node: dict) -> list[str]:
    return [one["address"] for one in (node.get("status") or {}).get("addresses") or []]


def _has_started(pod: dict) -> bool:
    return pod.get("status", {}).get("phase") == "Running"


def _is_running(pod: dict) -> bool:
    return is_ready(pod) and bool(pod["status"].get("podIP")) and not pod["metadata"].get("deletionTimestamp")
