"""The HTTP server over real sockets."""

import asyncio
import contextlib
import re

import pytest
from tenantry_syncer.serving.http_server import Server, answer, health


def run(coroutine):
    return asyncio.run(asyncio.wait_for(coroutine, 30))


@contextlib.asynccontextmanager
async def serving(handler, **limits):
    server = Server(handler, **limits)
    await server.start("127.0.0.1", 0)
    try:
        yield server
    finally:
        await server.close()


async def exchange(server, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request)
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        return head + await reader.readexactly(int(re.search(rb"Content-Length: (\d+)", head)[1]))
    finally:
        writer.close()


async def echo(head, _reader, writer):
    await answer(writer, 200, f"{head.method} {head.target} {head.headers} {head.rest!r}")


async def asked(request: bytes, handler=echo, **limits) -> tuple[str, str]:
    async with serving(handler, **limits) as server:
        head, _blank, body = (await exchange(server, request)).decode().partition("\r\n\r\n")
    return head, body


def test_health_returns_result_of_checks():
    state = {"ready": False, "live": True}

    async def scenario():
        async with serving(health(lambda: state["ready"], lambda: state["live"])) as server:

            async def status(path, method="GET"):
                return (await exchange(server, f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())).split()[1]

            assert await status("/readyz") == b"503"
            assert await status("/livez") == b"200"
            state.update(ready=True, live=False)
            assert await status("/readyz?verbose") == b"200"
            assert await status("/livez") == b"503"
            assert await status("/metrics") == b"404"
            assert await status("/livez", "POST") == b"405"

    run(scenario())


def test_server_passes_request_to_handler():
    head, body = run(asked(b"GET /a?b=c HTTP/1.1\r\nHost: x\r\nX-Thing: 1\r\n\r\nrest"))
    assert head.startswith("HTTP/1.1 200 OK\r\n")
    assert "\r\nConnection: close" in head
    assert body == "GET /a?b=c [('host', 'x'), ('x-thing', '1')] b'rest'"


def test_read_head_in_single_bytes():
    async def scenario():
        async with serving(echo) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            for byte in b"GET / HTTP/1.1\r\nHost: x\r\n\r\n":
                writer.write(bytes([byte]))
                await writer.drain()
            assert b" 200 OK" in await reader.readuntil(b"\r\n\r\n")
            writer.close()

    run(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\n\r\n", "400"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 3000, "431"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", "413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", "413"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "200"),
    ],
)
def test_invalid_request_status(request_bytes, status):
    head, _body = run(asked(request_bytes, head_limit=1024))
    assert head.split()[1] == status


def test_server_one_request_per_connection():
    async def scenario():
        async with serving(echo) as server:
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            writer.write(b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
            assert (await reader.read(-1)).count(b"HTTP/1.1 200") == 1
            writer.close()

    run(scenario())


def test_slow_head_gets_408():
    head, _body = run(asked(b"GET / HTTP/1.1\r\nHos", head_timeout=0.05))
    assert head.split()[1] == "408"


def test_failed_handler_closes_only_its_connection(caplog):
    async def handler(head, _reader, writer):
        if head.target == "/fail":
            raise ValueError("a bug")
        await answer(writer, 200, "fine")

    async def scenario():
        async with serving(handler) as server:
            with pytest.raises((ConnectionError, EOFError)):
                await exchange(server, b"GET /fail HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"fine" in await exchange(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    run(scenario())
    assert "a bug" in caplog.text


def test_server_limits_and_frees_connections():
    async def scenario():
        release, entered = asyncio.Event(), asyncio.Event()

        async def handler(_head, _reader, writer):
            entered.set()
            await release.wait()
            await answer(writer, 200, "done")

        async with serving(handler, max_connections=1) as server:
            request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
            waiting = asyncio.create_task(exchange(server, request))
            await entered.wait()
            assert b" 503 " in await exchange(server, request)
            release.set()
            assert b"done" in await waiting
            while server.connections:
                await asyncio.sleep(0)
            assert b"done" in await exchange(server, request)

    run(scenario())


def test_close_aborts_open_connections():
    async def scenario():
        entered = asyncio.Event()

        async def handler(_head, reader, _writer):
            entered.set()
            await reader.read(1)

        async with serving(handler) as server:
            open_one = asyncio.create_task(exchange(server, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
            await entered.wait()
        with pytest.raises((ConnectionError, EOFError)):
            await open_one
        assert server.connections == 0

    run(scenario())
