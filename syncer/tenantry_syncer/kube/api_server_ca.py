"""Read the CA of the virtual API server over a path that nobody else can answer on."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import ssl
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import h11

from tenantry_syncer.config import Config
from tenantry_syncer.kube.client import Api, ApiError, until_ready
from tenantry_syncer.kube.resources import POD

PATH = "/cacerts"
PORT = 6443
SERVERS = "app.kubernetes.io/component=server,app.kubernetes.io/managed-by=tenantry.kube"
PROTOCOL = "v4.channel.k8s.io"
TIMEOUT = 10.0
RETRY = 0.5
# Channels of a port-forward. The first message on each repeats the port number.
DATA, ERROR = b"\0", b"\1"

_log = logging.getLogger(__name__)


class CaReplaced(Exception):
    """The virtual API server has another CA now, so it is another cluster."""


async def read(config: Config, host: Api) -> str:
    """Wait for the virtual API server and return its CA as PEM."""
    unverified = ssl.create_default_context()
    unverified.check_hostname, unverified.verify_mode = False, ssl.CERT_NONE
    api = Api(config.virtual_url, unverified, lambda: "")
    try:
        await until_ready(api, PATH)
        if _is_loopback(config.virtual_url):
            return await api.text(PATH)  # no other pod can listen there
    finally:
        await api.close()
    while True:
        try:
            async with asyncio.timeout(TIMEOUT):
                return await _forwarded(host, config.namespace, unverified)
        except (ApiError, aiohttp.ClientError, OSError, EOFError, h11.RemoteProtocolError) as error:
            _log.warning("could not read the CA of the virtual API server: %s", str(error) or type(error).__name__)
            await asyncio.sleep(RETRY)


async def watch_for_replacement(config: Config, host: Api, virtual: Api, known: str) -> None:
    """Run until the CA changes, then raise CaReplaced. A server without a volume gets a new CA with each pod."""
    while True:
        await virtual.verification_failed.wait()
        virtual.verification_failed.clear()
        if await read(config, host) != known:
            raise CaReplaced
        await asyncio.sleep(RETRY)


async def _forwarded(host: Api, namespace: str, unverified: ssl.SSLContext) -> str:
    """Read the CA through a port-forward of the host: the kubelet connects within the server's pod."""
    pods = [pod async for page, _version in host.pages(POD.path(namespace), labelSelector=SERVERS) for pod in page]
    if not pods:
        raise EOFError("no server pod found")
    pod = max(pods, key=_is_ready)
    path = POD.path(namespace, pod["metadata"]["name"], "portforward")
    async with host.websocket(f"{path}?ports={PORT}", PROTOCOL) as socket:
        return await _Stream(socket, unverified).get(PATH)


def _is_loopback(url: str) -> bool:
    return ipaddress.ip_address(urlsplit(url).hostname or "").is_loopback


def _is_ready(pod: dict) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


class _Stream:
    """TLS over the messages of a port-forward, for one request."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, context: ssl.SSLContext) -> None:
        self._socket = socket
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out)
        self._opened_channels: set[bytes] = set()

    async def get(self, path: str) -> str:
        await self._do(self._tls.do_handshake)
        connection = h11.Connection(h11.CLIENT)
        request = h11.Request(method="GET", target=path, headers=[("host", "server"), ("connection", "close")])
        self._tls.write((connection.send(request) or b"") + (connection.send(h11.EndOfMessage()) or b""))
        status, body = 0, b""
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                connection.receive_data(await self._do(lambda: self._tls.read(65536)))
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif status == 200:
                return body.decode()
            else:
                raise ApiError(status, "", f"{path}: the server returned status {status}")

    async def _do(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                await self._flush()
                self._in.write(await self._receive())
            else:
                await self._flush()
                return result

    async def _flush(self) -> None:
        if data := self._out.read():
            await self._socket.send_bytes(DATA + data)

    async def _receive(self) -> bytes:
        while True:
            message = await self._socket.receive()
            if message.type is not aiohttp.WSMsgType.BINARY:
                raise EOFError("port-forward closed")
            channel, data = message.data[:1], message.data[1:]
            if channel not in self._opened_channels:
                self._opened_channels.add(channel)
                data = data[2:]
            if channel == ERROR and data:
                raise EOFError(data.decode(errors="replace"))
            if data:
                return data
