"""What kubelets and metrics servers do for a cluster, in mode shared: files, usage, autoscaling, leases."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .harness import ran, until
from .space import WAIT, Space, made_space

VCLUSTER = "payments--dev"
# The host measures each 15 s and needs two measurements of a container.
MEASURED = 120


@pytest.fixture(scope="module")
def image(hub: Path) -> str:
    """One with a shell and tar that the host has: the server's own."""
    jsonpath = "jsonpath={.spec.containers[?(@.name=='k3s')].image}"
    return ran(hub, "-n", VCLUSTER, "get", "pod", "server-0", "-o", jsonpath)


@pytest.fixture(scope="module")
def space(site: object, image: str) -> Iterator[Space]:
    """With a deployment whose pod keeps a tenth of a core busy."""
    with made_space(VCLUSTER, "kubelet") as found:
        found.create(_busy(image))
        found("rollout", "status", "deployment/busy", WAIT)
        yield found


def _busy(image: str) -> dict:
    resources = {"requests": {"cpu": "50m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}
    command = ["/bin/sh", "-c", "trap exit TERM; while :; do :; done"]
    container = {"name": "main", "image": image, "command": command, "resources": resources}
    template = {"metadata": {"labels": {"app": "busy"}}, "spec": {"containers": [container]}}
    spec = {"selector": {"matchLabels": {"app": "busy"}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "busy"}, "spec": spec}


def _raw(space: Space, path: str) -> dict[str, Any]:
    return json.loads(space("get", "--raw", f"/apis/metrics.k8s.io/v1beta1/{path}"))


def _millicores(text: str) -> float:
    return float(text.removesuffix("n")) / 1e6 if text.endswith("n") else float(text.removesuffix("m"))


def test_files_are_copied_both_ways(space: Space, tmp_path: Path) -> None:
    pod = space.json("pods", "-l", "app=busy")["items"][0]["metadata"]["name"]
    sent = tmp_path / "sent"
    (sent / "below").mkdir(parents=True)
    (sent / "below/large").write_bytes(bytes(range(256)) * 8192)
    (sent / "small").write_text("hello")
    space("cp", str(sent), f"{pod}:/tmp/there")
    space("cp", f"{pod}:/tmp/there", str(tmp_path / "back"))
    for name in ("below/large", "small"):
        assert (tmp_path / "back" / name).read_bytes() == (sent / name).read_bytes()


def test_top_tells_what_pods_use(space: Space, hub: Path) -> None:
    def rows() -> list[list[str]]:
        return [line.split() for line in space.try_("top", "pods", "--no-headers").stdout.splitlines()]

    (row,) = until(rows, MEASURED)
    assert row[0].startswith("busy-")
    until(lambda: _millicores(rows()[0][1]) > 50, MEASURED)
    assert _raw(space, "pods?labelSelector=app%3Dnone")["items"] == []
    listed = _raw(space, f"namespaces/{space.name}/pods?labelSelector=app%3Dbusy")["items"]
    assert [one["metadata"]["name"] for one in listed] == [row[0]]
    assert "--" not in json.dumps(_raw(space, "pods")), "the namespace on the host"


def test_top_of_a_node_is_what_is_the_tenants(space: Space, hub: Path) -> None:
    until(lambda: _raw(space, "nodes")["items"], MEASURED)
    nodes = {line.split()[0]: line.split() for line in space("top", "nodes", "--no-headers").splitlines()}
    assert set(nodes) == {one["metadata"]["name"] for one in space.json("nodes")["items"]}
    used = {one["metadata"]["name"]: one["usage"]["memory"] for one in _raw(space, "nodes")["items"]}
    for line in ran(hub, "top", "nodes", "--no-headers").splitlines():
        name, _cpu, _share, memory, _of = line.split()
        if name not in used:
            continue
        assert 0 < int(used[name].removesuffix("Ki")) / 1024 < int(memory.removesuffix("Mi")) / 2


def test_autoscaling_by_cpu(space: Space) -> None:
    space("autoscale", "deployment", "busy", "--cpu-percent=50", "--max=2")
    space("wait", "--for=jsonpath={.status.desiredReplicas}=2", "hpa/busy", f"--timeout={MEASURED}s")
    space("wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/busy", WAIT)


def test_leases_of_nodes_are_kept(space: Space) -> None:
    nodes = {one["metadata"]["name"]: one["metadata"]["uid"] for one in space.json("nodes")["items"]}
    leases = json.loads(space("get", "leases", "-n", "kube-node-lease", "-o", "json"))["items"]
    assert {one["metadata"]["name"]: one["metadata"]["ownerReferences"][0]["uid"] for one in leases} == nodes
    for one in leases:
        spec = one["spec"]
        ends = datetime.fromisoformat(spec["renewTime"]) + timedelta(seconds=spec["leaseDurationSeconds"])
        assert ends > datetime.now(UTC)
        assert spec["holderIdentity"] == one["metadata"]["name"]


def test_namespaces_can_be_deleted_with_an_api_that_is_served_elsewhere(space: Space) -> None:
    name = f"{space.name}-2"
    space("create", "namespace", name)
    space("delete", "namespace", name, "--timeout=30s")
