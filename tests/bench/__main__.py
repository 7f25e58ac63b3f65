"""Measures what the README claims, on the lab with the demo up: `make demo && make bench`.

Prints, per figure, every run and the median; comparisons are ratios of runs made one after the other.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ..lab.harness import DEMO, ApiServer, ansible_playbook, kubectl, run_module

HUB = DEMO / "hub.yaml"
RUNS = 3


def main() -> int:
    if not HUB.exists():
        print("bench: the demo is not up; run `make demo` first", file=sys.stderr)
        return 2
    print(f"{RUNS} runs each; seconds unless said otherwise")
    create = _timed("vcluster: create a server-only cluster, API ready (module start to end)", _create, after=_delete)
    process = _timed("k3s alone: process start to /readyz, nothing else running in it", _process)
    print(f"  ratio create / k3s alone: {create / process:.1f}")
    _timed("vcluster: rerun on an existing cluster, nothing to change", _create, before=_create, after=_delete)
    _timed("site.yml: second run of the demo inventory", lambda: ansible_playbook("playbooks/site.yml"))
    for name, mebibytes in _idle_memory().items():
        print(f"idle memory of {name}: {mebibytes:.0f} MiB working set of the container k3s, by the kubelet")
    return 0


def _timed(
    title: str,
    action: Callable[[], object],
    before: Callable[[], object] = lambda: None,
    after: Callable[[], object] = lambda: None,
) -> float:
    seconds = []
    for _run in range(RUNS):
        before()
        start = time.monotonic()
        action()
        seconds.append(time.monotonic() - start)
        after()
    median = statistics.median(seconds)
    print(f"{title}: median {median:.1f} ({', '.join(f'{value:.1f}' for value in seconds)})", flush=True)
    return median


def _vcluster(**arguments: object) -> None:
    arguments |= {"kubeconfig": str(HUB), "tenant": "payments", "name": "bench"}
    result = run_module("vcluster", **arguments)
    if result.failed:
        raise SystemExit(f"bench: {result.msg}")


def _create() -> None:
    _vcluster(version=_version(), agents=0)


def _delete() -> None:
    _vcluster(state="absent")


def _version() -> str:
    version = kubectl(HUB, "version", "-o", "json").stdout
    return str(json.loads(version)["serverVersion"]["gitVersion"])


def _process() -> None:
    with tempfile.TemporaryDirectory() as directory:
        server = ApiServer(Path(directory))
        try:
            server.start()
        finally:
            server.stop()


def _idle_memory() -> dict[str, float]:
    node = kubectl(HUB, "get", "nodes", "-o", "jsonpath={.items[0].metadata.name}").stdout
    stats = json.loads(kubectl(HUB, "get", "--raw", f"/api/v1/nodes/{node}/proxy/stats/summary").stdout)
    return {
        pod["podRef"]["namespace"]: container["memory"]["workingSetBytes"] / 2**20
        for pod in stats["pods"]
        for container in pod.get("containers", [])
        if "--" in pod["podRef"]["namespace"] and pod["podRef"]["name"].startswith("server-")
    }


if __name__ == "__main__":
    sys.exit(main())
