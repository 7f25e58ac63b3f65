# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The way into a virtual cluster: through its host's API server, by a websocket port-forward to the server pod.

So neither exposure nor firewalls matter to the administrator's tools. TLS runs inside the tunnel, verified against the
CA that was read through it at first contact and kept on the host since: whoever could answer falsely at that moment
holds the host already.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError, api_error
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import exposure as _render_exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    API_SERVICE,
    PART_LABEL,
    PLATFORM_CREDENTIAL,
    SERVER,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import recorded

try:
    import websocket
    from kubernetes.stream.ws_client import PortForward
    from urllib3.connection import HTTPSConnection
    from urllib3.connectionpool import HTTPSConnectionPool
    from urllib3.exceptions import HTTPError, NewConnectionError
except ImportError:  # reported once, by _module.main(); the classes below need something to stand on
    websocket = None
    HTTPSConnection = HTTPSConnectionPool = PortForward = object

POD = f"{SERVER}-0"
PROTOCOL = "v4.channel.k8s.io"


def inside(host: Cluster, namespace: str) -> Cluster:
    """The API of the virtual cluster in this namespace of the host, with the platform's own credential."""
    secret = host.get("v1/Secret", PLATFORM_CREDENTIAL, namespace)
    data = (secret or {}).get("data") or {}
    if not data.get("token") or not data.get("ca.crt"):
        raise TenantryError(
            f"the virtual cluster {namespace} on {host.name} was never ready; "
            "run tenantry.kube.vcluster for it with wait, then run again"
        )
    return connect(host, namespace, token=base64.b64decode(data["token"]).decode(), ca_data=data["ca.crt"])


def connect(host: Cluster, namespace: str, *, token: str, ca_data: str) -> Cluster:
    config = {
        "clusters": [{"cluster": {"server": _url(namespace), "certificate-authority-data": ca_data}}],
        "users": [{"user": {"token": token}}],
    }
    found = Cluster.from_kubeconfig(
        config, name=namespace, timeout=host.timeout, connection_pool=_pool_through(host, namespace)
    )
    found.requester = host.requester
    return found


def authority(host: Cluster, namespace: str) -> str:
    """The CA of a virtual cluster at first contact, as PEM."""
    doing = f"reading the CA of {namespace} on {host.name}"
    text = _asked_blindly(host, namespace, "/cacerts", doing)
    if "-----BEGIN CERTIFICATE-----" not in text:
        raise ApiError(f"{doing}: the answer has no certificate; is it k3s?")
    return text


def ready(host: Cluster, namespace: str) -> None:
    """Nothing, if the API server of a virtual cluster is ready; an ApiError if it is not."""
    _asked_blindly(host, namespace, "/readyz", f"asking whether {namespace} on {host.name} is ready")


def _asked_blindly(host: Cluster, namespace: str, path: str, doing: str) -> str:
    """What a virtual cluster answers to whoever asks; nobody knows its CA yet."""
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    pool = _pool_through(host, namespace)(POD, API_PORT, ssl_context=unverified, timeout=host.timeout)
    try:
        response = pool.request("GET", path, retries=False)
    except (HTTPError, OSError) as error:
        raise api_error(error, doing) from None
    finally:
        pool.close()
    text = response.data.decode(errors="replace")
    if response.status != 200:
        raise ApiError(f"{doing}: the server answered {response.status}; is it k3s?")
    return text


def endpoint(host: Cluster, namespace: dict) -> str:
    """The URL by which people reach the virtual cluster of this Namespace object."""
    name = namespace["metadata"]["name"]
    service = host.get("v1/Service", API_SERVICE, name)
    if service is None:
        raise TenantryError(f"Service {API_SERVICE} in {name} on {host.name} is missing; run tenantry.kube.vcluster")
    record = recorded(namespace)
    return _render_exposure.url_of(service, record.get("expose"), record.get("address", ""))


def _url(namespace: str) -> str:
    """By a name that the certificate always has; nobody resolves it."""
    return f"https://{API_SERVICE}.{namespace}.svc:{API_PORT}"


def _pool_through(host: Cluster, namespace: str) -> type:
    """To the API of a virtual cluster, by whichever of its servers is ready."""
    return pool_through(host, namespace, lambda: serving_pod(host, namespace), API_PORT)


def pool_through(host: Cluster, namespace: str, pod: Callable[[], str], port: int) -> type:
    """A class of connection pools whose connections are port-forwards."""

    class Connection(HTTPSConnection):
        def _new_conn(self) -> Any:
            try:
                return _forward(host, namespace, pod(), port)
            except (websocket.WebSocketException, OSError) as error:
                raise NewConnectionError(self, _refusal(error, host)) from error

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


class _Forward(PortForward):
    """A port-forward that ends with its websocket, however that ends: the package's would leave its reader waiting."""

    def _proxy(self) -> None:
        try:
            super()._proxy()
        except (websocket.WebSocketException, OSError, RuntimeError, ValueError):
            pass  # what is lost is seen by the reader, which then connects anew
        finally:
            for port in self.local_ports.values():
                port.python.close()
            self.websocket.shutdown()


def _forward(host: Cluster, namespace: str, pod: str, port: int) -> Any:
    socket = open_websocket(host, f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}")
    socket.settimeout(None)
    return _Forward(socket, [port]).socket(port)


def serving_pod(host: Cluster, namespace: str) -> str:
    """The first server that is ready or, if none says so, the first of all: it may answer nevertheless."""
    staying = [pod for pod in server_pods(host, namespace) if not pod["metadata"].get("deletionTimestamp")]
    return min((pod["metadata"]["name"] for pod in staying if is_ready(pod)), default=POD)


def server_pods(host: Cluster, namespace: str) -> list[dict]:
    return pods_of(host, namespace, SERVER)


def pods_of(host: Cluster, namespace: str, part: str) -> list[dict]:
    return host.list("v1/Pod", namespace, _names.selecting({PART_LABEL: part}))


def is_ready(obj: dict) -> bool:
    """Of a node or a pod."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def open_websocket(host: Cluster, path: str) -> Any:
    """A connection to a pod through the host's API server. Its messages are channels of what runs there."""
    return websocket.create_connection(
        host.server.replace("https://", "wss://", 1) + path,
        timeout=host.timeout,
        subprotocols=[PROTOCOL],
        header=[f"{name}: {value}" for name, value in {**host.headers, "User-Agent": host.user_agent}.items()],
        sslopt={"context": host.ssl_context},
        suppress_origin=True,
        enable_multithread=True,
    )


def _refusal(error: Exception, host: Cluster) -> str:
    status = getattr(error, "status_code", None)
    if status == 401:
        return f"port-forward: 401, {host.renewal or 'the credential is refused'}"
    if status == 404:
        return f"port-forward: there is no pod {POD}"
    if status == 403:
        return "port-forward: 403, the platform's credential may not open it"
    return f"port-forward: {error}" if status is None else f"port-forward: {status}"
