"""Make the syncer's package importable; fixtures of the kubelet API between an API server and a host."""

import asyncio
import ssl
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "syncer"))

from tenantry_syncer.kubelet.streams import Streams
from tenantry_syncer.serving.mtls_server import API_SERVER, MutualTlsServer

from .authority import Authority
from .host_api import HostApi


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def api_server(authority):
    """The TLS context of the virtual cluster's API server."""
    return authority.client_context(authority.issue("system:apiserver"))


@pytest.fixture
def run_scenario(authority, api_server):
    """Run scenario(world) with a host that responds by script(reader, writer)."""

    def run(script, scenario, **options):
        async def main():
            host = HostApi(authority)
            host.script = script
            tls = authority.server_context()
            tls.verify_mode = ssl.CERT_REQUIRED
            tls.load_verify_locations(cadata=authority.pem)
            pods = {("shop", "web"): "web-x-shop", ("shop", "web-x"): "web-x-x"}
            server = await host.start()
            streams = Streams(lambda namespace, pod: pods.get((namespace, pod)), host, "payments--dev")
            it = MutualTlsServer(API_SERVER, streams.handle, tls, **options)
            await it.start(0, "127.0.0.1")

            async def connect(request=b"", context=api_server):
                reader, writer = await asyncio.open_connection("127.0.0.1", it.port, ssl=context)
                writer.write(request)
                return reader, writer

            try:
                await scenario(SimpleNamespace(kubelet=it, host=host, connect=connect, server=server))
            finally:
                await it.close()
                server.close()

        asyncio.run(asyncio.wait_for(main(), 60))

    return run
