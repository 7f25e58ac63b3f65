"""FLEET-2: a member that does not answer stops only what is on it, by what the hub has on record."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.promises import ANNOTATION

from .cable import Cable, cabled
from .harness import ModuleResult, call_module, kubectl, ran, run_module, until, writes

TENANT = "promised"
QUOTA = {"cpu": "4", "memory": "8Gi", "storage": "40Gi", "pods": 20, "vclusters": 4}


@dataclass(frozen=True)
class Pair:
    hub: Path
    member: Path
    cable: Cable

    def call(self, module: str, **options: Any) -> ModuleResult:
        return call_module(module, kubeconfig=self.hub, **options)

    def vcluster(self, name: str, cpu: str | int = 1, *, alone: bool = False, **options: Any) -> ModuleResult:
        """With `alone`, in a process of its own, so that the warnings are those of this run."""
        shape = {"tenant": TENANT, "name": name, "mode": "dedicated", "version": "v1.37.2+k3s1", "agents": 0}
        shape |= {"resources": {"cpu": str(cpu), "memory": "1Gi", "storage": "5Gi", "pods": 4}, "wait": False}
        return (run_module if alone else call_module)("vcluster", kubeconfig=self.hub, **{**shape, **options})

    def promises(self) -> dict[str, Any]:
        record = json.loads(ran(self.hub, "get", "configmap", "tenant", "-n", f"tenant-{TENANT}", "-o", "json"))
        return json.loads(record["metadata"]["annotations"].get(ANNOTATION, "{}"))

    def annotate(self, *words: str) -> None:
        ran(self.hub, "annotate", "configmap", "tenant", "-n", f"tenant-{TENANT}", "--overwrite", *words)

    def usage(self) -> dict[str, Any]:
        (found,) = self.call("tenant_usage_info", tenant=TENANT).data["tenants"]
        return dict(found)


@pytest.fixture(scope="module")
def fleet(platform: Path, second_api_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """A hub, and the member edge behind a cable; the tenant has `near` on the hub and `far` on the member."""
    with cabled(second_api_server, tmp_path_factory.mktemp("cable")) as (made, through):
        pair = Pair(platform, second_api_server, made)
        assert not pair.call("fleet_member", name="edge", member_kubeconfig=through).failed
        assert not pair.call("tenant_quota", tenant=TENANT, quota=QUOTA).failed
        for name, host in (("near", None), ("far", "edge")):
            created = pair.vcluster(name, host=host)
            assert not created.failed, created.msg
        yield pair
        gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("near", "far")]
        removed = pair.call("vcluster", vclusters=gone)
        assert not removed.failed, removed.msg
        assert pair.promises() == {}
        assert not pair.call("tenant_quota", tenant=TENANT, state="absent").failed
        removed = pair.call("fleet_member", name="edge", member_kubeconfig=through, state="absent")
        assert not removed.failed, removed.msg


@pytest.fixture
def pair(fleet: Pair) -> Iterator[Pair]:
    """With the member back in the end."""
    yield fleet
    fleet.cable.mend()


def test_promises_follow_what_is_applied(pair: Pair) -> None:
    assert {name: (one["host"], one["resources"]["cpu"]) for name, one in pair.promises().items()} == {
        f"{TENANT}--near": ("hub", "1"),
        f"{TENANT}--far": ("edge", "1"),
    }
    assert not any(one.get("pending") for one in pair.promises().values())
    for cpu in (2, 1):
        assert not pair.vcluster("far", cpu).failed
        assert pair.promises()[f"{TENANT}--far"]["resources"]["cpu"] == str(cpu)
    until(lambda: not pair.vcluster("far").failed and "in_use" not in pair.promises()[f"{TENANT}--far"])
    written = len(writes(pair.hub))
    again = pair.vcluster("far", alone=True)
    assert (again.changed, "warnings" in again.data, writes(pair.hub)[written:]) == (False, False, [])


def test_virtual_clusters_on_a_silent_member_stay_visible(pair: Pair) -> None:
    pair.cable.cut()
    rows = {row["name"]: row for row in pair.call("vcluster_info", tenant=TENANT).data["vclusters"]}
    far = rows["far"]
    assert (far["host"], far["status"], far["resources"]["cpu"]) == ("edge", "Unknown", {"used": None, "hard": "1"})
    assert "edge" in far["message"]
    assert far.keys() >= rows["near"].keys() - {"nodes", "endpoint"}
    assert pair.call("vcluster_info", host="hub", tenant=TENANT).data["vclusters"] == [rows["near"]]
    found = pair.usage()
    assert (found["allocated"]["cpu"], found["available"]["cpu"], found["allocated"]["vclusters"]) == ("2", "2", "2")
    assert [(one["name"], one["status"]) for one in found["vclusters"]] == [("far", "Unknown"), ("near", None)]
    lowered = pair.call("tenant_quota", tenant=TENANT, quota={**QUOTA, "cpu": "1"})
    assert "below the current use (cpu 2 of 1)" in lowered.text
    assert not pair.call("tenant_quota", tenant=TENANT, quota=QUOTA).failed


def test_a_new_tenant_needs_no_silent_member(pair: Pair) -> None:
    pair.cable.cut()
    assert not pair.call("tenant_quota", tenant="late", quota=QUOTA).failed
    checked = pair.vcluster("dev", tenant="late", check=True)
    assert not checked.failed, checked.msg
    assert not pair.call("tenant_quota", tenant="late", state="absent").failed


def test_lost_promises_are_rebuilt_from_the_hosts(pair: Pair) -> None:
    before = {name: (one["host"], one["resources"]) for name, one in pair.promises().items()}
    for words in ((f"{ANNOTATION}-",), (f"{ANNOTATION}=nonsense",)):
        pair.annotate(*words)
        pair.cable.cut()
        refused = pair.vcluster("new")
        assert "may be on a member that does not answer" in refused.msg
        refused = pair.vcluster("new", host="hub")
        assert "its record does not have all virtual clusters yet" in refused.msg
        pair.cable.mend()
        assert not pair.vcluster("near").changed
        assert {name: (one["host"], one["resources"]) for name, one in pair.promises().items()} == before


def test_silent_member_stops_only_what_is_on_it(pair: Pair) -> None:
    pair.cable.cut()
    assert "cpu 4 asked for, but 3 left (1 of 4 used by other virtual clusters)" in pair.vcluster("near", 4).msg
    for grown in (pair.vcluster("near", 2), pair.vcluster("new")):
        assert not grown.failed, grown.msg
    assert "cpu 1 asked for, but 0 left (4 of 4 used by other virtual clusters)" in pair.vcluster("more").msg
    for options in ({"cpu": 2}, {"state": "absent"}, {"state": "paused"}, {"host": "hub"}):
        refused = pair.vcluster("far", **options)
        assert f"host: {TENANT}--far is on edge, which does not answer" in refused.msg
    both = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("far", "new")]
    rows = {row["name"]: row for row in pair.call("vcluster", vclusters=both).data["results"]}
    assert ("error" in rows["far"], rows["new"].get("error"), rows["new"]["changed"]) == (True, None, True)
    assert sorted(pair.promises()) == [f"{TENANT}--far", f"{TENANT}--near"]
    pair.cable.mend()
    back = pair.vcluster("far", alone=True)
    assert (back.failed, back.changed, "warnings" in back.data) == (False, False, False)


def test_differences_are_warned_of_and_end(pair: Pair) -> None:
    ran(pair.member, "delete", "namespace", f"{TENANT}--far", "--wait=false")
    until(lambda: kubectl(pair.member, "get", "namespace", f"{TENANT}--far").returncode != 0)
    for check in (True, False):
        run = pair.vcluster("near", check=check)
        assert not run.failed
        assert f"{TENANT}--far: promised cpu 1" in run.text
        assert "on edge, but it does not exist there. The promise is removed" in run.text
    assert "warnings" not in pair.vcluster("near", alone=True).data
