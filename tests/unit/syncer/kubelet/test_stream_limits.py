"""Limits of open streams by pod and kind, and the response beyond them."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from tenantry_syncer.kubelet import stream_limits
from tenantry_syncer.kubelet.paths import parse
from tenantry_syncer.kubelet.stream_limits import FOLLOWED, INTERACTIVE, READ, StreamLimits, TooManyStreams

from ..host_api import EXEC, LOG, SWITCH, ask


def exec_in(pod: str):
    return parse("POST", f"/exec/shop/{pod}/app?command=sh&output=1")


def followed(pod: str, container: str = "app"):
    return parse("GET", f"/containerLogs/shop/{pod}/{container}?follow=true")


def allowed(stack: contextlib.ExitStack, limits: StreamLimits, request) -> int:
    """Open as many streams of this request as possible; return their number."""
    count = 0
    with contextlib.suppress(TooManyStreams):
        while True:
            stack.enter_context(limits.acquire(request))
            count += 1
    return count


def test_kind_of_stream():
    log = parse("GET", "/containerLogs/shop/web/app?tailLines=5")
    found = [stream_limits.kind_of_stream(one) for one in (exec_in("web"), followed("web"), log)]
    assert found == [INTERACTIVE, FOLLOWED, READ]


def test_pod_with_most_streams_leaves_room():
    limits = StreamLimits()
    with contextlib.ExitStack() as stack:
        held = [allowed(stack, limits, exec_in(f"greedy-{at}")) for at in range(3)]
        assert held[0] == stream_limits.MAX_PER_OBJECT[INTERACTIVE] // 2
        assert all(held)
        assert allowed(stack, limits, exec_in("other")) > 0
        assert allowed(stack, limits, followed("greedy-0")) > 0
    with contextlib.ExitStack() as stack:
        assert allowed(stack, limits, exec_in("greedy-0")) == held[0], "closed streams are free again"


def test_seventy_two_logs_can_be_followed():
    limits = StreamLimits()
    with contextlib.ExitStack() as stack:
        for pod in range(24):
            for container in range(3):
                stack.enter_context(limits.acquire(followed(f"web-{pod}", f"c{container}")))


@pytest.mark.parametrize("request_head", [EXEC + b"\r\n", LOG.replace(b"/app", b"/app?follow=true")])
def test_stream_beyond_limit_gets_429(run_scenario, request_head):
    """The response is a Status; for a log, it is text that the API server puts into its own Status."""
    is_log = request_head.startswith(b"GET")

    async def script(_reader, writer):
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n" if is_log else SWITCH)
        await asyncio.sleep(3600)

    async def scenario(world):
        held = []
        for _stream in range(stream_limits.MAX_PER_OBJECT[FOLLOWED if is_log else INTERACTIVE] // 2):
            reader, writer = await world.connect(request_head)
            await reader.readuntil(b"\r\n\r\n")
            held.append(writer)
        head, body = await ask(world, request_head)
        assert head[0] == "HTTP/1.1 429 Too Many Requests"
        assert any(line.startswith("Retry-After: ") for line in head)
        if is_log:
            assert b"too many followed logs are open" in body
        else:
            status = json.loads(body)
            assert (status["reason"], status["code"]) == ("TooManyRequests", 429)
            assert status["details"] == {"name": "web", "kind": "pods", "retryAfterSeconds": 5}
            assert "of pod web" in status["message"]
        for writer in held:
            writer.close()

    run_scenario(script, scenario)
