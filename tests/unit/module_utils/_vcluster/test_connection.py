"""The way in: TLS by the pinned CA through a websocket, to a pod that only a port-forward reaches."""

from __future__ import annotations

import socket
import threading

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.port_forward import _Forward
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import exposure


class Websocket:
    """As much of a websocket as a port-forward reads; `feed` decides what comes and how it ends."""

    def __init__(self, failure: Exception) -> None:
        self.sock, self._other = socket.socketpair()
        self.connected = True
        self.failure = failure
        self.shut = threading.Event()

    def fileno(self) -> int:
        return self.sock.fileno()

    def recv_data_frame(self, _control: bool):
        raise self.failure

    def break_off(self) -> None:
        self._other.send(b"x")

    def shutdown(self) -> None:
        self.connected = False
        self.shut.set()


@pytest.mark.parametrize(
    "failure",
    [ConnectionResetError("reset by peer"), TimeoutError("timed out"), RuntimeError("Unexpected frame data size")],
)
def test_a_broken_websocket_ends_the_connection_at_once(failure, capfd):
    websocket = Websocket(failure)
    forward = _Forward(websocket, [connection.API_PORT])
    reader = forward.socket(connection.API_PORT)
    reader.settimeout(5)
    websocket.break_off()
    assert reader.recv(1) == b""
    assert websocket.shut.wait(5)
    assert capfd.readouterr().err == ""


def service(kind: str, cluster_ip: str = "10.43.0.7") -> dict:
    return {"spec": {"type": kind, "clusterIP": cluster_ip, "ports": [{"port": 6443, "nodePort": 31443}]}}


@pytest.mark.parametrize(
    ("found", "address", "url"),
    [
        (service("NodePort"), "192.0.2.10", "https://192.0.2.10:31443"),
        (service("NodePort"), "api.example.com", "https://api.example.com:31443"),
        (service("NodePort"), "2001:db8::1", "https://[2001:db8::1]:31443"),
        (service("ClusterIP"), "", "https://10.43.0.7:6443"),
        (service("ClusterIP", "fd00::7"), "", "https://[fd00::7]:6443"),
    ],
)
def test_the_url_is_one_that_users_can_reach(found, address, url):
    assert exposure.url_of(found, found["spec"]["type"], address) == url


def test_only_a_pod_of_the_platform_is_taken_for_its_server():
    """A syncer makes pods too, and says of what component they are."""
    asked: dict[str, str] = {}

    class Host:
        def list(self, _kind: str, _namespace: str, selector: str) -> list[dict]:
            asked.update(label.split("=") for label in selector.split(","))
            return []

    assert connection.serving_pod(Host(), "payments--dev") == "server-0"
    assert asked == {"app.kubernetes.io/component": "server", "app.kubernetes.io/managed-by": "tenantry.kube"}
