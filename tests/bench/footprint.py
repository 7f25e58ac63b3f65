"""What an idle virtual cluster of mode shared takes of its host, its DNS included; and many of them on one node."""

from __future__ import annotations

import contextlib
import json
import shlex
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for

from ..lab.harness import lab, run_module
from . import vclusters
from .crowd import TENANT, tenant
from .measure import printed

MEBI = 1024**2
SETTLING_SECONDS = 90
IDLE_SECONDS = 120
ASKED_SECONDS = 60
SMALLEST = {"cpu": "1600m", "memory": "1330Mi", "storage": "1Gi", "pods": 4}

# By the UID of each pod: clock ticks so far, and KiB of proportional memory. Shared pages count once for all.
_LOOK = r"""
import json, os, re
found = {}
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        pod = re.search(r"pod([0-9a-f]{8}[-_0-9a-f]{28})", open(f"/proc/{pid}/cgroup").read())
        if not pod:
            continue
        times = open(f"/proc/{pid}/stat").read().rpartition(")")[2].split()[11:13]
        pss = re.search(r"^Pss: +(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M)
    except OSError:
        continue
    one = found.setdefault(pod[1].replace("_", "-"), [0, 0])
    one[0] += sum(map(int, times))
    one[1] += int(pss[1]) if pss else 0
print(json.dumps(found))
"""
_TICKS = 100  # a second


def idle() -> None:
    """One, for two minutes in which nobody asks anything of it."""
    hub = vclusters.connect(vclusters.HUB)
    try:
        vclusters.create_shared()
        _print_parts(hub, vclusters.SPACE)
    finally:
        vclusters.delete()


def density(count: int) -> None:
    """So many on one node, each with its DNS, and each asked once a second."""
    hub = vclusters.connect(vclusters.HUB)
    with _many(count) as clusters:
        (node,) = [one for one in hub.list("v1/Node") if one["metadata"]["name"] == _node_of(hub, f"{TENANT}--d0")]
        room = {name: _amount(node["status"]["allocatable"], name) for name in ("cpu", "memory")}
        held = {name: sum(_requests(hub, one, name) for one in clusters) / count for name in room}
        fit = min(int(room[name] / held[name]) for name in room)
        print(
            f"{count} idle on one node: each requests {1000 * held['cpu']:.0f}m and {held['memory'] / MEBI:.0f}Mi; "
            f"by requests {fit} fit an empty node of {room['cpu']:g} cores and {room['memory'] / 1024**3:.0f} GiB"
        )
        time.sleep(SETTLING_SECONDS)
        uids = {pod["metadata"]["uid"] for space in clusters for pod in hub.list("v1/Pod", space)}
        before, begun = _look(), time.monotonic()
        time.sleep(IDLE_SECONDS)
        after, passed = _look(), time.monotonic() - begun
        cpu = sum(after[uid][0] - before[uid][0] for uid in uids) / _TICKS / passed
        pss = sum(after[uid][1] for uid in uids) / 1024
        print(f"  each takes {100 * cpu / count:.2f} % of a core and {pss / count:.0f} MiB PSS", flush=True)
        with ThreadPoolExecutor(count) as threads:
            asked = [one for ones in threads.map(_asked, clusters.values()) for one in ones]
        asked.sort()
        print(f"  a get of each once a second: p50 {_at(asked, 0.5):.0f} ms, p99 {_at(asked, 0.99):.0f} ms", flush=True)


def _print_parts(hub: Cluster, space: str) -> None:
    _wait_for_dns(hub, space)
    time.sleep(SETTLING_SECONDS)
    pods = {pod["metadata"]["uid"]: pod["metadata"]["name"].partition("-")[0] for pod in hub.list("v1/Pod", space)}
    before, begun = _look(), time.monotonic()
    time.sleep(IDLE_SECONDS)
    after, passed = _look(), time.monotonic() - begun
    cpu = {name: (after[uid][0] - before[uid][0]) / _TICKS / passed * 100 for uid, name in pods.items()}
    pss = {name: after[uid][1] / 1024 for uid, name in pods.items()}
    for what, of in (("% of a core", cpu), ("MiB PSS", pss)):
        parts = ", ".join(f"{name} {amount:.2f}" for name, amount in sorted(of.items()))
        printed(f"idle virtual cluster, {what}: {parts}; together", [sum(of.values())])
    cores, memory = (_requests(hub, space, name) for name in ("cpu", "memory"))
    print(f"idle virtual cluster, requested of the host: {1000 * cores:.0f}m, {memory / MEBI:.0f}Mi", flush=True)


@contextlib.contextmanager
def _many(count: int) -> Iterator[dict[str, Path]]:
    """Virtual clusters of mode shared on the hub, with the kubeconfigs of their administrators."""
    with tempfile.TemporaryDirectory() as directory, tenant():
        files = {f"d{number}": Path(directory) / f"d{number}" for number in range(count)}
        shape = {
            "mode": "shared",
            "version": vclusters.version(),
            "resources": SMALLEST,
            "persistence": {"size": "256Mi"},
            "expose": {"type": "NodePort"},
            "host": "hub",
        }
        item = {"tenant": TENANT}
        try:
            _run([{**item, **shape, "name": name, "kubeconfig_path": str(file)} for name, file in files.items()])
            hub = vclusters.connect(vclusters.HUB)
            spaces = {f"{TENANT}--{name}": file for name, file in files.items()}
            for space in spaces:
                _wait_for_dns(hub, space)
            yield spaces
        finally:
            _run([{**item, "name": name, "state": "absent"} for name in files])


def _run(items: list[dict]) -> None:
    result = run_module("vcluster", kubeconfig=str(vclusters.HUB), vclusters=items, wait_timeout=900)
    if result.failed:
        raise SystemExit(f"bench: {result.msg}")


def _wait_for_dns(hub: Cluster, space: str) -> None:
    deadline = Deadline(300)
    while not (found := _dns(hub, space)):
        deadline.pause()
    wait_for(hub, "v1/Pod", found, space, _is_ready, deadline, what=f"CoreDNS of {space}")


def _dns(hub: Cluster, space: str) -> str | None:
    names = (pod["metadata"]["name"] for pod in hub.list("v1/Pod", space))
    return next((name for name in names if name.startswith("coredns")), None)


def _is_ready(pod: dict) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _asked(kubeconfig: Path) -> list[float]:
    """Milliseconds of each get."""
    cluster, found = vclusters.connect(kubeconfig), []
    cluster.get("v1/Namespace", "default")  # its connection
    end = time.monotonic() + ASKED_SECONDS
    while time.monotonic() < end:
        begun = time.monotonic()
        cluster.get("v1/Namespace", "default")
        found.append(1000 * (time.monotonic() - begun))
        time.sleep(max(0.0, begun + 1 - time.monotonic()))
    return found


def _at(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _node_of(hub: Cluster, space: str) -> str:
    return next(pod["spec"]["nodeName"] for pod in hub.list("v1/Pod", space))


def _requests(hub: Cluster, space: str, resource: str) -> float:
    containers = [one for pod in hub.list("v1/Pod", space) for one in pod["spec"]["containers"]]
    return sum(_amount(one["resources"]["requests"], resource) for one in containers)


def _amount(amounts: dict[str, str], resource: str) -> float:
    return float(quantities.parse(amounts[resource], resource))


def _look() -> dict[str, list[int]]:
    found: dict[str, list[int]] = json.loads(lab("ssh", "hub", f"python3 -c {shlex.quote(_LOOK)}"))
    return found
