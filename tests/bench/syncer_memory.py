"""What the syncer takes at most, running and at its start: by services, pods, config maps and large objects.

`PYTHONPATH=build build/venv/bin/python -m tests.bench.syncer_memory` needs neither machines nor the demo. With names of
scenarios it measures those alone.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import client
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files

from ..lab.harness import ApiServer, call_module, until
from ..lab.syncer_pair import Pair, PairSpace, syncer_pair

USUAL, ALWAYS = 60, 128  # MiB
QUIET_SECONDS = 5
SMALL = {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"cpu": "10m", "memory": "16Mi"}}
RESOURCES = {"cpu": "8", "memory": "32Gi", "storage": "20Gi", "pods": 120}
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def main() -> int:
    """Returns 1 where more was taken than there may be."""
    chosen = sys.argv[1:] or list(SCENARIOS)
    too_much = []
    with (
        _host() as host,
        tempfile.TemporaryDirectory() as directory,
        syncer_pair(host, Path(directory), resources=RESOURCES) as pair,
    ):
        for name in chosen:
            limit, fill = SCENARIOS[name]
            most = max(_measured(pair, name, fill))
            if most > limit:
                too_much.append(f"{name}: {most:.0f} MiB, and {limit} is the most there may be")
    print(*too_much, sep="\n")
    return 1 if too_much else 0


def _measured(pair: Pair, name: str, fill: Callable[[Filling], None]) -> tuple[float, float]:
    with pair.space() as space:
        fill(Filling(pair, space))
        running = _settled(pair)
        pair.restart_syncer()
        starting = _settled(pair)
    pair.restart_syncer()
    print(f"syncer, {name}: {running:.0f} MiB running, {starting:.0f} MiB from a start", flush=True)
    return running, starting


class Filling:
    """Makes objects inside, several at a time."""

    def __init__(self, pair: Pair, space: PairSpace) -> None:
        self.space = space
        self._cluster = client.Cluster.from_kubeconfig(kubeconfig_files.load(str(pair.virtual)), name="inside")

    def make(self, objects: Iterator[dict]) -> None:
        with ThreadPoolExecutor(4) as threads:
            for _made in threads.map(self._cluster.create, objects):
                pass

    def services(self, count: int) -> None:
        ports = [{"name": name, "port": port} for name, port in (("http", 80), ("grpc", 9090), ("metrics", 9102))]
        self.make(
            self.object("Service", f"shop-microservice-number-{at:04}", spec={"selector": {"app": "x"}, "ports": ports})
            for at in range(count)
        )

    def pods(self, count: int, **more: Any) -> None:
        containers = [self.container(name) for name in ("main", "sidecar")]
        spec = {"initContainers": [self.container("init")], "containers": containers, **more}
        self.make(self.object("Pod", f"worker-{at:03}", spec=spec) for at in range(count))

    def config_maps(self, count: int, size: int, *, applied: bool = False) -> None:
        for_all = {"annotations": {LAST_APPLIED: "x" * size}} if applied else {}
        self.make(
            self.object("ConfigMap", f"map-{at:05}", metadata=for_all, data={"dash.json": "x" * size})
            for at in range(count)
        )

    def object(self, kind: str, name: str, *, metadata: dict | None = None, **fields: Any) -> dict:
        known = {"name": name, "namespace": self.space.name, **(metadata or {})}
        return {"apiVersion": "v1", "kind": kind, "metadata": known, **fields}

    def container(self, name: str, **more: Any) -> dict:
        return {"name": name, "image": "web:1", "resources": SMALL, **more}


def _usual(it: Filling) -> None:
    it.services(10)
    it.pods(20)


def _case_11(it: Filling) -> None:
    it.services(100)
    it.pods(40)


def _services(it: Filling) -> None:
    it.services(1000)
    it.pods(10)


def _pods(it: Filling) -> None:
    it.pods(110)


def _config_maps(it: Filling) -> None:
    it.config_maps(10_000, 1000)
    it.pods(5)


def _case_12(it: Filling) -> None:
    it.config_maps(180, 220_000, applied=True)
    it.pods(5)


def _large(it: Filling) -> None:
    """All of them in use, or passed on."""
    it.config_maps(20, 1_000_000)
    volumes = [{"name": f"v{at}", "configMap": {"name": f"map-{at:05}"}} for at in range(20)]
    it.pods(5, volumes=volumes)
    args = ["x" * 100_000] * 9
    spec = {"containers": [it.container("main", args=args)]}
    it.make(it.object("Pod", f"large-{at}", spec=spec) for at in range(20))


def _odd(it: Filling) -> None:
    """Too many parts to be taken apart: none of these reaches the host."""
    env = [{"name": f"A{at}"} for at in range(60_000)]
    spec = {"containers": [it.container("main", env=env)]}
    it.make(it.object("Pod", f"odd-{at}", spec=spec) for at in range(10))
    it.make(it.object("ConfigMap", f"keys-{at}", data={f"k{one}": "" for one in range(100_000)}) for at in range(3))
    it.pods(3, volumes=[{"name": f"v{at}", "configMap": {"name": f"keys-{at}"}} for at in range(3)])


SCENARIOS: dict[str, tuple[int, Callable[[Filling], None]]] = {
    "10 services and 20 pods": (USUAL, _usual),
    "100 services of 3 ports and 40 pods": (USUAL, _case_11),
    "110 pods": (USUAL, _pods),
    "1,000 services": (USUAL, _services),
    "180 applied config maps of 220 kB, unused": (USUAL, _case_12),
    "10,000 config maps, unused": (USUAL, _config_maps),
    "20 config maps of 1 MB in use, 20 pods of 0.9 MB": (ALWAYS, _large),
    "10 pods of 60,000 variables, 3 config maps of 100,000 keys": (ALWAYS, _odd),
}


def _settled(pair: Pair) -> float:
    """The peak once nothing more reaches the host, and no more memory is taken."""

    def look() -> tuple:
        kinds = "pods,services,configmaps,secrets"
        found = json.loads(pair.on_host("get", kinds, "-o", "json", "-l", "app.kubernetes.io/managed-by"))["items"]
        return sorted(one["metadata"]["name"] for one in found), round(pair.peak)

    before, since = look(), time.monotonic()

    def is_quiet() -> bool:
        nonlocal before, since
        now = look()
        if now != before:
            before, since = now, time.monotonic()
        return time.monotonic() - since > QUIET_SECONDS

    until(is_quiet, 600)
    return pair.peak


@contextlib.contextmanager
def _host() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        server = ApiServer(Path(directory))
        try:
            kubeconfig = server.start(300)
            installed = call_module("platform", kubeconfig=kubeconfig)
            assert not installed.failed, installed.msg
            yield kubeconfig
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
