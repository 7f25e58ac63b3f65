"""KIND-3 and TIME-2 of resources on the host's API server: what a syncer can take of it.

Without nodes: an API server counts pods, services and claims all the same.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import resources as resources_spec

from .harness import ModuleResult, call_module, kubectl, ran, until

TENANT, SPACE = "frugal", "frugal--dev"
RESOURCES = {"cpu": "3", "memory": "4Gi", "storage": "6Gi", "pods": 12, "extended": {"example.com/gpu": 2}}
COPY = {"app.kubernetes.io/managed-by": "tenantry-syncer"}
GPU = "example.com/gpu"
OWN = "2"  # pods: server and syncer
NODE_PORT = {"type": "NodePort", "address": "192.0.2.10"}


def vcluster(hub: Path, **options: Any) -> ModuleResult:
    given = {"version": "v1.37.2+k3s1", "mode": "shared", "resources": RESOURCES, "wait": False, **options}
    return call_module("vcluster", kubeconfig=hub, tenant=TENANT, name="dev", **given)


@pytest.fixture(scope="module")
def hub(platform: Path) -> Iterator[Path]:
    """A hub without nodes, with one virtual cluster of mode shared."""
    tenant = {"kubeconfig": platform, "tenant": TENANT}
    for made in (call_module("tenant_quota", **tenant), vcluster(platform)):
        assert not made.failed, made.msg
    until(
        lambda: (
            quota(platform, "vcluster")["status"].get("used") and quota(platform, "vcluster-pods")["status"].get("used")
        )
    )
    until(lambda: server(platform) and kubectl(platform, "get", "pod", "syncer-0", "-n", SPACE).returncode == 0)
    yield platform
    for removed in (
        vcluster(platform, state="absent", wait=True),
        call_module("tenant_quota", **tenant, state="absent"),
    ):
        assert not removed.failed, removed.msg


@pytest.fixture
def syncer(hub: Path) -> Iterator[Cluster]:
    """With the syncer's own rights, as one that was taken over; what it made is gone after the test."""
    bound = ("--bound-object-kind", "Pod", "--bound-object-name", "syncer-0")
    config = kubeconfig.load(str(hub))
    config["users"][0]["user"] = {"token": ran(hub, "create", "token", "syncer", "-n", SPACE, *bound).strip()}
    yield Cluster.from_kubeconfig(config, name="hub")
    ran(hub, "delete", "pods,services", "-n", SPACE, "-l", "app.kubernetes.io/managed-by=tenantry-syncer", "--force")
    assert not vcluster(hub).failed
    until(lambda: quota(hub, "vcluster")["status"]["used"]["pods"] == OWN)


def quota(hub: Path, name: str) -> dict[str, Any]:
    return json.loads(ran(hub, "get", "resourcequota", name, "-n", SPACE, "-o", "json"))


def server(hub: Path) -> str:
    """The UID of the server's pod, whose place is always free."""
    found = ("get", "pod", "server-0", "-n", SPACE, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}")
    return ran(hub, *found)


def named(name: str, number: int = 0) -> dict[str, Any]:
    """As the syncer names and labels what it makes."""
    return {"name": f"{name}-{number:016x}", "namespace": SPACE, "labels": COPY}


def pod(name: str, number: int = 0, **limits: str) -> dict[str, Any]:
    closed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    resources = {"limits": {"cpu": "10m", "memory": "16Mi", "ephemeral-storage": "16Mi", **limits}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": named(name, number),
        "spec": {
            "serviceAccountName": "pods",
            "automountServiceAccountToken": False,
            "priorityClassName": "tenantry-dev",
            "containers": [{"name": "web", "image": "web", "resources": resources, "securityContext": closed}],
        },
    }


def refused(syncer: Cluster, obj: dict[str, Any]) -> str:
    with pytest.raises(ApiError) as error:
        syncer.create(obj)
    return str(error.value)


# KIND-3 ---------------------------------------------------------------------------------------------------------------


def test_local_disk_is_limited(hub: Path, syncer: Cluster) -> None:
    silent = pod("silent")
    del silent["spec"]["containers"][0]["resources"]["limits"]["ephemeral-storage"]
    given = syncer.create(silent)["spec"]["containers"][0]["resources"]
    assert (given["limits"]["ephemeral-storage"], given["requests"]["ephemeral-storage"]) == ("512Mi", "64Mi")
    syncer.create(pod("thrifty", **{"ephemeral-storage": "2Gi"}))
    assert "exceeded quota: vcluster" in refused(syncer, pod("vast", **{"ephemeral-storage": "20Gi"}))


def test_extended_resources_that_are_listed_are_limited(hub: Path, syncer: Cluster) -> None:
    syncer.create(pod("one", **{GPU: "2"}))
    assert f"requests.{GPU}" in refused(syncer, pod("another", **{GPU: "1"}))


def test_finished_pods_are_counted(hub: Path, syncer: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources_spec, "FINISHED_PODS", 5)
    assert not vcluster(hub).failed
    until(lambda: quota(hub, "vcluster-pods")["status"]["hard"]["count/pods"] == "20")  # 10 beside the own, 2 * 5
    for number in range(20):
        until(lambda: quota(hub, "vcluster")["status"]["used"]["pods"] == OWN)  # no other runs
        name = syncer.create(pod("job", number))["metadata"]["name"]
        status = ("patch", "pod", name, "-n", SPACE, "--subresource=status", "-p", '{"status": {"phase": "Succeeded"}}')
        ran(hub, *status)
    assert "requested: count/pods=1, used: count/pods=20" in refused(syncer, pod("more"))
    ran(hub, "delete", "pod", pod("job", 0)["metadata"]["name"], "-n", SPACE, "--force")
    until(lambda: quota(hub, "vcluster-pods")["status"]["used"]["count/pods"] == "19")
    syncer.create(pod("more"))


def test_what_tenants_take_leaves_the_servers_their_place(hub: Path, syncer: Cluster) -> None:
    """TIME-2: between the end of a server's pod and the next, with pods of the tenant waiting for any room."""
    part = {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "1Mi"}
    with racing(syncer, lambda number: pod("greedy", number, **part)) as made:
        until(lambda: len(made) == 10)
        for _time in range(5):
            before = server(hub)
            ran(hub, "delete", "pod", "server-0", "-n", SPACE, "--force")
            until(lambda before=before: server(hub) not in ("", before), 20)
    assert len(made) == 10, "12 in all, of which two are server and syncer"


# TIME-2: between two writes of a run ----------------------------------------------------------------------------------


def node_port(name: str, number: int = 0) -> dict[str, Any]:
    metadata = named(name, number)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"type": "NodePort", "ports": [{"port": 80}]},
    }


def test_node_port_of_the_api_is_not_taken_by_a_fast_tenant(hub: Path, syncer: Cluster) -> None:
    with racing(syncer, lambda number: node_port("fast", number)):
        exposed = vcluster(hub, expose=NODE_PORT)
        assert not exposed.failed, exposed.msg
        assert not vcluster(hub, expose=NODE_PORT).changed
    assert exposed_services(hub) == ["api"]
    until(lambda: can_create(syncer), 10)  # the syncer has its rights again


def test_node_port_that_a_tenant_has_taken_is_taken_back(hub: Path, syncer: Cluster) -> None:
    """As runs before this one have left it: the quota has one, and the tenant holds it."""
    ran(
        hub,
        "patch",
        "resourcequota",
        "vcluster",
        "-n",
        SPACE,
        "--type=merge",
        "-p",
        '{"spec":{"hard":{"services.nodeports":"1"}}}',
    )
    until(lambda: quota(hub, "vcluster")["status"]["hard"]["services.nodeports"] == "1")
    syncer.create(node_port("early"))
    exposed = vcluster(hub, expose=NODE_PORT)
    assert not exposed.failed, exposed.msg
    assert (
        "Service early-0000000000000000 of the tenant used the node port or load balancer that the quota has"
        in exposed.text
    )
    assert exposed_services(hub) == ["api"]
    assert "exceeded quota: vcluster" in refused(syncer, node_port("again"))


def exposed_services(hub: Path) -> list[str]:
    services = json.loads(ran(hub, "get", "services", "-n", SPACE, "-o", "json"))["items"]
    return [one["metadata"]["name"] for one in services if one["spec"]["type"] == "NodePort"]


def can_create(syncer: Cluster) -> bool:
    try:
        syncer.create({**node_port("probe"), "spec": {"ports": [{"port": 80}]}}, dry_run=True)
    except ApiError:
        return False
    return True


@contextmanager
def racing(syncer: Cluster, obj: Any) -> Iterator[list[str]]:
    """A syncer that creates what it is let, as fast as the API server answers; the names of what was created."""
    made: list[str] = []
    over = threading.Event()

    def race() -> None:
        for number in itertools.count():
            if over.is_set():
                return
            try:
                made.append(syncer.create(obj(number))["metadata"]["name"])
            except ApiError:
                continue

    thread = threading.Thread(target=race)
    thread.start()
    try:
        yield made
    finally:
        over.set()
        thread.join()
