"""A virtual cluster that sleeps, wakes up as it was, is restarted, and is kept from being deleted."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import housekeeping as vcluster_housekeeping

from .harness import MIRROR, ROOT, ModuleResult, call_module, kubectl, run_module

TENANT = "dormitory"
WAIT = "--timeout=120s"

SLEEPER = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: sleeper}
spec:
  selector: {matchLabels: {app: sleeper}}
  template:
    metadata: {labels: {app: sleeper}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: docker.io/lab/web:1
          args: [serve]
          resources: {requests: {cpu: 10m, memory: 16Mi}, limits: {cpu: 100m, memory: 32Mi}}
          securityContext:
            allowPrivilegeEscalation: false
            capabilities: {drop: [ALL]}
---
apiVersion: v1
kind: Service
metadata: {name: sleeper}
spec: {selector: {app: sleeper}, ports: [{port: 80, targetPort: 8080}]}
"""


@dataclass(frozen=True)
class Bed:
    """One virtual cluster, its options, and its administrator's kubeconfig."""

    hub: Path
    name: str
    options: dict[str, Any]

    def run(self, state: str = "present", **more: Any) -> ModuleResult:
        options = {**self.options, **more} if state == "present" else more
        return run_module("vcluster", kubeconfig=self.hub, tenant=TENANT, name=self.name, state=state, **options)

    def inside(self, *arguments: str, stdin: str | None = None) -> str:
        run = kubectl(self.options["kubeconfig_path"], *arguments, stdin=stdin)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def pods(self) -> dict[str, str]:
        """What runs in its namespace on the host: UIDs by name."""
        listed = kubectl(self.hub, "get", "pods", "-n", f"{TENANT}--{self.name}", "-o", "json")
        return {one["metadata"]["name"]: one["metadata"]["uid"] for one in json.loads(listed.stdout)["items"]}

    def info(self) -> dict[str, Any]:
        found = run_module("vcluster_info", kubeconfig=self.hub, tenant=TENANT, name=self.name)
        return found.data["vclusters"][0]


@pytest.fixture(scope="module")
def dormitory(hub: Path) -> Iterator[Path]:
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    made = run_module("tenant_quota", **tenant, quota={"vclusters": 3})
    assert not made.failed, made.msg
    yield hub
    removed = run_module("tenant_quota", **tenant, state="absent")
    assert not removed.failed, removed.msg


def _bed(hub: Path, name: str, directory: Path, shape: dict[str, Any]) -> Iterator[Bed]:
    """With a Deployment and its Service."""
    registries = {"mirrors": {"docker.io": {"endpoint": [MIRROR]}}}
    version = json.loads(kubectl(hub, "version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    path = directory / f"{name}.yaml"
    options = {"version": version, "registries": registries, "expose": {"type": "NodePort"}, "kubeconfig_path": path}
    bed = Bed(hub, name, options | shape)
    made = bed.run()
    assert not made.failed, made.msg
    bed.inside("apply", "-f", "-", stdin=SLEEPER)
    bed.inside("rollout", "status", "deployment/sleeper", WAIT)
    yield bed
    removed = bed.run("absent")
    assert not removed.failed, removed.msg


@pytest.fixture(scope="module")
def shared(dormitory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    shape = {"resources": {"cpu": 2, "memory": "2Gi", "pods": 10}}
    yield from _bed(dormitory, "shared", tmp_path_factory.mktemp("shared"), shape)


@pytest.fixture(scope="module")
def dedicated(dormitory: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    shape = {"mode": "dedicated", "agents": 1, "agent": {"cpu": "250m", "memory": "1Gi"}}
    yield from _bed(dormitory, "dedicated", tmp_path_factory.mktemp("dedicated"), shape)


@pytest.fixture(params=["shared", pytest.param("dedicated", marks=pytest.mark.nightly)])
def bed(request: pytest.FixtureRequest, dormitory: Path) -> Bed:
    """One of each mode. It names `dormitory`, so that pytest knows by it what the test needs."""
    return request.getfixturevalue(request.param)


def test_asleep_and_awake_again(bed: Bed) -> None:
    kubeconfig = bed.options["kubeconfig_path"].read_bytes()
    service = json.loads(bed.inside("get", "service", "sleeper", "-o", "json"))["spec"]["clusterIP"]
    endpoint = bed.info()["endpoint"]

    predicted = bed.run("paused", check=True)
    assert predicted.changed, predicted.msg
    assert bed.info()["status"] == "Ready"
    paused = bed.run("paused")
    assert not paused.failed, paused.msg
    assert paused.data["actions"] == predicted.data["actions"]
    assert bed.pods() == {}
    found = bed.info()
    assert (found["status"], found["endpoint"], found["message"]) == ("Paused", endpoint, None)
    again = bed.run("paused")
    assert (again.changed, again.data["actions"]) == (False, [])
    refused = bed.run("restarted")
    assert refused.failed
    assert "Resume it with state: resumed" in refused.msg

    predicted = bed.run(check=True)
    scaled = [one.get("paths") for one in predicted.data["actions"] if one["kind"] == "StatefulSet"]
    assert scaled == [["spec.replicas"]] * 2
    assert {one["kind"] for one in predicted.data["actions"]} == {"Namespace", "ResourceQuota", "StatefulSet"}
    assert bed.run("resumed", check=True).data["actions"] == predicted.data["actions"]
    assert bed.run("resumed").data["actions"] == predicted.data["actions"]
    resumed = bed.run()
    assert resumed.data["actions"] == []
    assert not resumed.failed, resumed.msg
    assert resumed.data["ready"]
    assert bed.options["kubeconfig_path"].read_bytes() == kubeconfig
    bed.inside("rollout", "status", "deployment/sleeper", WAIT)
    assert json.loads(bed.inside("get", "service", "sleeper", "-o", "json"))["spec"]["clusterIP"] == service
    assert bed.info()["endpoint"] == endpoint
    assert not bed.run().changed


def test_restarted_once_in_a_run_and_not_again_after_it(bed: Bed) -> None:
    before = bed.pods()
    predicted = bed.run("restarted", check=True)
    assert predicted.changed, predicted.msg
    assert bed.pods() == before
    done = bed.run("restarted")
    assert not done.failed, done.msg
    assert done.changed
    after = bed.pods()
    assert after.keys() == before.keys()
    ours = {name for name in before if name in ("server-0", "syncer-0", "agent-0")}
    assert {name for name in before if after[name] != before[name]} == ours, "the tenant's own pods go on"
    assert not bed.run().changed
    assert bed.pods() == after


@pytest.mark.nightly
def test_what_does_not_come_back_is_named_and_a_snapshot_can_be_taken_meanwhile(shared: Bed, tmp_path: Path) -> None:
    shared.inside("create", "-f", str(ROOT / "tests/lab/data/pod.yml"))
    shared.inside("wait", "--for=condition=Ready", "pod/probe", WAIT)
    lost = f"{TENANT}--shared: pods without a controller, which a resume does not recreate: default/probe"
    for check in (True, False):
        paused = shared.run("paused", check=check)
        assert not paused.failed, paused.msg
        assert lost in paused.text
    assert "without a controller" not in shared.run("paused").text
    asleep = {"kubeconfig": shared.hub, "tenant": TENANT, "name": shared.name}
    asleep |= {"directory": tmp_path, "passphrase": "four-words-from-a-vault"}
    taken = run_module("vcluster_snapshot", **asleep)
    assert not taken.failed, taken.msg
    assert shared.pods() == {}
    assert not shared.run().failed
    shared.inside("rollout", "status", "deployment/sleeper", WAIT)
    shared.inside("delete", "pod", "probe", "--ignore-not-found")
    shared.inside("delete", "deployment", "sleeper")

    # One that is asleep when it is restored is awake afterwards: what is restored is proven by its API.
    assert not shared.run("paused").failed
    restored = run_module("vcluster_snapshot", **asleep, state="restored")
    assert not restored.failed, restored.msg
    shared.inside("rollout", "status", "deployment/sleeper", WAIT)
    assert not shared.run().changed


def test_what_is_protected_stays(shared: Bed) -> None:
    assert shared.run(deletion_protection=True).changed
    for check in (True, False):
        refused = shared.run("absent", check=check)
        assert refused.failed
        assert "deletion_protection: false first" in refused.msg
    assert shared.info()["deletion_protection"]
    assert shared.pods()
    released = shared.run()
    assert [action["kind"] for action in released.data["actions"]] == ["Namespace"]


def housekeeping(bed: Bed, monkeypatch: pytest.MonkeyPatch, hours: float, check: bool = False) -> tuple[str, bool]:
    """What it does to this virtual cluster so many hours from now."""
    later = datetime.now(UTC) + timedelta(hours=hours)
    monkeypatch.setattr(vcluster_housekeeping, "clock", lambda: later)
    done = call_module("vcluster_housekeeping", kubeconfig=bed.hub, tenant=TENANT, check=check)
    assert not done.failed, done.msg
    row = next(row for row in done.data["results"] if row["name"] == bed.name)
    return row["action"], row["changed"]


def test_what_nobody_uses_sleeps(shared: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    assert shared.run(sleep={"idle": "2h"}).changed
    assert housekeeping(shared, monkeypatch, 0) == ("none", False)
    shared.inside("get", "pods")  # a person looks
    assert housekeeping(shared, monkeypatch, 3) == ("none", False)
    # Its pods, its controllers, its syncer, and the platform's own look are no use.
    assert shared.info()["status"] == "Ready"
    assert housekeeping(shared, monkeypatch, 4) == ("none", False)
    assert housekeeping(shared, monkeypatch, 6, check=True) == ("pause", True)
    assert shared.info()["status"] == "Ready"
    assert housekeeping(shared, monkeypatch, 6) == ("pause", True)
    assert shared.info()["status"] == "Paused"
    assert housekeeping(shared, monkeypatch, 7) == ("none", False)
    assert not shared.run().failed


def test_what_has_a_schedule_sleeps_and_wakes_up(shared: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = datetime.now(UTC) + timedelta(hours=26)  # after what other tests made of the clock
    day, hours = begin.strftime("%a").lower(), f"{begin:%H:%M}-{begin + timedelta(hours=1):%H:%M}"
    assert shared.run(sleep={"schedule": [f"{day} {hours}"]}).changed
    assert housekeeping(shared, monkeypatch, 24) == ("none", False)
    assert housekeeping(shared, monkeypatch, 26.5) == ("pause", True)
    assert shared.info()["status"] == "Paused"
    assert housekeeping(shared, monkeypatch, 27.5) == ("resume", True)
    assert shared.info()["status"] == "Ready"
    assert housekeeping(shared, monkeypatch, 28) == ("none", False)
    assert shared.run().changed  # the schedule goes, the notes of housekeeping stay
    assert not shared.run().changed


def test_what_has_run_for_two_months_restarts_before_its_certificates_end(
    shared: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, until = shared.pods(), shared.info()["certificates_valid_until"]
    days = (moment(until) - datetime.now(UTC)).total_seconds() / 86400
    assert 89 < days <= 90
    assert housekeeping(shared, monkeypatch, 59 * 24) == ("none", False)
    assert housekeeping(shared, monkeypatch, 61 * 24, check=True) == ("restart", True)
    assert shared.pods() == before
    assert housekeeping(shared, monkeypatch, 61 * 24) == ("restart", True)
    assert shared.pods()["server-0"] != before["server-0"]
    assert shared.info()["status"] == "Ready"
    assert shared.info()["certificates_valid_until"] > until
    assert not shared.run().changed


@pytest.mark.parametrize("state", ["paused", "resumed", "restarted"])
def test_what_does_not_exist_cannot_be_turned(dormitory: Path, state: str) -> None:
    nobody = Bed(dormitory, "nobody", {})
    refused = nobody.run(state)
    assert refused.failed
    assert f"{TENANT}--nobody does not exist and cannot be {state}" in refused.msg


def test_what_has_expired_goes(dormitory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version = json.loads(kubectl(dormitory, "version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    options = {"version": version, "mode": "dedicated", "kubeconfig_path": tmp_path / "brief.yaml", "ttl": "1h"}
    brief = Bed(dormitory, "brief", options)
    made = brief.run(deletion_protection=True, wait=False)
    assert not made.failed, made.msg
    assert brief.info()["expires"]
    assert housekeeping(brief, monkeypatch, 0.9) == ("none", False)
    assert housekeeping(brief, monkeypatch, 1.1) == ("none", False)
    assert brief.run(wait=False).changed
    assert housekeeping(brief, monkeypatch, 1.1, check=True) == ("delete", True)
    assert housekeeping(brief, monkeypatch, 1.1) == ("delete", True)
    assert run_module("vcluster_info", kubeconfig=dormitory, tenant=TENANT, name="brief").data["vclusters"] == []
