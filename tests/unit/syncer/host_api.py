"""A host's API for tests of the kubelet API, and requests to the latter."""

from __future__ import annotations

import asyncio
import contextlib

from .authority import Authority

LOG = b"GET /containerLogs/shop/web/app HTTP/1.1\r\nHost: node\r\n\r\n"
EXEC = (
    b"POST /exec/shop/web/app?command=sh&input=1&output=1 HTTP/1.1\r\nHost: node\r\nContent-Length: 0\r\n"
    b"Connection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n"
    b"X-Stream-Protocol-Version: v3.channel.k8s.io\r\n"
)
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
SWITCH += b"X-Stream-Protocol-Version: v4.channel.k8s.io\r\nAudit-Id: host-secret\r\n\r\n"


class HostApi:
    """Accepts connections, reads the request head and calls the test's function to respond."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self.ssl = authority.client_context()
        self.heads: list[list[str]] = []
        self.script = None
        self.url = ""

    def token(self) -> str:
        return "host-token"

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.authority.server_context())
        self.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    async def _serve(self, reader, writer) -> None:
        with contextlib.suppress(ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.heads.append(head.strip().split("\r\n"))
            await self.script(reader, writer)
            writer.close()


async def ask(world, request: bytes) -> tuple[list[str], bytes]:
    """Return the response's head and decoded body."""
    reader, writer = await world.connect(request)
    head = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    body = await (dechunked(reader) if "transfer-encoding: chunked" in head else reader.read(-1))
    writer.close()
    return head, body


async def dechunked(reader) -> bytes:
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append(await reader.readexactly(size))
        assert await reader.readexactly(2) == b"\r\n"
    assert await reader.readexactly(2) == b"\r\n"
    return b"".join(parts)


def answers(response: bytes):
    async def script(_reader, writer):
        writer.write(response)

    return script
