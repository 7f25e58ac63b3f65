"""QUO-4 and QUO-6: virtual clusters on one node that is not big enough for what they do.

Floods run inside payments--dev, within its resources, for a time set beforehand; the API of payments--stage is asked
at a steady rate meanwhile, whether it keeps up or not. All requests must be answered, and no pod may have to go. How
much longer they take is told, not judged: it says something only where nothing else runs on the same processors. Who
asks goes before all others, as if on another machine. Beside it stands what the same questions take meanwhile at an API
server on this machine that is in no cluster: it shares the processors with the flood, with no wall of ours between.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from .harness import ApiServer, ran, run_module, until
from .security.conftest import connect
from .security.sweep import MERGE, Request, answer_of
from .space import WAIT, Space, made_space

pytestmark = pytest.mark.nightly

NOISY, QUIET = "payments--dev", "payments--stage"
SECONDS = 15
RATE = 20  # requests a second
FIRST = -19  # the nice value of who asks
WRITES = 5  # of so many requests, one changes something
OBJECTS = 150  # that are listed, of 8 KiB each
FLOODS = {
    "cpu": [],
    "memory": [],
    "forks": [],
    "disk": ["/scratch"],
    "lists": ["/api/v1/configmaps"],
}


class Asked(NamedTuple):
    """An API with something in it to read and to change."""

    cluster: Cluster
    namespace: str


def noisy_pod(flood: str, words: list[str]) -> dict:
    """With all that is left of the resources."""
    container = {
        "name": "flood",
        "image": "docker.io/lab/web:1",
        "args": ["flood", flood, str(2 * SECONDS + 10), *words],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"cpu": "1200m", "memory": "512Mi"}},
        "volumeMounts": [{"name": "scratch", "mountPath": "/scratch"}],
    }
    spec = {
        "restartPolicy": "OnFailure",  # killed for its memory, it comes again
        "terminationGracePeriodSeconds": 1,
        "activeDeadlineSeconds": 2 * SECONDS + 60,
        "serviceAccountName": "flood",
        "containers": [container],
        "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "256Mi"}}],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"flood-{flood}"}, "spec": spec}


@pytest.fixture(scope="module")
def noisy(site: object) -> Iterator[Space]:
    del site
    with made_space(NOISY, "noise") as space:
        space("create", "serviceaccount", "flood")
        space("create", "clusterrolebinding", space.name, "--clusterrole=cluster-admin",
              f"--serviceaccount={space.name}:flood")  # fmt: skip
        fat = {"text": "x" * 8192}
        space.create(
            *(
                {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"fat-{number}"}, "data": fat}
                for number in range(OBJECTS)
            )
        )
        yield space
        space("delete", "clusterrolebinding", space.name)


CLOCK = ("create", "configmap", "clock", "--from-literal=at=0")


@pytest.fixture(scope="module")
def quiet(site: object) -> Iterator[Asked]:
    """The API of the other one."""
    del site
    with made_space(QUIET, "quiet") as space:
        space(*CLOCK)
        yield Asked(connect(space.kubeconfig), space.name)


@pytest.fixture(scope="module")
def beside(site: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asked]:
    """An API server that is in no cluster."""
    del site
    server = ApiServer(tmp_path_factory.mktemp("beside"))
    try:
        ran(server.start(), *CLOCK)
        yield Asked(connect(server.kubeconfig), "default")
    finally:
        server.kill()


def has_begun(pod: dict) -> bool:
    """Also one that was killed for its memory since."""
    (container,) = pod["status"].get("containerStatuses") or [{}]
    return bool(container.get("started") or container.get("restartCount"))


@contextmanager
def flooded(space: Space, flood: str) -> Iterator[None]:
    name = f"flood-{flood}"
    space.create(noisy_pod(flood, FLOODS[flood]))
    try:
        until(lambda: has_begun(space.json("pod", name)), 120)
        yield
    finally:
        space("delete", "pod", name, WAIT)


def latencies(api: Asked) -> list[float]:
    """In seconds since the moment at which each request was due: who waits for his turn waits too."""
    base = f"/api/v1/namespaces/{api.namespace}/configmaps"
    read, write = Request("GET", base, None, "list"), Request("PATCH", f"{base}/clock", MERGE, "patch")
    start = time.monotonic() + 0.5

    def ask(number: int) -> float:
        due = start + number / RATE
        time.sleep(max(0.0, due - time.monotonic()))
        body = {"data": {"at": str(number)}}
        status, text = answer_of(api.cluster, *((write, body) if number % WRITES == 0 else (read,)))
        assert status == 200, text
        return time.monotonic() - due

    def go_first() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FIRST)

    with ThreadPoolExecutor(RATE, initializer=go_first) as executor:
        return list(executor.map(ask, range(SECONDS * RATE)))


def p99(values: list[float]) -> float:
    return sorted(values)[math.ceil(len(values) * 0.99) - 1]


def pods_of(hub: Path) -> dict[str, tuple]:
    """Of the quiet one on the host: who they are, whether they run; of the server, how often it has begun anew."""
    found = json.loads(ran(hub, "get", "pods", "-n", QUIET, "-o", "json"))["items"]
    return {
        pod["metadata"]["uid"]: (
            pod["status"]["phase"],
            [
                one["restartCount"]
                for one in pod["status"]["containerStatuses"]
                if pod["metadata"]["name"] == "server-0"
            ],
        )
        for pod in found
    }


@pytest.mark.parametrize("flood", FLOODS)
def test_a_flood_beside_it(
    hub: Path, noisy: Space, quiet: Asked, beside: Asked, flood: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = pods_of(hub)
    asked = {"p99": quiet, "beside the cluster": beside}
    calm = {what: latencies(api) for what, api in asked.items()}
    with flooded(noisy, flood):
        busy = {what: latencies(api) for what, api in asked.items()}
    for what, api in asked.items():  # also after it, for what else comes and goes
        calm[what] += latencies(api)
    told = [
        f"{what} {p99(calm[what]) * 1000:.0f} ms quiet, {p99(busy[what]) * 1000:.0f} ms flooded, "
        f"ratio {p99(busy[what]) / p99(calm[what]):.2f}"
        for what in asked
    ]
    with capsys.disabled():
        print(f"\n{flood}: {'; '.join(told)}")
    assert pods_of(hub) == before, "a pod was evicted, or the server started anew"


# QUO-6: a node that is full ------------------------------------------------------------------------------------------

TENANT = "gold"
PIECE = 100  # of a core, in thousandths: what the node is filled with, pod by pod


@pytest.fixture
def gold(hub: Path) -> Iterator[Path]:
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
    yield hub
    removed = run_module("vcluster", **tenant, name="vault", state="absent")
    assert not removed.failed, removed.msg
    assert not run_module("tenant_quota", **tenant, state="absent").failed


def filler(number: int) -> dict:
    """As cheap a pod as can be, but for what it wants to have held for it."""
    resources = {"requests": {"cpu": f"{PIECE}m", "memory": "8Mi"}, "limits": {"cpu": f"{PIECE}m", "memory": "16Mi"}}
    container = {"name": "web", "image": "docker.io/lab/web:1", "args": ["sleep"], "resources": resources}
    spec = {"terminationGracePeriodSeconds": 1, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"filler-{number}"}, "spec": spec}


def test_production_gets_its_room_on_a_full_node(gold: Path) -> None:
    """A pod more of tier dev waits; a virtual cluster of tier prod comes up, and pods of tier dev make room for it."""
    with made_space(NOISY, "filler") as space:
        free = free_cpu(gold)
        space.create(*(filler(number) for number in range(free // PIECE + 1)))
        until(lambda: unscheduled(space) == 1)
        waiting = space.warning(name_of_unscheduled(space))
        assert "Insufficient cpu" in waiting, waiting
        version = json.loads(ran(gold, "version", "-o", "json"))["serverVersion"]["gitVersion"]
        made = run_module(
            "vcluster", kubeconfig=gold, tenant=TENANT, name="vault", version=version, tier="prod",
            resources={"cpu": "2", "memory": "2Gi", "pods": 5},
        )  # fmt: skip
        assert not made.failed, made.msg
        events = ran(gold, "get", "events", "-A", "--field-selector", "reason=Preempted", "-o", "json")
        victims = [event["involvedObject"] for event in json.loads(events)["items"]]
        assert victims, "nobody had to go"
        assert f"{TENANT}--vault" not in {victim["namespace"] for victim in victims}


def unscheduled(space: Space) -> int:
    return len(space.json("pods", "--field-selector", "spec.nodeName=")["items"])


def name_of_unscheduled(space: Space) -> str:
    return space.json("pods", "--field-selector", "spec.nodeName=")["items"][0]["metadata"]["name"]


def free_cpu(hub: Path) -> int:
    """What the node has that no pod holds, in thousandths of a core."""
    node = json.loads(ran(hub, "get", "nodes", "-o", "json"))["items"][0]
    pods = json.loads(ran(hub, "get", "pods", "-A", "-o", "json"))["items"]
    held = sum(
        quantity((one.get("resources", {}).get("requests") or {}).get("cpu", "0"))
        for pod in pods
        if pod["status"]["phase"] in ("Pending", "Running")
        for one in pod["spec"]["containers"]
    )
    return int((quantity(node["status"]["allocatable"]["cpu"]) - held) * 1000)


def quantity(text: str) -> Decimal:
    return quantities.parse(text, "cpu")
