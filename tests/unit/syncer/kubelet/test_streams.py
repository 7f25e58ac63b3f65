"""Streams over real TLS connections: what is passed on, and that no byte is lost."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import socket

import pytest
from tenantry_syncer.kubelet.streams import request_headers
from tenantry_syncer.serving.http_server import Head

from ..host_api import EXEC, LOG, SWITCH, answers, ask, dechunked

SIZE = 20 * 1024 * 1024
NOISE = random.Random(4).randbytes(SIZE)


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# What reaches the host


def test_only_listed_headers_reach_the_host(run_scenario):
    request = EXEC + b"".join(
        b"%b: tenant\r\n" % name
        for name in (
            b"Authorization",
            b"Impersonate-User",
            b"Impersonate-Group",
            b"X-Remote-User",
            b"X-Remote-Group",
            b"X-Forwarded-For",
            b"Cookie",
            b"Proxy-Authorization",
            b"Accept",
            b"Origin",
            b"User-Agent",
        )
    )

    async def scenario(world):
        await ask(world, request + b"\r\n")
        line, *headers = world.host.heads[0]
        assert line == (
            "POST /api/v1/namespaces/payments--dev/pods/web-x-shop/exec"
            "?container=app&command=sh&stdin=true&stdout=true HTTP/1.1"
        )
        assert sorted(headers) == [
            "authorization: Bearer host-token",
            "connection: Upgrade",
            "content-length: 0",
            f"host: {world.host.url.removeprefix('https://')}",
            "upgrade: SPDY/3.1",
            "user-agent: tenantry-syncer",
            "x-stream-protocol-version: v3.channel.k8s.io",
            "x-stream-protocol-version: v4.channel.k8s.io",
        ]

    run_scenario(answers(SWITCH), scenario)


def test_token_in_websocket_protocols_is_dropped():
    token = "base64url.bearer.authorization.k8s.io.c2VjcmV0"
    for value, expected in ((f"v4.channel.k8s.io, {token}", ["v4.channel.k8s.io"]), (token, [])):
        head = Head("GET", "/", [("upgrade", "websocket"), ("sec-websocket-protocol", value)])
        assert [v for k, v in request_headers(head) if k == "sec-websocket-protocol"] == expected


def test_only_listed_headers_reach_the_client(run_scenario):
    async def scenario(world):
        head, _body = await ask(world, EXEC + b"\r\n")
        assert head == [
            "HTTP/1.1 101 Switching Protocols",
            "connection: Upgrade",
            "upgrade: SPDY/3.1",
            "x-stream-protocol-version: v4.channel.k8s.io",
        ]

    run_scenario(answers(SWITCH), scenario)


# Upgraded connections


def test_splice_twenty_megabytes_in_both_directions(run_scenario):
    async def script(reader, writer):
        async def send():
            writer.write(SWITCH + NOISE)
            await writer.drain()

        async def receive():
            got.append(await reader.readexactly(SIZE))

        await asyncio.gather(send(), receive())

    got = []

    async def scenario(world):
        reader, writer = await world.connect(EXEC + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")

        async def send():
            writer.write(NOISE[::-1])
            await writer.drain()

        data, _sent = await asyncio.gather(reader.readexactly(SIZE), send())
        assert await reader.read(-1) == b""
        writer.close()
        assert digest(data) == digest(NOISE)
        assert digest(got[0]) == digest(NOISE[::-1])

    run_scenario(script, scenario)


def test_splice_passes_on_early_bytes(run_scenario):
    """Bytes directly after the request head and directly after the 101."""

    async def script(reader, writer):
        writer.write(SWITCH + b"early")
        writer.write(b" heard " + await reader.readexactly(5))

    async def scenario(world):
        assert (await ask(world, EXEC + b"\r\nstdin"))[1] == b"early heard stdin"

    run_scenario(script, scenario)


def test_splice_slow_host_blocks_the_client(run_scenario):
    """The kernel's tls_buffers take some megabytes; the proxy must not buffer without limit."""
    go_on = asyncio.Event()

    async def script(reader, writer):
        writer.write(SWITCH)
        await go_on.wait()
        writer.write(digest(await reader.readexactly(SIZE)).encode())

    async def scenario(world):
        reader, writer = await world.connect(EXEC + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        written = 0
        with contextlib.suppress(TimeoutError):
            while written < 16 * SIZE:
                part = NOISE[written % SIZE :][:65536]
                writer.write(part)
                written += len(part)
                await asyncio.wait_for(writer.drain(), 1)
        assert written < 16 * SIZE, "the proxy buffered everything"
        go_on.set()
        writer.write(NOISE[written % SIZE :])
        assert (await reader.read(-1)).decode() == digest(NOISE)
        writer.close()

    run_scenario(script, scenario)


def test_splice_delivers_last_bytes_of_client(run_scenario):
    """A command whose stdin ends: everything sent arrives, then the end."""
    got = asyncio.Queue()

    async def script(reader, writer):
        writer.write(SWITCH)
        got.put_nowait(await reader.read(-1))

    async def scenario(world):
        reader, writer = await world.connect(EXEC + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        writer.write(NOISE)
        await writer.drain()
        writer.close()
        assert digest(await got.get()) == digest(NOISE)

    run_scenario(script, scenario)


def test_splice_sending_client_gets_all_bytes(run_scenario):
    """A command that does not read its stdin to the end: closing at once would reset the connection."""
    ended = asyncio.Event()

    async def script(_reader, writer):
        writer.write(SWITCH + NOISE[:300_000])
        await writer.drain()
        ended.set()

    async def scenario(world):
        reader, writer = await world.connect(EXEC + b"\r\n")
        await reader.readuntil(b"\r\n\r\n")
        await ended.wait()
        writer.write(b"x" * 200_000)
        await writer.drain()
        assert digest(await reader.readexactly(300_000)) == digest(NOISE[:300_000])
        assert await reader.read(-1) == b""
        writer.close()

    run_scenario(script, scenario)


@pytest.mark.parametrize(
    ("request_head", "moment"),
    [(LOG, "before the head"), (LOG, "in the stream"), (EXEC + b"\r\n", "in the stream")],
    ids=["log before the head", "log", "exec"],
)
def test_lost_client_closes_host_connection(run_scenario, request_head, moment):
    reached, denied = asyncio.Event(), asyncio.Event()
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" if request_head is LOG else SWITCH

    async def script(reader, writer):
        if moment == "in the stream":
            writer.write(start)
        reached.set()
        with contextlib.suppress(ConnectionError):
            await reader.read(-1)
        denied.set()

    async def scenario(world):
        reader, writer = await world.connect(request_head)
        await reached.wait()
        if moment == "in the stream":
            await reader.readuntil(b"\r\n\r\n")
        writer.transport.abort()
        async with asyncio.timeout(5):
            await denied.wait()
        while world.kubelet.streams:
            await asyncio.sleep(0)

    run_scenario(script, scenario)


@pytest.mark.parametrize("request_head", [LOG, EXEC + b"\r\n"], ids=["log", "exec"])
def test_lost_host_closes_client_connection(run_scenario, request_head):
    start = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" if request_head is LOG else SWITCH

    async def script(_reader, writer):
        writer.write(start)
        await writer.drain()
        await seen.wait()
        writer.transport.abort()

    seen = asyncio.Event()

    async def scenario(world):
        reader, writer = await world.connect(request_head)
        await reader.readuntil(b"\r\n\r\n")
        seen.set()
        with contextlib.suppress(ConnectionError):
            rest = await reader.read(-1)
            assert not rest.endswith(b"0\r\n\r\n"), "a log that was cut off must not look complete"
        writer.close()

    run_scenario(script, scenario)


# Logs


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 11\r\n\r\nlast words\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"b\r\nlast words\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\nlast words\n",
    ],
    ids=["length", "chunked", "until close"],
)
def test_relay_sends_end_in_separate_record(run_scenario, api_server, response):
    """Each call of recv() returns one TLS record: the end must be in a separate one (see relay)."""

    def records(port):
        with (
            socket.create_connection(("127.0.0.1", port)) as raw,
            api_server.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(LOG)
            parts = []
            while b"0\r\n\r\n" not in parts:
                parts.append(connection.recv(65536))
                assert parts[-1], "closed before the last chunk"
            return parts

    async def scenario(world):
        head, *chunks = await asyncio.to_thread(records, world.kubelet.port)
        assert head.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n")
        assert chunks == [b"b\r\nlast words\n\r\n", b"0\r\n\r\n"]
        line = "GET /api/v1/namespaces/payments--dev/pods/web-x-shop/log?container=app HTTP/1.1"
        assert world.host.heads[0][0] == line
        assert "connection: close" in world.host.heads[0]

    run_scenario(answers(response), scenario)


def test_relay_twenty_megabytes_to_pausing_reader(run_scenario):
    sent = []

    async def script(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for start in range(0, SIZE, 30_000):
            part = NOISE[start : start + 30_000]
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))
            await writer.drain()
            sent.append(len(part))
        writer.write(b"0\r\n\r\n")

    async def scenario(world):
        reader, writer = await world.connect(LOG)
        await reader.readuntil(b"\r\n\r\n")
        while sum(sent) < 1_000_000:
            await asyncio.sleep(0)
        assert digest(await dechunked(reader)) == digest(NOISE)
        writer.close()

    run_scenario(script, scenario)


def test_relay_passes_on_followed_log_at_once(run_scenario):
    heard = asyncio.Event()

    async def script(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\none\n\r\n")
        await heard.wait()
        writer.write(b"4\r\ntwo\n\r\n0\r\n\r\n")

    async def scenario(world):
        reader, writer = await world.connect(LOG)
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(9) == b"4\r\none\n\r\n"
        heard.set()
        assert await dechunked(reader) == b"two\n"
        writer.close()

    run_scenario(script, scenario)
