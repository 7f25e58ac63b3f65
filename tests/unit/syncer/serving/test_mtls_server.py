"""The mTLS server over real connections: which clients it accepts, and error messages."""

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
    """Skip the wait of _finish: no client here still sends after the response."""
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


def test_upgrade_error_has_virtual_names(run_scenario):
    async def scenario(world):
        head, body = await ask(world, EXEC + b"\r\n")
        assert head[0] == "HTTP/1.1 400 Bad Request"
        assert "Content-Type: application/json" in head
        assert content_length(head) == len(body)
        assert not any(line.startswith("Audit-Id") for line in head)
        assert json.loads(body) == STATUS | {"message": REWRITTEN, "details": {"name": "web"}}

    run_scenario(answers(error(json.dumps(STATUS).encode())), scenario)


def test_log_error_is_plain_text(run_scenario):
    async def scenario(world):
        head, body = await ask(world, LOG)
        assert head[0] == "HTTP/1.1 400 Bad Request"
        assert "Content-Type: text/plain" in head
        assert content_length(head) == len(body)
        assert body.decode() == REWRITTEN

    run_scenario(answers(error(json.dumps(STATUS).encode())), scenario)


def test_long_error_is_cut(run_scenario):
    async def scenario(world):
        head, body = await ask(world, EXEC + b"\r\n")
        assert content_length(head) == len(body) == 64 * 1024

    async def script(_reader, writer):
        writer.write(b"HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while True:
                writer.write(b"400\r\n" + b"a" * 1024 + b"\r\n")
                await writer.drain()

    run_scenario(script, scenario)


def test_rejected_host_token_gets_502(run_scenario):
    async def scenario(world):
        head, body = await ask(world, EXEC + b"\r\n")
        assert head[0].startswith("HTTP/1.1 502 ")
        assert json.loads(body)["message"] == "the host's API does not accept the syncer's token"

    run_scenario(answers(error(b"Unauthorized", status=b"401 Unauthorized")), scenario)


@pytest.mark.parametrize(
    "response",
    [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n"],
    ids=["closed", "garbage", "101"],
)
def test_invalid_host_response_gets_502(run_scenario, response):
    """A 101 without a request for an upgrade is invalid too."""

    async def scenario(world):
        head, body = await ask(world, LOG)
        assert head[0].startswith("HTTP/1.1 502 ")
        assert body.startswith(b"waiting for the host's API: ")

    run_scenario(answers(response), scenario)


def test_unreachable_host_gets_502(run_scenario):
    async def scenario(world):
        world.server.close()
        await world.server.wait_closed()
        head, body = await ask(world, EXEC + b"\r\n")
        assert head[0].startswith("HTTP/1.1 502 ")
        status = json.loads(body)
        assert (status["kind"], status["code"]) == ("Status", 502)
        assert "127.0.0.1" not in status["message"]

    run_scenario(answers(b""), scenario)


def test_untrusted_host_gets_no_token(run_scenario, tmp_path):
    async def scenario(world):
        world.host.ssl = Authority(tmp_path, "other").client_context()
        head, _body = await ask(world, EXEC + b"\r\n")
        assert head[0].startswith("HTTP/1.1 502 ")
        assert world.host.heads == []

    run_scenario(answers(SWITCH), scenario)


@pytest.mark.parametrize("target", ["/exec/shop/missing/app?output=1", "/exec/other/web/app?output=1"])
def test_missing_pod_gets_404(run_scenario, target):
    async def scenario(world):
        head, body = await ask(world, b"POST %b HTTP/1.1\r\nHost: node\r\n\r\n" % target.encode())
        assert head[0] == "HTTP/1.1 404 Not Found"
        status = json.loads(body)
        assert (status["kind"], status["reason"], status["code"]) == ("Status", "NotFound", 404)
        assert world.host.heads == []

    run_scenario(answers(SWITCH), scenario)


@pytest.mark.parametrize(("target", "status"), [("/run/shop/web/app", 404), ("/exec/shop/web/app", 400)])
def test_other_requests_do_not_reach_the_host(run_scenario, target, status):
    async def scenario(world):
        head, body = await ask(world, b"POST %b HTTP/1.1\r\nHost: node\r\n\r\n" % target.encode())
        assert head[0].startswith(f"HTTP/1.1 {status} ")
        assert json.loads(body)["code"] == status
        assert world.host.heads == []

    run_scenario(answers(SWITCH), scenario)


# Which clients are accepted


@pytest.mark.parametrize("name", ["admin", "system:apiserver2", "System:apiserver", "system:node:a"])
def test_client_with_other_name_is_rejected(run_scenario, authority, name):
    async def scenario(world):
        reader, writer = await world.connect(LOG, authority.client_context(authority.issue(name)))
        assert (await reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 403 ")
        writer.close()
        assert world.host.heads == []

    run_scenario(answers(SWITCH), scenario)


def test_client_with_server_certificate_is_rejected(run_scenario, authority):
    async def scenario(world):
        await rejected(world, authority.client_context(authority.issue("system:apiserver", SERVER)))

    run_scenario(answers(SWITCH), scenario)


def test_client_without_certificate_is_rejected(run_scenario, authority):
    run_scenario(answers(SWITCH), lambda world: rejected(world, authority.client_context()))


def test_client_of_other_ca_is_rejected(run_scenario, authority, tmp_path):
    certificate = Authority(tmp_path, "ca").issue("system:apiserver")
    run_scenario(answers(SWITCH), lambda world: rejected(world, authority.client_context(certificate)))


async def rejected(world, context):
    """With TLS 1.3, a client notices the rejection only when it reads."""

    async def first_byte() -> bytes:
        reader, _writer = await world.connect(LOG, context)
        return await reader.readexactly(1)

    with pytest.raises((ssl.SSLError, ConnectionError, EOFError)):
        await first_byte()
    assert world.host.heads == []


async def never(_head, _reader, _writer):
    raise AssertionError("the handler must not be called")


def test_context_without_client_certificates_fails(authority):
    with pytest.raises(ValueError, match="CERT_REQUIRED"):
        MutualTlsServer(API_SERVER, never, authority.server_context())
