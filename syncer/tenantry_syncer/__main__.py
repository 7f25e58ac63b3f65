"""python3 -m tenantry_syncer"""

from __future__ import annotations

import asyncio
import logging
import signal
import ssl

from tenantry_syncer import config as settings
from tenantry_syncer.api import Api, until_ready
from tenantry_syncer.config import Config, TokenFile
from tenantry_syncer.sides import Sides
from tenantry_syncer.syncer import Syncer

_log = logging.getLogger("tenantry_syncer")


async def main() -> None:
    config = Config.read()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    host = Api(
        config.host_url,
        ssl.create_default_context(cafile=settings.SERVICE_ACCOUNT / "ca.crt"),
        TokenFile(settings.SERVICE_ACCOUNT / "token"),
    )
    inside = Api(settings.VIRTUAL_URL, await _trust(), TokenFile(settings.SETTINGS / "token"))
    try:
        await until_ready(inside)
        syncer = Syncer(Sides(config, host, inside))
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(syncer.run())]
            await stop.wait()
            for task in tasks:
                task.cancel()
    finally:
        await host.close()
        await inside.close()


async def _trust() -> ssl.SSLContext:
    """The CA of the API server in the same pod, by asking it: nobody else can listen on its loopback address."""
    blind = ssl.create_default_context()
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    asked = Api(settings.VIRTUAL_URL, blind, lambda: "")
    try:
        await until_ready(asked, "/cacerts")
        return ssl.create_default_context(cadata=await asked.text("/cacerts"))
    finally:
        await asked.close()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s")
    asyncio.run(main())
