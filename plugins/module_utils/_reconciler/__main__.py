# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The reconciler as a program: python3 -m ansible_collections.tenantry.kube.plugins.module_utils._reconciler."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import uuid
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import HUB, PLATFORM_NAMESPACE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import hub_kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import health
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.loop import Loop, LoopOptions

TIMEOUT = 5  # seconds for each request


def _parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tenantry-reconciler", description=__doc__)
    parser.add_argument("--inventory", type=Path, required=True, help="inventory with the group fleet_hub")
    parser.add_argument("--holder", default=f"{socket.gethostname()}_{uuid.uuid4()}", help="name in the Lease")
    parser.add_argument("--health-port", type=int, default=0, help="port of /healthz and /readyz; 0 for a free one")
    parser.add_argument("--metrics", type=Path, help="serve /metrics, and in them what the playbook report writes here")
    parser.add_argument(
        "--run",
        type=_scheduled,
        action="append",
        required=True,
        metavar="PLAYBOOK=SECONDS",
        help="run a playbook of the collection at the start, and then every so many seconds",
    )
    return parser.parse_args(arguments)


def _scheduled(text: str) -> tuple[str, int]:
    playbook, _sep, seconds = text.partition("=")
    if not playbook or not seconds.isdecimal() or int(seconds) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not PLAYBOOK=SECONDS")
    return playbook, int(seconds)


def _connect() -> Cluster:
    return Cluster.from_kubeconfig(hub_kubeconfig.load(None, None), name=HUB, timeout=TIMEOUT)


def main(arguments: list[str]) -> int:
    """Run the reconciler until SIGTERM or SIGINT. Return the exit code."""
    options = _parse(arguments)
    logging.basicConfig(stream=sys.stdout, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    given = (options.inventory, dict(options.run), options.holder, PLATFORM_NAMESPACE, options.metrics)
    loop = Loop(LoopOptions(*given), _connect)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_args: loop.stop())
    checks = {"/healthz": loop.unhealthy, "/readyz": loop.unready}
    port = health.serve(options.health_port, checks, loop.metrics if options.metrics else None)
    logging.info("health endpoint on port %s", port)
    return loop.run()


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
