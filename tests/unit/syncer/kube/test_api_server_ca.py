"""Reading the CA of the virtual API server. A fake of the host's API forwards ports as a kubelet."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from aiohttp import WSMsgType, web
from tenantry_syncer import config
from tenantry_syncer.kube import api_server_ca
from tenantry_syncer.kube.client import Api

from ..authority import Authority
from ..objects import CONFIG

PODS = f"/api/v1/namespaces/{CONFIG.namespace}/pods"


def server_pod(name: str, *, ready: bool) -> dict:
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


class Cluster:
    """A server that publishes its CA as k3s does, and the API of a host that forwards ports to it."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.pods = [server_pod("server-0", ready=False), server_pod("server-1", ready=True)]
        self.forwarded: list[str] = []
        self.errors = [b"not yet"]
        self.url = ""

    async def cacerts(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.authority.pem)

    async def list_pods(self, request: web.Request) -> web.Response:
        labels = "app.kubernetes.io/component=server,app.kubernetes.io/managed-by=tenantry.kube"
        assert request.query["labelSelector"] == labels
        return web.json_response({"items": self.pods, "metadata": {"resourceVersion": "1"}})

    async def forward(self, request: web.Request) -> web.WebSocketResponse:
        assert request.query["ports"] == "6443"
        self.forwarded.append(request.match_info["pod"])
        socket = web.WebSocketResponse(protocols=["v4.channel.k8s.io"])
        await socket.prepare(request)
        for channel in (b"\0", b"\1"):
            await socket.send_bytes(channel + (6443).to_bytes(2, "little"))
        if self.errors:
            await socket.send_bytes(b"\1" + self.errors.pop())
            return socket
        reader, writer = await asyncio.open_connection("127.0.0.1", int(self.url.rpartition(":")[2]))
        back = asyncio.create_task(self._back(reader, socket))
        async for message in socket:
            if message.type is WSMsgType.BINARY and message.data[:1] == b"\0":
                writer.write(message.data[1:])
        back.cancel()
        writer.close()
        return socket

    async def _back(self, reader: asyncio.StreamReader, socket: web.WebSocketResponse) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(100):  # less than a TLS record
                await socket.send_bytes(b"\0" + data)


def with_cluster(authority: Authority, scenario) -> None:
    """Run scenario(cluster, host)."""

    async def listening(stack, context, *routes) -> int:
        application = web.Application()
        application.add_routes(routes)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        return runner.addresses[0][1]

    async def main():
        cluster = Cluster(authority)
        async with contextlib.AsyncExitStack() as stack:
            port = await listening(stack, authority.server_context(), web.get("/cacerts", cluster.cacerts))
            cluster.url = f"https://127.0.0.1:{port}"
            routes = web.get(PODS, cluster.list_pods), web.get(f"{PODS}/{{pod}}/portforward", cluster.forward)
            host = Api(f"http://127.0.0.1:{await listening(stack, None, *routes)}", True, lambda: "token")
            stack.push_async_callback(host.close)
            await scenario(cluster, host)

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.fixture
def elsewhere(monkeypatch):
    """Make the virtual API server appear not to be on the loopback address."""
    monkeypatch.setattr(api_server_ca, "_is_loopback", lambda _url: False)
    monkeypatch.setattr(api_server_ca, "RETRY", 0.01)


@pytest.mark.parametrize("strict", [True, False], ids=["RFC 5280", "older"])
def test_read_uses_port_forward_and_retries_errors(tmp_path, monkeypatch, elsewhere, strict):
    """Python 3.13 rejects older certificates by default."""
    ours = Authority(tmp_path, strict=strict)

    async def scenario(cluster, host):
        monkeypatch.setattr(config, "VIRTUAL_URL", cluster.url)
        assert await api_server_ca.read(CONFIG, host) == ours.pem
        assert cluster.forwarded == ["server-1", "server-1"]

    with_cluster(ours, scenario)


def test_read_ignores_server_at_service_address(tmp_path, monkeypatch, elsewhere):
    """The server in the pod has another CA than the server at the address of the Service."""
    ours, theirs = Authority(tmp_path), Authority(tmp_path, "theirs")

    async def false(cluster, _host):
        async def true(real, host):
            monkeypatch.setattr(config, "VIRTUAL_URL", cluster.url)
            assert await api_server_ca.read(CONFIG, host) == ours.pem

        await asyncio.to_thread(with_cluster, ours, true)

    with_cluster(theirs, false)


def test_read_connects_directly_to_loopback(tmp_path, monkeypatch):
    async def scenario(cluster, host):
        monkeypatch.setattr(config, "VIRTUAL_URL", cluster.url)
        assert await api_server_ca.read(CONFIG, host) == cluster.authority.pem
        assert cluster.forwarded == []

    with_cluster(Authority(tmp_path), scenario)


def test_watch_raises_only_for_another_ca(tmp_path, monkeypatch, elsewhere):
    """One rejected certificate is no reason to restart; another CA of the server is."""
    ours = Authority(tmp_path)

    async def scenario(cluster, host):
        monkeypatch.setattr(config, "VIRTUAL_URL", cluster.url)
        virtual = Api(cluster.url, ours.client_context(), lambda: "")
        try:
            keeping = asyncio.create_task(api_server_ca.watch_for_replacement(CONFIG, host, virtual, ours.pem))
            assert await virtual.text("/cacerts") == ours.pem
            virtual.verification_failed.set()
            while virtual.verification_failed.is_set() or len(cluster.forwarded) < 2:
                await asyncio.sleep(0.01)
            assert not keeping.done()
            cluster.authority = Authority(tmp_path, "next")
            virtual.verification_failed.set()
            with pytest.raises(api_server_ca.CaReplaced):
                await keeping
        finally:
            await virtual.close()

    with_cluster(ours, scenario)


def test_api_untrusted_certificate_sets_event(tmp_path):
    async def scenario(cluster, _host):
        virtual = Api(cluster.url, Authority(tmp_path, "other").client_context(), lambda: "")
        try:
            with pytest.raises(Exception, match="CERTIFICATE_VERIFY_FAILED"):
                await virtual.text("/cacerts")
            assert virtual.verification_failed.is_set()
        finally:
            await virtual.close()

    with_cluster(Authority(tmp_path), scenario)
