# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wait until the parts of a virtual cluster are ready: servers, etcd, syncer, agents, the API's address."""

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
ENDPOINT_SECONDS = 15
AGENT_NODE = re.compile(rf"{AGENT}-([0-9]+)")


def read_ca_on_first_use(host: Cluster, namespace: str, deadline: Deadline) -> str:
    """Return the CA as PEM. Retry, because the path to a new API server may need a moment."""
    return retry(lambda: connection.authority(host, namespace), lambda error: error.transient, deadline)


def wait_until_api_ready(host: Cluster, namespace: str, deadline: Deadline) -> None:
    """Wait for the API server's own readiness, which is known before the pod's."""
    what = f"server of virtual cluster {namespace}"
    explain = partial(_why_not, host, namespace, SERVER)
    wait_for(host, POD, connection.SERVER_POD, namespace, _has_started, deadline, what=what, explain=explain)
    retry(lambda: connection.ready(host, namespace), lambda error: error.transient, deadline)


def wait_until_endpoint_accepts(url: str, deadline: Deadline) -> bool:
    """Return False if the URL refuses connections for some seconds.

    With several servers, the host's nodes forward to a new one a moment after it is ready. An address that cannot be
    reached from here counts as open.
    """
    address = urlsplit(url)

    def connect() -> None:
        with suppress(OSError):
            try:
                socket.create_connection((address.hostname, address.port or HTTPS), timeout=1).close()
            except ConnectionRefusedError as error:
                raise ApiError(one_line(error)) from None

    try:
        retry(connect, lambda error: True, Deadline(min(ENDPOINT_SECONDS, deadline.remaining())))
    except ApiError:
        return False
    return True


def replace_agents(host: Cluster, rendering: RenderContext) -> list[str]:
    """Delete the pods of all agents, which trust only the CA with which they joined. Return their names."""
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
    """Delete a pod that cannot start. A StatefulSet waits for it even after its template was corrected.

    Its documentation ("Forced rollback") requires this.
    """
    stateful_set = wait_for(host, STATEFUL_SET, part, namespace, is_observed, deadline, what=what)
    wanted = (stateful_set.get("status") or {}).get("updateRevision")
    # Highest ordinal first: a StatefulSet recreates a pod from the old revision while a higher ordinal still has it.
    pods = sorted(connection.pods_of(host, namespace, part), key=lambda pod: pod["metadata"]["name"], reverse=True)
    for pod in pods:
        if not is_ready(pod) and pod["metadata"]["labels"].get(REVISION_LABEL) != wanted:
            host.delete(POD, pod["metadata"]["name"], namespace, uid=pod["metadata"]["uid"])


def _why_not(host: Cluster, namespace: str, part: str) -> str:
    """Return the pod's reason or, without a pod, the StatefulSet's."""
    pods = sorted(connection.pods_of(host, namespace, part), key=lambda pod: pod["metadata"]["name"])
    for pod in [one for one in pods if not is_ready(one)] or pods:
        name = pod["metadata"]["name"]
        phase = (pod.get("status") or {}).get("phase", "")
        return f"{name} {phase}: {explanation(host, pod, name, namespace) or 'no reason was reported'}"
    found = host.get(STATEFUL_SET, part, namespace)
    return explanation(host, found, part, namespace) if found else f"StatefulSet {part} does not exist"


def wait_for_agents(host: Cluster, api: Cluster, namespace: str, agents: int, deadline: Deadline) -> list[dict]:
    """Wait until all agents have the current template and their nodes are ready. Return the nodes."""
    if not agents:
        return []
    what = f"agents of virtual cluster {namespace}"
    explain = partial(_why_not, host, namespace, AGENT)
    wait_for(host, STATEFUL_SET, AGENT, namespace, is_rolled_out, deadline, what=what, explain=explain)
    names = [f"{AGENT}-{number}" for number in range(agents)]
    return api.map(lambda name: _wait_for_node(host, api, namespace, name, deadline), names)


def _wait_for_node(host: Cluster, api: Cluster, namespace: str, name: str, deadline: Deadline) -> dict:
    """Wait for a node with its new pod's address: a node stays Ready for a while after its pod has gone."""
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
    """Return the reason on the host."""
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
