# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Connect to pods through the API server of their cluster: websockets and port-forwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

try:
    import websocket
    from kubernetes.stream.ws_client import PortForward
    from urllib3.connection import HTTPSConnection
    from urllib3.connectionpool import HTTPSConnectionPool
    from urllib3.exceptions import NewConnectionError
except ImportError:  # reported once, by _module.main()
    websocket = None  # type: ignore[assignment]  # nothing uses it then
    HTTPSConnection = HTTPSConnectionPool = PortForward = object  # type: ignore[assignment,misc]  # for the classes below

PROTOCOL = "v4.channel.k8s.io"


def pool_through(host: Cluster, namespace: str, pod: Callable[[], str], port: int) -> type:
    """Return a class of connection pools whose connections are port-forwards to the pod that `pod` names."""

    class Connection(HTTPSConnection):
        def _new_conn(self) -> Any:
            name = pod()
            try:
                return _forward(host, namespace, name, port)
            except (websocket.WebSocketException, OSError) as error:
                raise NewConnectionError(self, _refusal(error, host, name)) from error

    class Pool(HTTPSConnectionPool):
        ConnectionCls = Connection

    return Pool


class _Forward(PortForward):
    """A port-forward that ends with its websocket. The one of the package leaves its reader waiting."""

    def _proxy(self) -> None:
        try:
            super()._proxy()
        except (websocket.WebSocketException, OSError, RuntimeError, ValueError):
            pass  # the reader notices what is lost, and connects again
        finally:
            for port in self.local_ports.values():
                port.python.close()
            self.websocket.shutdown()


def _forward(host: Cluster, namespace: str, pod: str, port: int) -> Any:
    socket = open_websocket(host, f"/api/v1/namespaces/{namespace}/pods/{pod}/portforward?ports={port}")
    socket.settimeout(None)
    return _Forward(socket, [port]).socket(port)


def open_websocket(host: Cluster, path: str) -> Any:
    """Open a websocket to a pod through the host's API server. The first byte of each message is its channel."""
    return websocket.create_connection(
        host.server.replace("https://", "wss://", 1) + path,
        socket=host.open_socket(),  # the package knows only some of the proxies and none of the names to verify
        timeout=host.timeout,
        subprotocols=[PROTOCOL],
        header=[f"{name}: {value}" for name, value in {**host.headers, "User-Agent": host.user_agent}.items()],
        suppress_origin=True,
        enable_multithread=True,
    )


def _refusal(error: Exception, host: Cluster, pod: str) -> str:
    status = getattr(error, "status_code", None)
    if status == 401:
        return f"port-forward: 401, {host.renewal or 'the credential is refused'}"
    if status == 404:
        return f"port-forward: there is no pod {pod}"
    if status == 403:
        return "port-forward: 403, the platform's credential may not open it"
    return f"port-forward: {error}" if status is None else f"port-forward: {status}"
