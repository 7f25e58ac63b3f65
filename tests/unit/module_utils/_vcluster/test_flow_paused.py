"""QUO-7: a paused virtual cluster returns the resources of its pods to the quota, and a resume takes them again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import RESOURCES
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.manifests import tenant_objects
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import lifecycle

from .example import SHARED, make_item
from .fake_host import QUOTA
from .flow_world import World, item

# What a snapshot takes, beside the storage.
KEPT = {"cpu": "250m", "memory": "256Mi", "pods": "1"}


def big(name: str, cpu: int = 40, **changes: Any) -> dict[str, Any]:
    expose = make_item(expose={"port": 30443 + len(name)})["expose"]
    resources = {**SHARED["resources"], "cpu": str(cpu)}
    return item(name=name, expose=expose, **{**SHARED, "resources": resources, **changes})


class Quota:
    """The tenant payments with 64 CPUs, and the virtual cluster dev, which has 40 of them."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.run(big("dev"))

    def run(self, *items: dict, check: bool = False, problem: str = "") -> list[dict]:
        (*rows,) = self.world.run(*items, check=check)
        assert problem or not [row["error"] for row in rows if "error" in row]
        return rows

    def pause(self) -> None:
        self.run(big("dev", state="paused"))

    def hard(self, name: str = "dev") -> dict[str, str]:
        found = self.world.hub.get("v1/ResourceQuota", "vcluster", f"payments--{name}")
        assert found
        return found["spec"]["hard"]

    def record(self) -> VClusterRecord:
        namespace = self.world.hub.get("v1/Namespace", "payments--dev")
        assert namespace
        return VClusterRecord.of(namespace)

    def promised(self) -> dict[str, str]:
        found = promises.of(self.world.record())
        assert not [one for one in found.values() if one.pending]
        return {name.removeprefix("payments--"): one.counted["cpu"] for name, one in found.items()}

    def replicas(self) -> int:
        found = self.world.hub.get("apps/v1/StatefulSet", "server", "payments--dev")
        assert found
        return found["spec"]["replicas"]


@pytest.fixture
def quota(world: World) -> Quota:
    return Quota(world)


def test_paused_one_keeps_what_a_snapshot_needs(quota: Quota) -> None:
    before = quota.hard()
    assert quota.run(big("other", 30), check=True, problem="too large")[0]["error"]
    quota.pause()
    after = quota.hard()
    lowered = {key for key in before if before[key] != after[key]}
    assert lowered == {
        *(f"{what}.{name}" for what in ("limits", "requests") for name in ("cpu", "memory", "ephemeral-storage")),
        "pods",
    }
    assert {after["limits.cpu"], after["requests.cpu"]} == {KEPT["cpu"]}
    assert (after["limits.memory"], after["pods"]) == (KEPT["memory"], "1")
    assert quota.record().counted == {**quota.record().resources, **KEPT, "ephemeral_storage": "64Mi"}
    assert quota.promised() == {"dev": "250m"}
    quota.run(big("other", 63))
    assert quota.promised() == {"dev": "250m", "other": "63"}
    assert quota.run(big("dev", state="paused"))[0]["actions"] == []


@pytest.mark.parametrize("state", ["resumed", "present"])
def test_one_that_wakes_is_refused_when_the_quota_is_used_up(quota: Quota, state: str) -> None:
    quota.pause()
    quota.run(big("other", 30))
    written = list(quota.world.hub.writes)
    for check in (True, False):
        dev, other = quota.run(big("dev", state=state), big("other", 30), check=check, problem="no room")
        assert "error" not in other
        assert (dev["changed"], dev["refused"]) == (False, True)
        assert dev["error"] == (
            "payments--dev is paused and has no room to resume: quota of tenant payments: cpu 40 asked for, but 34 "
            "left (30 of 64 used by other virtual clusters). Reduce the resources, pause or delete virtual clusters, "
            "or raise the quota with tenantry.kube.tenant_quota"
        )
    assert quota.world.hub.writes == written
    assert (quota.replicas(), quota.promised()) == (0, {"dev": "250m", "other": "30"})
    quota.run(big("other", state="paused"))
    rows = [quota.run(big("dev", state=one), check=True)[0] for one in ("resumed", "present")]
    assert rows[0]["actions"] == rows[1]["actions"]
    quota.run(big("dev", state=state))
    assert (quota.replicas(), quota.promised()) == (1, {"dev": "40", "other": "250m"})
    assert (quota.hard()["limits.cpu"], quota.hard()["pods"]) == ("40", "20")
    assert quota.record().paused is None
    assert quota.run(big("dev", state=state))[0]["actions"] == []


def test_what_another_item_frees_is_there_for_the_one_that_wakes(quota: Quota) -> None:
    quota.pause()
    quota.run(big("other", 30))
    quota.run(big("dev", state="resumed"), big("other", state="absent"))
    assert quota.promised() == {"dev": "40"}


def test_use_counts_until_it_has_ended(quota: Quota) -> None:
    """A pod of the tenant takes its time. The host's quota counts it."""
    used = {"status": {"used": {"limits.cpu": "38"}}}
    quota.world.hub.merge("v1/ResourceQuota", "vcluster", "payments--dev", used)
    quota.pause()
    assert quota.promised() == {"dev": "38"}
    assert "26 left (38 of 64 used" in quota.run(big("other", 30), problem="used")[0]["error"]
    used["status"]["used"]["limits.cpu"] = "0"
    quota.world.hub.merge("v1/ResourceQuota", "vcluster", "payments--dev", used)
    quota.run(big("other", 30))
    assert quota.promised() == {"dev": "250m", "other": "30"}


def test_tenant_whose_paused_ones_keep_all(quota: Quota) -> None:
    quota.world.hub.apply(tenant_objects("payments", QUOTA, "payments", paused_frees_quota=False)[1])
    promises.begin(quota.world.hub, "payments")
    quota.pause()
    assert (quota.record().paused, quota.hard()["limits.cpu"]) == (None, "40")
    assert "24 left" in quota.run(big("other", 30), problem="no room")[0]["error"]
    quota.run(big("dev", state="resumed"))


def test_three_servers_keep_their_etcd(world: World) -> None:
    whole = {**SHARED, "servers": 3, "resources": {**SHARED["resources"], "cpu": "9", "memory": "9Gi"}}
    world.one(**whole)
    world.one(**whole, state="paused")
    promise = promises.of(world.record())["payments--dev"]
    assert {key: promise.resources[key] for key in KEPT} == {"cpu": "1500m", "memory": "1536Mi", "pods": "3"}


class Killed(BaseException):
    """As SIGKILL."""


@pytest.mark.parametrize("state", ["paused", "resumed"])
def test_killed_after_any_write_counts_what_the_host_allows(
    quota: Quota, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    world = quota.world
    if state == "resumed":
        quota.pause()
    done = False
    for last in range(1, 20):
        left = last
        merge = world.hub.merge

        def dies(*of: Any, **more: Any) -> dict:
            nonlocal left
            if not left:
                raise Killed
            left -= 1
            return merge(*of, **more)  # noqa: B023  # called within its round

        with monkeypatch.context() as patch:
            patch.setattr(world.hub, "merge", dies)
            try:
                quota.run(big("dev", state=state))
                done = True
            except Killed:
                pass
        counted = quantities.parse(promises.of(world.record())["payments--dev"].counted["cpu"], "cpu")
        assert quantities.parse(quota.hard()["limits.cpu"], "cpu") <= counted
        assert quota.replicas() == 0 or quota.hard()["limits.cpu"] == "40" == quota.record().counted["cpu"]
        if done:
            break
    assert done
    then = promises.clock() + promises.LASTS  # what the killed runs promised counts no more
    monkeypatch.setattr(promises, "clock", lambda: then)
    assert quota.run(big("dev", state=state))[0]["actions"] == []
    assert quota.promised() == {"dev": "250m" if state == "paused" else "40"}


def test_another_run_that_has_resumed_it_meanwhile_keeps_its_resources(
    quota: Quota, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_pods = lifecycle.end_pods

    def meanwhile(*of: Any) -> None:
        end_pods(*of)
        quota.run(big("dev", state="resumed"))

    with monkeypatch.context() as patch:
        patch.setattr(lifecycle, "end_pods", meanwhile)
        (row,) = quota.run(big("dev", state="paused"), problem="resumed")
    assert "another run has resumed payments--dev" in row["error"]
    assert (quota.hard()["limits.cpu"], quota.record().paused) == ("40", None)
    assert promises.of(quota.world.record())["payments--dev"].resources["cpu"] == "40"


def test_record_is_read_by_an_earlier_release(quota: Quota) -> None:
    """It counts the whole resources, which is safe."""
    quota.pause()
    namespace = quota.world.hub.get("v1/Namespace", "payments--dev")
    assert namespace
    written = json.loads(namespace["metadata"]["annotations"]["tenantry.dev/spec"])
    assert written["resources"]["cpu"] == "40"


def test_devices_count_if_the_quota_names_them(quota: Quota) -> None:
    """QUO-8: also those of a tenant, or a promise, of before the quota named them."""
    small = {**SHARED["resources"], "cpu": "3", "extended": {"nvidia.com/gpu": 3}}
    quota.run(big("dev", resources=small))
    hub = quota.world.hub
    assert quota.hard()["requests.nvidia.com/gpu"] == "3"
    hub.apply(tenant_objects("payments", {**QUOTA, "nvidia.com/gpu": "4"}, "payments")[1])
    promises.begin(hub, "payments")
    former = promises.Promise.of("hub", {key: SHARED["resources"][key] or "5Gi" for key in RESOURCES} | {"cpu": "3"})
    promises.update(hub, quota.world.record(), lambda _before: {"payments--dev": former})
    quota.world.warnings.clear()
    other = big("other", resources={**small, "extended": {"nvidia.com/gpu": 2}})
    (row,) = quota.run(other, problem="too many")
    assert "nvidia.com/gpu 2 asked for, but 1 left (3 of 4 used by other virtual clusters)" in row["error"]
    assert promises.of(quota.world.record())["payments--dev"].counted["nvidia.com/gpu"] == "3"
    assert quota.world.warnings == []
    quota.run(big("dev", state="paused", resources=small))
    assert quota.hard()["requests.nvidia.com/gpu"] == "0"
    quota.run(other)
    (row,) = quota.run(big("dev", state="resumed"), problem="too many")
    assert "has no room to resume: quota of tenant payments: nvidia.com/gpu 3 asked for, but 2 left" in row["error"]


def test_node_port_of_the_api_counts_in_each_mode(world: World) -> None:
    """QUO-8."""
    world.hub.apply(tenant_objects("payments", {**QUOTA, "node_ports": "1"}, "payments")[1])
    promises.begin(world.hub, "payments")
    (row,) = world.run(item())
    assert "error" not in row
    (row,) = world.run(big("other"))
    assert "node_ports 1 asked for, but 0 left (1 of 1 used by other virtual clusters)" in row["error"]
    world.hub.apply(tenant_objects("payments", {**QUOTA, "node_ports": "0"}, "payments")[1])
    (row,) = world.run(item(deletion_protection=True))
    assert "error" not in row, "what does not grow goes on"
