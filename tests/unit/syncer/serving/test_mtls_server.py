"""The door over real TLS connections: who gets in, and what errors say."""

from __future__ import annotations

import contextlib
import json
import ssl

import pytest
from tenantry_syncer.serving import http_server
from tenantry_syncer.serving.mtls_server import API_SERVER, MutualTlsServer

from ..authority import SERVER, Authority
from ..host_api import EXEC, LOG, SWITCH, answers, ask


@pytest.fixture(autouse=True)
def no_lingering(monkeypatch):
    """No client here still sends when it is answered."""
    monkeypatch.setattr(http_server, "QUIET", 0.05)


# Errors

STATUS = {
    "kind": "Status",
    "message": 'container app of pods "web-x-shop" in payments--dev waits; web-x-shop-2 and payments--dev2 do not',
    "details": {"name": "web-x-shop"},
    "code": 400,
}
REWRITTEN = 'container app of pods "web" in shop waits; web-x-shop-2 and payments--dev2 do not'


def error(body: bytes, kind: bytes = b"application/json", status: bytes = b"400 Bad Request") -> bytes:
    head = b"HTTP/1.1 %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nAudit-Id: a\r\n\r\n"
    return head % (status, kind, len(body)) + body


def content_length(head: list[str]) -> int:
    return next(int(line.partition(": ")[2]) for line in head if line.startswith("Content-Length"))


def test_errors_of_an_upgrade_name_the_tenants_objects(door):
    async def scenario(world):
        head, body = await ask(world, EXEC + b"\r\n")
        assert head[0] == "HTTP/1.1 400 Bad Request"
        assert "Content-Type: application/json" in head
        assert content_length(head) == len(body)
        assert not any(line.startswith("Audit-Id") for line in head)
        assert json.loads(body) == STATUS | {"message": REWRITTEN, "details": {"name": "web"}}

    door(answers(error(json.dumps(STATUS).encode())), scenario)


def test_errors_of_a_log_are_plain_text_as_from_a_kubelet(door):
    async def scenario(world):
        head, body = await ask(world, LOG)
        assert head[0] == "HTTP/1.1 400 Bad Request"
        assert "Content-Type: text/plain" in head
        assert content_length(head) == len(body)
        assert body.decode() == REWRITTEN

    door(answers(error(json.dumps(STATUS).encode())), scenario)


def test_a_long_error_is_cut(door):
    async def scenario(world):
        head, body = await ask(world, EXEC + b"\r\n")
        assert content_length(head) == len(body) == 64 * 1024

    async def script(_reader, writer):
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"400\r\n" + b"a" * 1024 + b"\r\n")
                await writer.drain()

    door(script, scenario)


def test_a_refused_token_is_not_the_tenants_fault(door):
    async def scenario(world):
        head, body = await ask(world, EXEC + b"\r\n")
        assert head[0].startswith("HTTP/1.1 502 ")
        assert json.loads(body)["message"] == "the host's API does not accept the syncer's token"

    door(answers(error(b"Unauthorized", status=b"401 Unauthorized")), scenario)


@pytest.mark.parametrize(
    "response",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ids=["closed", "garbage", "101"],
)
def test_a_host_that_answers_nonsense(door, response):
    """A 101 to a request that did not ask for it is nonsense as well."""

    async def scenario(world):
        head, body = await ask(world, LOG)
        assert head[0].startswith("HTTP/1.1 502 ")
        assert body.startswith(b"waiting for the host's API: ")

    door(answers(response), scenario)


def test_a_host_that_is_away(door):
    async def scenario(world):
        world.server.close()
        await world.server.wait_closed()
        head, body = await ask(world, EXEC + b"\r\n")
        assert head[0].startswith("HTTP/1.1 502 ")
        status = json.loads(body)
        assert (status["kind"], status["code"]) == ("Status", 502)
        assert "127.0.0.1" not in status["message"]

    door(answers(b""), scenario)


def test_a_host_with_a_certificate_of_somebody_else_gets_no_token(door, tmp_path):
    async def scenario(world):
        world.host.ssl = Authority(tmp_path, "other").client_context()
        head, _body = await ask(world, EXEC + b"\r\n")
        assert head[0].startswith("HTTP/1.1 502 ")
        assert world.host.heads == []

    door(answers(SWITCH), scenario)


@pytest.mark.parametrize("target", ["/exec/shop/nobody/app?output=1", "/exec/other/web/app?output=1"])
def test_a_pod_that_does_not_exist(door, target):
    async def scenario(world):
        head, body = await ask(world, b"POST %b HTTP/1.1\r\nHost: node\r\n\r\n" % target.encode())
        assert head[0] == "HTTP/1.1 404 Not Found"
        status = json.loads(body)
        assert (status["kind"], status["reason"], status["code"]) == ("Status", "NotFound", 404)
        assert world.host.heads == []

    door(answers(SWITCH), scenario)


@pytest.mark.parametrize(("target", "status"), [("/run/shop/web/app", 404), ("/exec/shop/web/app", 400)])
def test_what_is_not_a_stream_does_not_reach_the_host(door, target, status):
    async def scenario(world):
        head, body = await ask(world, b"POST %b HTTP/1.1\r\nHost: node\r\n\r\n" % target.encode())
        assert head[0].startswith(f"HTTP/1.1 {status} ")
        assert json.loads(body)["code"] == status
        assert world.host.heads == []

    door(answers(SWITCH), scenario)


# Who gets in


@pytest.mark.parametrize("name", ["admin", "system:apiserver2", "System:apiserver", "system:node:a"])
def test_another_certificate_of_the_same_authority_is_refused(door, authority, name):
    async def scenario(world):
        reader, writer = await world.connect(LOG, authority.client_context(authority.issue(name)))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 403 ")
        writer.close()
        assert world.host.heads == []

    door(answers(SWITCH), scenario)


def test_the_certificate_of_a_server_is_refused(door, authority):
    async def scenario(world):
        await rejected(world, authority.client_context(authority.issue("system:apiserver", SERVER)))

    door(answers(SWITCH), scenario)


def test_without_a_certificate_nobody_gets_in(door, authority):
    door(answers(SWITCH), lambda world: rejected(world, authority.client_context()))


def test_a_certificate_of_another_authority_is_refused(door, authority, tmp_path):
    certificate = Authority(tmp_path, "ca").issue("system:apiserver")
    door(answers(SWITCH), lambda world: rejected(world, authority.client_context(certificate)))


async def rejected(world, context):
    """TLS 1.3 tells a client only when it reads."""

    async def first_byte() -> bytes:
        reader, _writer = await world.connect(LOG, context)
        return await reader.readexactly(1)

    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        await first_byte()
    assert world.host.heads == []


async def never(_head, _reader, _writer):
    raise AssertionError("nobody may come so far")


def test_a_context_that_lets_everybody_in_is_an_error(authority):
    with pytest.raises(ValueError, match="CERT_REQUIRED"):
        MutualTlsServer(API_SERVER, never, authority.server_context())
