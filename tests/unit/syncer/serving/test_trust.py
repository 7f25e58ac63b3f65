"""Which servers the syncer trusts, over real TLS connections."""

from __future__ import annotations

import asyncio
import ssl

import pytest
from aiohttp import web
from tenantry_syncer import __main__
from tenantry_syncer.kube.client import Api, ApiError

from ..authority import Authority


def with_api_server(authority: Authority, scenario) -> None:
    """Run scenario(url) with a server that has a certificate of this CA and publishes it as k3s does."""

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
def test_api_trusts_ca_of_host(tmp_path, strict):
    """Python 3.13 rejects older certificates by default."""
    authority = Authority(tmp_path, strict=strict)
    file = tmp_path / "ca.crt"
    file.write_text(authority.pem)

    async def scenario(url):
        assert await ready(url, __main__.tls_context(file)) == "ok"

    with_api_server(authority, scenario)


def test_api_rejects_other_ca_of_same_name(tmp_path):
    async def scenario(url):
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            await ready(url, __main__.tls_context(cadata=Authority(tmp_path).pem))

    with_api_server(Authority(tmp_path), scenario)


def test_api_checks_server_name(tmp_path):
    authority = Authority(tmp_path)

    async def scenario(url):
        with pytest.raises(ApiError, match="CERTIFICATE_VERIFY_FAILED"):
            await ready(url.replace("127.0.0.1", "localhost"), __main__.tls_context(cadata=authority.pem))

    with_api_server(authority, scenario)
