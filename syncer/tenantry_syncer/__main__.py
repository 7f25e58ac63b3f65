"""python3 -m tenantry_syncer"""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import ssl
import tempfile
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from tenantry_syncer import certificates
from tenantry_syncer import config as settings
from tenantry_syncer.api import Api, until_ready
from tenantry_syncer.api_service import ApiService
from tenantry_syncer.config import Config, TokenFile
from tenantry_syncer.door import AGGREGATOR, API_SERVER, Door
from tenantry_syncer.kinds import CONFIG_MAP
from tenantry_syncer.metrics import Metrics
from tenantry_syncer.server import Handler, Server, health
from tenantry_syncer.sides import Sides
from tenantry_syncer.streams import Streams
from tenantry_syncer.syncer import Syncer
from tenantry_syncer.turns import Turn

_CLIENT_CAS = CONFIG_MAP.path("kube-system", "extension-apiserver-authentication")


async def main() -> None:
    config = Config.read()
    syncer: Syncer | None = None
    streams_open = asyncio.Event()
    async with AsyncExitStack() as stack:
        # Before anything else: that it waits for the API server is no reason to start it again.
        status = Server(health(lambda: syncer is not None and syncer.ready and streams_open.is_set()))
        await status.start(None, settings.HEALTH_PORT)
        stack.push_async_callback(status.close)
        host = Api(
            config.host_url,
            trusting(cafile=settings.SERVICE_ACCOUNT / "ca.crt"),
            TokenFile(settings.SERVICE_ACCOUNT / "token"),
        )
        stack.push_async_callback(host.close)
        authority = await _authority()
        inside = Api(settings.VIRTUAL_URL, trusting(cadata=authority), TokenFile(settings.SETTINGS / "token"))
        stack.push_async_callback(inside.close)
        await until_ready(inside)
        turn = Turn(inside, socket.gethostname()) if config.several else None
        syncer = Syncer(Sides(config, host, inside), turn)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # What is there by now stays; not to be looked through again and again.
        gc.freeze()
        await _until_stopped(
            syncer.run(), _serve_streams(syncer, directory, streams_open), _serve_metrics(syncer, authority, directory)
        )


async def _authority() -> str:
    """The CA of the API server in the same pod, by asking it: nobody else can listen on its loopback address."""
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    asked = Api(settings.VIRTUAL_URL, blind, lambda: "")
    try:
        await until_ready(asked, "/cacerts")
        return await asked.text("/cacerts")
    finally:
        await asked.close()


def trusting(cafile: Path | None = None, cadata: str | None = None) -> ssl.SSLContext:
    """For the API of a cluster with this CA, in a file or as PEM."""
    context = ssl.create_default_context(cafile=cafile, cadata=cadata)
    # As the collection does: Python 3.13 asks of certificates what the CAs of many clusters do not give.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


async def _serve_streams(syncer: Syncer, directory: Path, is_open: asyncio.Event) -> None:
    """The nodes' door, for as long as this runs."""
    sides = syncer.sides
    streams = Streams(syncer.host_pod, sides.host.api, sides.config.namespace)
    async with _door(sides.inside.api, API_SERVER, "client-ca-file", streams.handle, settings.DOOR_PORT, directory):
        is_open.set()
        await asyncio.Event().wait()


async def _serve_metrics(syncer: Syncer, authority: str, directory: Path) -> None:
    """Another one, from when the host has metrics on."""
    metrics = Metrics(syncer.sides)
    api_service = ApiService(syncer.sides, metrics, authority)
    await api_service.wanted()
    client_ca, port = "requestheader-client-ca-file", settings.METRICS_PORT
    async with _door(syncer.sides.inside.api, AGGREGATOR, client_ca, metrics.handle, port, directory):
        await api_service.keep()


@asynccontextmanager
async def _door(
    inside: Api, client: str, client_ca: str, handler: Handler, port: int, directory: Path
) -> AsyncIterator[None]:
    """One that is open and whose certificate is kept renewed; `client_ca` is a key of _CLIENT_CAS."""
    while (found := await inside.get(_CLIENT_CAS)) is None:
        await asyncio.sleep(0.2)  # published by the API server soon after its start
    context, expires = await certificates.serving_context(inside, found["data"][client_ca], directory)
    door = Door(client, handler, context)
    await door.start(port)
    renewal = asyncio.create_task(certificates.keep_renewed(inside, context, directory, expires))
    try:
        yield
    finally:
        renewal.cancel()
        await door.close()


async def _until_stopped(*work: Coroutine[None, None, None]) -> None:
    """Run until a signal says stop; an error in any part ends all, and the kubelet starts the container again."""
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
    asyncio.run(main())
