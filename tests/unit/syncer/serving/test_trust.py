"""Whom the syncer trusts, over real TLS connections."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from aiohttp import web
from tenantry_syncer import __main__
from tenantry_syncer.kube.client import Api, ApiError

from ..authority import Authority


def with_api_server(authority: Authority, scenario) -> None:
    """Runs scenario(url) with a server that has a certificate of this authority and tells of it as k3s does."""

    async def answer(request):
        return web.Response(text={"/cacerts": authority.pem, "/readyz": "ok"}[request.path])

    async def main():
        application = web.Application()
        application.router.add_get("/{path}", answer)
        runner = web.AppRunner(application, shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=authority.server_context()).start()
            await scenario(f"https://127.0.0.1:{runner.addresses[0][1]}")
        finally:
            await runner.cleanup()

    asyncio.run(asyncio.wait_for(main(), 20))


async def ready(url: str, context: ssl.SSLContext) -> str:
    api = Api(url, context, lambda: "")
    try:
        return await api.text("/readyz")
    finally:
        await api.close()


@pytest.mark.parametrize("strict", [True, False], ids=["RFC 5280", "older"])
def test_the_ca_of_the_host(tmp_path, strict):
    """The older ones are refused by Python 3.13's default."""
    authority = Authority(tmp_path, strict=strict)
    file = tmp_path / "ca.crt"
    file.write_text(authority.pem)

    async def scenario(url):
        assert await ready(url, __main__.tls_context(file)) == "ok"

    with_api_server(authority, scenario)


def test_another_ca_of_the_same_name_is_not_trusted(tmp_path):
    async def scenario(url):
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            await ready(url, __main__.tls_context(cadata=Authority(tmp_path).pem))

    with_api_server(Authority(tmp_path), scenario)


def test_the_name_is_checked(tmp_path):
    authority = Authority(tmp_path)

    async def scenario(url):
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            await ready(url.replace("127.0.0.1", "localhost"), __main__.tls_context(cadata=authority.pem))

    with_api_server(authority, scenario)
