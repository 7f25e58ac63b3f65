"""Measures what docs/performance.md claims, on the lab with the demo up and nothing else to do.

`make demo && make bench`.

Prints, per figure, every run and the median; comparisons are ratios of runs made in turns. Parts of it alone:
`PYTHONPATH=build build/venv/bin/python -m tests.bench vclusters crowd`; its names are in main() below.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests

from ..lab.harness import DEMO, K3S, MIRROR, ApiServer, ansible_playbook, lab, ran
from ..lab.tenantry_lab.config import BUILDS, BUILT_VERSION
from . import crowd, footprint, idle, pods, vclusters
from .measure import RUNS, compared, printed, seconds, timed

SHARED = "payments--dev"
PODS = 10  # runs of one pod
DELETED = 5  # pods of a virtual cluster that is deleted
SCALE = 50  # pods of a Deployment
CROWD = 10  # virtual clusters at once
DENSITIES = (10, 20)


def main() -> int:
    parts: dict[str, Callable[[], object]] = {
        "vclusters": _vclusters,
        "deletion": _deletion,
        "releases": _releases,
        "noticed": crowd.noticed,
        "account": _account,
        "crowd": lambda: crowd.create_and_delete(CROWD),
        "rerun": lambda: crowd.nothing_to_change(2 * CROWD),
        "pods": _pods,
        "scale": _scale,
        "memory": _memory,
        "footprint": footprint.idle,
        "density": lambda: [footprint.density(count) for count in DENSITIES],
        "site": _site,
    }
    chosen = sys.argv[1:] or list(parts)
    if unknown := [name for name in chosen if name not in parts]:
        print(f"bench: no such part: {', '.join(unknown)}; there are {', '.join(parts)}", file=sys.stderr)
        return 2
    if not vclusters.HUB.exists():
        print("bench: the demo is not up; run `make demo` first", file=sys.stderr)
        return 2
    print("seconds unless said otherwise")
    for name in chosen:
        print(f"{name}, at a load average of {os.getloadavg()[0]:.1f}:", flush=True)
        parts[name]()
    return 0


def _vclusters() -> None:
    timed_create = "create, API ready (module start to end)"

    def created(create: Callable[[], None]) -> float:
        try:
            return seconds(create)
        finally:
            vclusters.delete()

    _shared, create = compared(
        f"vcluster: in mode shared, its syncer ready too: {timed_create}",
        f"vcluster: server only: {timed_create}",
        lambda: created(vclusters.create_shared),
        lambda: created(vclusters.create_dedicated),
        RUNS,
    )
    process = printed(
        "k3s alone: process start to /readyz, nothing else running in it", [_process() for _run in range(RUNS)]
    )
    print(f"  ratio of server only / k3s alone: {create / process:.1f}")
    timed(
        "vcluster: rerun on an existing cluster, nothing to change",
        vclusters.create_dedicated,
        before=vclusters.create_dedicated,
        after=vclusters.delete,
    )


def _deletion() -> None:
    """With pods that end at once when they are asked to."""
    hub = vclusters.connect(vclusters.HUB)
    ours, direct = [], []
    for _run in range(RUNS):
        with vclusters.large_shared() as cluster:
            pods.Space(cluster, "default").start("web", DELETED)
            ours.append(seconds(vclusters.delete))
        with pods.space(hub) as space:
            space.start("web", DELETED)
            direct.append(seconds(space.delete))
    pair = (
        printed(
            f"delete a virtual cluster of mode shared with {DELETED} pods, DNS and a volume, until all is gone", ours
        ),
        printed(f"delete a namespace of the host with {DELETED} pods, until it is gone", direct),
    )
    print(f"  ratio: {pair[0] / pair[1]:.2f}")


def _releases() -> None:
    """The newest Kubernetes and the oldest that the lab has built, in turns."""
    newest, *older = [one for one in BUILDS if one == BUILT_VERSION or (K3S.parent / f"k3s-{one}").exists()]
    if not older:
        print(f"  left out: only {newest} is built; see tests/lab/lab build --help")
        return
    oldest = older[-1]
    archive = f"{MIRROR}/releases/download/{quote(oldest, safe='')}/k3s-vcluster-images-amd64.tar"
    lab("ssh", "hub", f"curl -sSf {archive} | ctr -a /run/k3s/containerd/containerd.sock -n k8s.io images import -")
    took: dict[str, list[float]] = {newest: [], oldest: []}
    memory: dict[str, list[float]] = {newest: [], oldest: []}
    for _run in range(RUNS):
        for version in (newest, oldest):
            try:
                took[version].append(seconds(lambda version=version: vclusters.create_shared(version=version)))
                memory[version].append(idle.settled("k3s", vclusters.SPACE))
            finally:
                vclusters.delete()
    for version in (newest, oldest):
        printed(f"virtual cluster of {version}, mode shared: create until ready", took[version])
        printed(f"virtual cluster of {version}: MiB working set of its server a minute later", memory[version])


def _account() -> None:
    """Before it, nobody can make a pod."""
    flags = [
        word for flag in server_manifests.CONTROLLER_MANAGER_RATE for word in ("--kube-controller-manager-arg", flag)
    ]
    until = "API ready until there is an account for pods"
    compared(
        f"{until}, its controller manager asking as that of a virtual cluster",
        f"{until}, its controller manager asking as by itself",
        lambda: _first_account(flags),
        lambda: _first_account([]),
        RUNS,
    )


def _first_account(arguments: list[str]) -> float:
    with tempfile.TemporaryDirectory() as directory:
        server = ApiServer(Path(directory), arguments)
        try:
            kubeconfig = server.start()
            return seconds(lambda: ran(kubeconfig, "wait", "--for=create", "serviceaccount/default", "--timeout=60s"))
        finally:
            server.kill()


def _pods() -> None:
    dev, hub = vclusters.connect(DEMO / f"vclusters/{SHARED}.yaml"), vclusters.connect(vclusters.HUB)
    with pods.space(dev) as inside, pods.space(hub, walls_of=SHARED) as direct:
        what = "one pod, created until Running and Ready"
        compared(f"{what}, inside {SHARED}", f"{what}, on its host directly", inside.pod, direct.pod, PODS)


def _scale() -> None:
    hub = vclusters.connect(vclusters.HUB)
    with (
        vclusters.large_shared() as cluster,
        pods.space(cluster) as inside,
        pods.space(hub, walls_of=vclusters.SPACE) as direct,
    ):
        compared(
            f"Deployment of {SCALE} pods, created until all are Ready, inside {vclusters.SPACE}",
            f"Deployment of {SCALE} pods, created until all are Ready, on its host directly",
            lambda: inside.scale_up(SCALE),
            lambda: direct.scale_up(SCALE),
            RUNS,
        )
        with inside.deployment(SCALE):
            print(f"  {SCALE} pods and CoreDNS run in {vclusters.SPACE}, in the other shared ones what the demo has:")
            idle.syncers()


def _memory() -> None:
    idle.memory("k3s")


def _site() -> None:
    timed("site.yml: second run of the demo inventory", lambda: ansible_playbook("playbooks/site.yml"))


def _process() -> float:
    """Without its end, which takes longer than its start."""
    with tempfile.TemporaryDirectory() as directory:
        server = ApiServer(Path(directory))
        try:
            return seconds(server.start)
        finally:
            server.kill()


if __name__ == "__main__":
    sys.exit(main())
