"""A real application's manifests roll out unmodified in both modes, and its parts find each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .harness import ROOT, until
from .space import IN_BOTH_MODES, WAIT, Space, made_space, volumes

APPLICATION = ROOT / "tests/lab/data/application.yml"
WORKLOADS = ("statefulset/shop-redis-master", "deployment/shop-backend", "deployment/shop")


@pytest.fixture(scope="module", params=IN_BOTH_MODES)
def space(request: pytest.FixtureRequest, site: object) -> Iterator[Space]:
    with made_space(request.param, "shop") as found, volumes(found, {"redis-data-shop-redis-master-0": "16Mi"}):
        found("apply", "-f", str(APPLICATION))
        for workload in WORKLOADS:
            found("rollout", "status", workload, WAIT)
        yield found


def frontend(space: Space, *words: str) -> str:
    """What the lab's program prints in a pod of the front end."""
    return space.try_("exec", "deployment/shop", "--", "/web", *words).stdout


def test_parts_talk_to_each_other(space: Space) -> None:
    """Nodes follow: a Service leads to a pod some moments after that pod is ready."""
    until(lambda: "front end" in frontend(space, "get", "http://shop/"))
    until(lambda: "back end" in frontend(space, "fetch", "http://shop/fetch?url=http://shop-backend:9898/"))
    until(lambda: "cache" in frontend(space, "get", "http://shop-redis-master:6379/"))


def test_hooks_succeed(space: Space) -> None:
    space("wait", "--for=condition=Complete", "job/shop-migrate", WAIT)
    space("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/shop-test", WAIT)


def test_settings_reach_the_containers(space: Space) -> None:
    backend = ("exec", "deployment/shop-backend", "--", "/web")
    found = dict(line.split("=", 1) for line in space(*backend, "env").splitlines() if "=" in line)
    assert (found["LOG_LEVEL"], found["REDIS_PASSWORD"], found["GOMAXPROCS"]) == ("info", "correct horse", "1")
    assert found["ADVERTISED"] == f"http://{found['POD_IP']}:9898"
    assert "currency: EUR" in space(*backend, "cat", "/etc/shop/settings.yaml")
    cache = ("exec", "shop-redis-master-0", "--", "/web")
    assert space(*cache, "cat", "/opt/redis/secrets/redis-password") == "correct horse"
    assert "maxmemory 64mb" in space(*cache, "cat", "/opt/redis/etc/redis.conf")


def test_service_account_may_what_its_role_says(space: Space) -> None:
    path = f"/api/v1/namespaces/{space.name}"
    assert frontend(space, "kube", f"{path}/configmaps/shop").startswith("200")
    assert frontend(space, "kube", f"{path}/secrets/shop-redis").startswith("403")


def test_controllers_of_availability_see_the_pods(space: Space) -> None:
    """The autoscaler keeps its minimum and the quota counts healthy pods."""
    assert space.json("deployment", "shop")["status"]["readyReplicas"] == 2
    space("wait", "--for=jsonpath={.status.disruptionsAllowed}=1", "poddisruptionbudget/shop", WAIT)
    assert space.json("poddisruptionbudget", "shop")["status"]["currentHealthy"] == 2


def test_upgrade_rolls(space: Space) -> None:
    """As `helm upgrade` with other settings does: the checksum in the template changes."""
    before = space.json("pods", "-l", "app.kubernetes.io/component=backend")["items"][0]["metadata"]["name"]
    space("patch", "configmap", "shop", "-p", '{"data": {"LOG_LEVEL": "debug"}}')
    template = '{"spec": {"template": {"metadata": {"annotations": {"checksum/config": "0"}}}}}'
    space("patch", "deployment", "shop-backend", "-p", template)
    space("rollout", "status", "deployment/shop-backend", WAIT)
    space("wait", "--for=delete", f"pod/{before}", WAIT)
    assert "LOG_LEVEL=debug" in space("exec", "deployment/shop-backend", "--", "/web", "env")
