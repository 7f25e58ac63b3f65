"""Websockets to pods take the same way to the API server as requests."""

from __future__ import annotations

import base64
import socket
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import port_forward
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.exec import Container, run
from ansible_collections.tenantry.kube.tests.lab.tls import self_signed

from .pod_server import STDOUT, Pod, cluster_of, pod_server, proxy

PROXIES = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in PROXIES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def _say_hello(pod: Pod) -> None:
    pod.send(STDOUT, b"hello")
    pod.end()


def _hello(entry: dict) -> str:
    return run(Container(cluster_of(entry), "shop", "web-0", "web"), "greeting", "echo hello")


def test_exec_verifies_tls_server_name(tmp_path: Path) -> None:
    with pod_server(tmp_path, _say_hello) as entry:
        assert _hello(entry) == "hello"


def test_exec_uses_proxy_url_whatever_no_proxy_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with proxy() as (address, seen), pod_server(tmp_path, _say_hello) as entry:
        assert _hello({**entry, "proxy-url": f"http://{address}"}) == "hello"
    assert [lines[0].split()[:2] for lines in seen] == [["CONNECT", entry["server"].removeprefix("https://")]]


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_exec_uses_the_proxy_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with proxy() as (address, seen), pod_server(tmp_path, _say_hello) as entry:
        monkeypatch.setenv(variable, f"http://me:sword%40fish@{address}")
        assert _hello(entry) == "hello"
    (lines,) = seen
    credentials = base64.b64encode(b"me:sword@fish").decode()
    assert f"proxy-authorization: basic {credentials}".lower() in [line.lower() for line in lines]


def test_port_forward_uses_proxy_url(tmp_path: Path) -> None:
    def forward(pod: Pod) -> None:
        for channel in (0, 1):  # data and errors begin with the port
            pod.send(channel, (6443).to_bytes(2, "little"))
        pod.send(0, b"hello")
        pod.stream.recv(1)  # the port-forward ends with its websocket

    with proxy() as (address, seen), pod_server(tmp_path, forward) as entry:
        host = cluster_of({**entry, "proxy-url": f"http://{address}"})
        stream = port_forward._forward(host, "shop", "web-0", 6443)
        assert stream.recv(5) == b"hello"
        stream.close()
    assert len(seen) == 1


def test_silent_connection_notices_a_lost_peer(tmp_path: Path) -> None:
    with pod_server(tmp_path, _say_hello) as entry, cluster_of(entry).open_socket() as stream:
        assert stream.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 30


def test_https_proxy_is_named_as_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "proxy").mkdir()
    tls = self_signed(tmp_path / "proxy")
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[0]))
    with (
        proxy(tls) as (address, _seen),
        pod_server(tmp_path, _say_hello) as entry,
        pytest.raises(ApiError, match=r"^greeting: commands and port-forwards need a proxy that begins"),
    ):
        _hello({**entry, "proxy-url": f"https://{address}"})


def test_exec_names_why_there_is_no_connection(tmp_path: Path) -> None:
    with pod_server(tmp_path, _say_hello) as entry:
        pass
    with pytest.raises(ApiError, match=r"^greeting: \[Errno \d+\] Connection refused in container web of pod"):
        _hello(entry)
