"""A small API server with lists, and watches whose chunks the test writes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

from aiohttp import web
from tenantry_syncer.kube.client import Api


def config_map(name: str, version: int, **data: str) -> dict:
    return {"metadata": {"name": name, "namespace": "shop", "resourceVersion": str(version)}, "data": data}


def line(change: str, obj: dict) -> bytes:
    return json.dumps({"type": change, "object": obj}).encode() + b"\n"


class ApiServer:
    """Returns `lists` in turn, the last one repeatedly, and runs `watches`, functions that write a response."""

    def __init__(self) -> None:
        self.lists: list[tuple[list[dict], int]] = []
        self.watches: list[Callable[[web.StreamResponse], Awaitable[None]]] = []
        self.asked: list[dict[str, str]] = []
        self.elsewhere = ""
        self.lets_go = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(dict(request.query))
        if self.elsewhere:
            return web.Response(status=307, headers={"Location": self.elsewhere})
        if "watch" not in request.query:
            items, version = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
            return web.json_response({"items": items, "metadata": {"resourceVersion": str(version)}})
        if not self.watches:
            await self.lets_go.wait()
            return web.Response()
        response = web.StreamResponse()
        await response.prepare(request)
        try:
            await self.watches.pop(0)(response)
        except ConnectionResetError:
            request.transport.abort()
        return response


async def with_server(scenario: Callable[[ApiServer, Api], Awaitable[None]]) -> None:
    server = ApiServer()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = site._server.sockets[0].getsockname()[1]
    api = Api(f"http://127.0.0.1:{port}", True, lambda: "token")
    try:
        await asyncio.wait_for(scenario(server, api), 20)
    finally:
        server.lets_go.set()
        await api.close()
        await runner.cleanup()
