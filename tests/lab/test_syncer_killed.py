"""The syncer keeps no state: killed anywhere, it makes both sides agree again. Nothing of what is gone stays behind."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .harness import DEMO, kubectl, lab

VCLUSTER = "payments--dev"
COPIES = "pods,services,configmaps,secrets,persistentvolumeclaims,endpointslices,ingresses"
PODS = 10
APP = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "app"},
    "spec": {
        "replicas": 0,
        "selector": {"matchLabels": {"app": "app"}},
        "template": {
            "metadata": {"labels": {"app": "app"}},
            "spec": {
                "terminationGracePeriodSeconds": 5,
                "containers": [
                    {
                        "name": "web",
                        "image": "docker.io/lab/web:1",
                        "args": ["sleep"],
                        "resources": {"limits": {"cpu": "20m", "memory": "32Mi"}},
                    }
                ],
            },
        },
    },
}


def inside(*arguments: str, stdin: str | None = None) -> str:
    run = kubectl(DEMO / f"vclusters/{VCLUSTER}.yaml", *arguments, stdin=stdin)
    assert run.returncode == 0, f"{arguments}: {run.stderr}"
    return run.stdout


def copies(hub: Path, space: str) -> dict[str, str]:
    """What the host has of a namespace inside: kind/name there to the name inside."""
    selector = "app.kubernetes.io/managed-by=tenantry-syncer"
    listed = kubectl(hub, "-n", VCLUSTER, "get", COPIES, "-l", selector, "-o", "json")
    assert listed.returncode == 0, listed.stderr
    found = {}
    for item in json.loads(listed.stdout)["items"]:
        notes = item["metadata"].get("annotations") or {}
        if notes.get("tenantry.dev/namespace") == space:
            found[f"{item['kind']}/{item['metadata']['name']}"] = notes["tenantry.dev/name"]
    return found


def kill() -> None:
    lab("ssh", "hub", "pkill", "-KILL", "-f", "tenantry_syncer")


def until(holds: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.2)  # two clusters have to agree: there is no one thing to watch


@pytest.fixture
def space(site: object, hub: Path) -> Iterator[str]:
    name = f"killed-{uuid.uuid4().hex[:6]}"
    inside("create", "namespace", name)
    inside("-n", name, "create", "-f", "-", stdin=json.dumps(APP))
    yield name
    inside("delete", "namespace", name, "--ignore-not-found", "--timeout=120s")
    until(lambda: not copies(hub, name))


def pods(space: str) -> list[dict]:
    return json.loads(inside("-n", space, "get", "pods", "-o", "json"))["items"]


def test_scaling_up(hub: Path, space: str) -> None:
    inside("-n", space, "scale", "deployment/app", f"--replicas={PODS}")
    until(lambda: len(copies(hub, space)) > 3)
    kill()
    inside("-n", space, "rollout", "status", "deployment/app", "--timeout=180s")
    names = {pod["metadata"]["name"] for pod in pods(space)}
    on_host = [name for key, name in copies(hub, space).items() if key.startswith("Pod/")]
    assert sorted(on_host) == sorted(names), "one pod on the host for each inside"
    assert len(names) == PODS


def test_graceful_deletion(hub: Path, space: str) -> None:
    inside("-n", space, "scale", "deployment/app", f"--replicas={PODS}")
    inside("-n", space, "rollout", "status", "deployment/app", "--timeout=180s")
    inside("-n", space, "scale", "deployment/app", "--replicas=0")
    kill()
    until(lambda: not pods(space) and not copies(hub, space))


def test_namespace_removed_meanwhile(hub: Path, space: str) -> None:
    inside("-n", space, "scale", "deployment/app", f"--replicas={PODS}")
    until(lambda: len(copies(hub, space)) > 3)
    inside("delete", "namespace", space, "--wait=false")
    kill()
    until(lambda: not copies(hub, space))
    inside("wait", "--for=delete", f"namespace/{space}", "--timeout=120s")


def test_a_pod_that_vanishes_from_the_host_is_replaced(hub: Path, space: str) -> None:
    inside("-n", space, "scale", "deployment/app", "--replicas=1")
    inside("-n", space, "rollout", "status", "deployment/app", "--timeout=90s")
    (before,) = pods(space)
    (copy,) = (key for key in copies(hub, space) if key.startswith("Pod/"))
    gone = kubectl(hub, "-n", VCLUSTER, "delete", copy, "--grace-period=0", "--force")
    assert gone.returncode == 0, gone.stderr
    inside("-n", space, "wait", "--for=delete", f"pod/{before['metadata']['name']}", "--timeout=60s")
    inside("-n", space, "rollout", "status", "deployment/app", "--timeout=90s")
    (after,) = pods(space)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
