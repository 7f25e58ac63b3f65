"""The syncer keeps no state: killed anywhere, it makes both sides agree again. Nothing of what is gone stays behind."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import lab, ran, until
from .space import WAIT, Space, made_space, name_inside

VCLUSTER = "payments--dev"
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


def copies(hub: Path, space: Space) -> dict[str, str]:
    """What the host has of a namespace inside: kind/name there to the name inside."""
    return {f"{one['kind']}/{one['metadata']['name']}": name_inside(one) for one in space.copies(hub)}


def kill() -> None:
    lab("ssh", "hub", "pkill", "-KILL", "-f", "tenantry_syncer")


@pytest.fixture
def space(site: object, hub: Path) -> Iterator[Space]:
    with made_space(VCLUSTER, "killed") as found:
        found.create(APP)
        yield found
    until(lambda: not copies(hub, found))


def pods(space: Space) -> list[dict]:
    return space.json("pods")["items"]


def scale(space: Space, replicas: int, *, rollout: bool = True) -> None:
    space("scale", "deployment/app", f"--replicas={replicas}")
    if rollout:
        space("rollout", "status", "deployment/app", "--timeout=180s")


def test_scaling_up(hub: Path, space: Space) -> None:
    scale(space, PODS, rollout=False)
    until(lambda: len(copies(hub, space)) > 3)
    kill()
    space("rollout", "status", "deployment/app", "--timeout=180s")
    names = {pod["metadata"]["name"] for pod in pods(space)}
    on_host = [name for key, name in copies(hub, space).items() if key.startswith("Pod/")]
    assert sorted(on_host) == sorted(names), "one pod on the host for each inside"
    assert len(names) == PODS


def test_graceful_deletion(hub: Path, space: Space) -> None:
    scale(space, PODS)
    scale(space, 0, rollout=False)
    kill()
    until(lambda: not pods(space) and not copies(hub, space), 120)


def test_namespace_removed_meanwhile(hub: Path, space: Space) -> None:
    scale(space, PODS, rollout=False)
    until(lambda: len(copies(hub, space)) > 3)
    space("delete", "namespace", space.name, "--wait=false")
    kill()
    until(lambda: not copies(hub, space), 120)
    space("wait", "--for=delete", f"namespace/{space.name}", WAIT)


def test_a_pod_that_vanishes_from_the_host_is_replaced(hub: Path, space: Space) -> None:
    scale(space, 1)
    (before,) = pods(space)
    (copy,) = (key for key in copies(hub, space) if key.startswith("Pod/"))
    ran(hub, "-n", VCLUSTER, "delete", copy, "--grace-period=0", "--force")
    space("wait", "--for=delete", f"pod/{before['metadata']['name']}", "--timeout=60s")
    space("rollout", "status", "deployment/app", "--timeout=90s")
    (after,) = pods(space)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
