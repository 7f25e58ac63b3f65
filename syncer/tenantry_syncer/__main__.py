"""Entry point: `python3 -m tenantry_syncer`."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tenantry_syncer import config as settings
from tenantry_syncer.config import Config, TokenFile
from tenantry_syncer.controllers.manager import Syncer
from tenantry_syncer.host_networks import HostNetworks
from tenantry_syncer.host_storage_classes import OfferedClasses
from tenantry_syncer.kube import api_server_ca
from tenantry_syncer.kube.client import Api, until_ready
from tenantry_syncer.kube.leader_election import LeaderElector
from tenantry_syncer.kube.resources import CONFIG_MAP
from tenantry_syncer.kubelet.streams import Streams
from tenantry_syncer.metrics.api_service import ApiService
from tenantry_syncer.metrics.pod_metrics import Metrics
from tenantry_syncer.serving import certificates, tls_buffers
from tenantry_syncer.serving.http_server import Handler, Server, health
from tenantry_syncer.serving.mtls_server import AGGREGATOR, API_SERVER, MutualTlsServer
from tenantry_syncer.sync_context import SyncContext

_CLIENT_CAS = CONFIG_MAP.path("kube-system", "extension-apiserver-authentication")


async def main() -> None:
    """Start the servers and the syncer, and run until one of them fails."""
    tls_buffers.limit()
    config = Config.read()
    syncer: Syncer | None = None
    streams_open = asyncio.Event()
    async with AsyncExitStack() as stack:
        # First of all: while the syncer waits for the API server, the liveness probe must already succeed.
        status = Server(health(lambda: syncer is not None and syncer.ready and streams_open.is_set()))
        await status.start(None, settings.HEALTH_PORT)
        stack.push_async_callback(status.close)
        host = Api(
            config.host_url,
            tls_context(cafile=settings.SERVICE_ACCOUNT / "ca.crt"),
            TokenFile(settings.SERVICE_ACCOUNT / "token"),
        )
        stack.push_async_callback(host.close)
        ca = await api_server_ca.read(config, host)
        virtual = Api(config.virtual_url, tls_context(cadata=ca), TokenFile(settings.SETTINGS / "token"))
        stack.push_async_callback(virtual.close)
        await until_ready(virtual)
        elector = LeaderElector(virtual, socket.gethostname()) if config.several else None
        networks, classes = HostNetworks.read(settings.SETTINGS), OfferedClasses.read(settings.SETTINGS)
        syncer = Syncer(SyncContext(config, host, virtual, networks, classes), elector)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # What is loaded by now stays: exclude it from garbage collection.
        gc.freeze()
        await _until_stopped(
            syncer.run(),
            _serve_streams(syncer, directory, streams_open),
            _serve_metrics(syncer, ca, directory),
            api_server_ca.watch_for_replacement(config, host, virtual, ca),
        )


def tls_context(cafile: Path | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """Return a client TLS context that trusts the given CA, from a file or as PEM."""
    tls = ssl.create_default_context(cafile=cafile, cadata=cadata)
    # As in the collection: the CAs of many clusters lack extensions that Python 3.13 requires in strict mode.
    tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return tls


async def _serve_streams(syncer: Syncer, directory: Path, is_open: asyncio.Event) -> None:
    """Serve the kubelet API of the virtual nodes until cancelled."""
    context = syncer.context
    streams = Streams(syncer.host_pod_name, context.host.api, context.config.namespace)
    async with _serving(context, API_SERVER, "client-ca-file", streams.handle, settings.KUBELET_PORT, directory):
        is_open.set()
        await asyncio.Event().wait()


async def _serve_metrics(syncer: Syncer, ca: str, directory: Path) -> None:
    """Serve metrics.k8s.io once the host has it, until cancelled."""
    metrics = Metrics(syncer.context)
    api_service = ApiService(syncer.context, metrics, ca)
    await api_service.wait_for_metrics()
    client_ca, port = "requestheader-client-ca-file", settings.METRICS_PORT
    async with _serving(syncer.context, AGGREGATOR, client_ca, metrics.handle, port, directory):
        await api_service.run()


@asynccontextmanager
async def _serving(
    context: SyncContext, client: str, client_ca: str, handler: Handler, port: int, directory: Path
) -> AsyncIterator[None]:
    """Run an mTLS server and keep its certificate renewed; `client_ca` is a key of _CLIENT_CAS."""
    virtual, address = context.virtual.api, context.config.address
    # Administrators of the virtual cluster can get a certificate for any name signed by this CA.
    tenant_signer = f"{context.config.namespace} client"
    while not (trusted := certificates.trusted_cas(await _client_ca_bundle(virtual, client_ca), tenant_signer)):
        await asyncio.sleep(0.2)  # the API server publishes it soon after its start
    tls, expires = await certificates.serving_context(virtual, trusted, address, directory)
    server = MutualTlsServer(client, handler, tls)
    await server.start(port)
    renewal = asyncio.create_task(certificates.keep_renewed(virtual, tls, address, directory, expires))
    try:
        yield
    finally:
        renewal.cancel()
        await server.close()


async def _client_ca_bundle(virtual: Api, client_ca: str) -> str:
    found = await virtual.get(_CLIENT_CAS)
    return ((found or {}).get("data") or {}).get(client_ca, "")


async def _until_stopped(*work: Coroutine[None, None, None]) -> None:
    """Run all coroutines until SIGINT or SIGTERM; the first error ends them all and thus the container."""
    tasks = [asyncio.ensure_future(one) for one in work]
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, lambda: [task.cancel() for task in tasks])
    try:
        await asyncio.gather(*tasks)
    except asyncio.CancelledError:
        pass
    finally:
        for task in tasks:
            task.cancel()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(main())
    except api_server_ca.CaReplaced:
        # Restart without state. An exit would be subject to the kubelet's crash-loop back-off.
        os.execv(sys.executable, sys.orig_argv)  # noqa: S606 - this program itself
