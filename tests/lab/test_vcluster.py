"""The life of a virtual cluster on a real host: made, used, changed, repaired, deleted without a trace."""

from __future__ import annotations

import base64
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from .harness import MIRROR, ROOT, ModuleResult, everything, kubectl, minor_of, minors_from, ran, run_module

TENANT = "atelier"
POD = ROOT / "tests/lab/data/pod.yml"


@pytest.fixture(scope="module")
def atelier(hub: Path) -> Iterator[Path]:
    """The hub, with a tenant for these tests."""
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    made = run_module("tenant_quota", **tenant, quota={"vclusters": 3})
    assert not made.failed, made.msg
    yield hub
    removed = run_module("tenant_quota", **tenant, state="absent")
    assert not removed.failed, removed.msg


def version(hub: Path) -> str:
    return json.loads(kubectl(hub, "version", "-o", "json").stdout)["serverVersion"]["gitVersion"]


def vcluster(hub: Path, name: str, **options: Any) -> ModuleResult:
    if options.get("state") != "absent":
        registries = {"mirrors": {"docker.io": {"endpoint": [MIRROR]}}}
        options = {"mode": "dedicated", "version": version(hub), "registries": registries, **options}
    return run_module("vcluster", kubeconfig=hub, tenant=TENANT, name=name, **options)


def secret(hub: Path, namespace: str, name: str) -> dict[str, str]:
    found = json.loads(kubectl(hub, "get", "secret", "-n", namespace, name, "-o", "json").stdout)
    return {key: base64.b64decode(value).decode() for key, value in found["data"].items()}


@pytest.fixture
def clean(atelier: Path) -> Iterator[Path]:
    """The hub; whatever the test makes on it must be gone with its virtual cluster `loom`."""
    before = everything(atelier)
    yield atelier
    removed = vcluster(atelier, "loom", state="absent")
    assert not removed.failed, removed.msg
    assert everything(atelier) - before == set()


def test_life(clean: Path, tmp_path: Path) -> None:
    hub, kubeconfig = clean, tmp_path / "private" / "loom.yaml"
    options = {"agents": 1, "expose": {"type": "NodePort"}, "kubeconfig_path": kubeconfig}

    predicted = vcluster(hub, "loom", check=True, diff=True, **options)
    assert predicted.changed, predicted.msg
    assert kubectl(hub, "get", "namespace", f"{TENANT}--loom").returncode != 0

    made = vcluster(hub, "loom", diff=True, **options)
    assert not made.failed, made.msg
    on_host = [action for action in made.data["actions"] if action.get("namespace") != "tenantry-system"]
    assert [a for a in predicted.data["actions"] if a in on_host] == predicted.data["actions"]
    assert (made.data["nodes"], made.data["ready"]) == ("1/1", True)

    tokens = [*secret(hub, f"{TENANT}--loom", "join-token").values()]
    tokens.append(secret(hub, f"{TENANT}--loom", "platform-credential")["token"])
    assert all(len(token) == 64 for token in tokens)
    assert not any(token in made.text for token in tokens)

    address = yaml.safe_load(kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    assert address == made.data["endpoint"]
    assert urlsplit(address).hostname not in ("localhost", "127.0.0.1")
    assert kubeconfig.stat().st_mode & 0o777 == 0o600
    assert kubectl(kubeconfig, "create", "-f", str(POD)).returncode == 0
    assert kubectl(kubeconfig, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s").returncode == 0

    again = vcluster(hub, "loom", diff=True, **options)
    assert not again.failed, again.msg
    assert (again.changed, again.data["actions"]) == (False, [])

    removed = vcluster(hub, "loom", state="absent", kubeconfig_path=kubeconfig)
    assert removed.changed
    assert not kubeconfig.exists()
    assert not vcluster(hub, "loom", state="absent").changed


def test_a_node_offers_what_its_pod_may_use_and_the_scheduler_keeps_to_it(clean: Path, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "loom.yaml"
    options = {"agents": 1, "agent": {"cpu": "500m", "memory": "1Gi"}, "kubeconfig_path": kubeconfig}
    made = vcluster(clean, "loom", **options, expose={"type": "NodePort"})
    assert not made.failed, made.msg
    node = json.loads(kubectl(kubeconfig, "get", "node", "agent-0", "-o", "json").stdout)
    assert node["status"]["capacity"]["cpu"] != "500m", "the machine is larger, or this shows nothing"
    assert node["status"]["allocatable"]["cpu"] == "400m"
    memory = int(node["status"]["allocatable"]["memory"].removesuffix("Ki")) / 1024
    assert 500 < memory < 1024 - 320 + 1  # the machine is counted in whole MiB
    pod = yaml.safe_load(POD.read_text())
    pod["spec"]["containers"][0]["resources"]["limits"] = {"memory": "900Mi"}
    assert kubectl(kubeconfig, "create", "-f", "-", stdin=json.dumps(pod)).returncode == 0
    waited = kubectl(kubeconfig, "wait", "--for=condition=PodScheduled=False", "pod/probe", "--timeout=30s")
    assert waited.returncode == 0, waited.stderr
    assert "Insufficient memory" in kubectl(kubeconfig, "get", "pod", "probe", "-o", "json").stdout


@pytest.mark.nightly
def test_nodes_come_and_go(clean: Path) -> None:
    hub = clean
    token = None
    for agents in (0, 2, 1):
        done = vcluster(hub, "loom", agents=agents, agent={"cpu": "250m", "memory": "1Gi"})
        assert not done.failed, done.msg
        assert done.data["nodes"] == f"{agents}/{agents}"
        kept, token = token, secret(hub, f"{TENANT}--loom", "join-token")
        assert kept in (None, token)
    info = run_module("vcluster_info", kubeconfig=hub, tenant=TENANT).data["vclusters"]
    assert [(row["name"], row["nodes"], row["status"]) for row in info] == [("loom", "1/1", "Ready")]


WEB = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway,
           labelSelector: {matchLabels: {app: web}}}
      containers: [{name: web, image: docker.io/lab/web:1, args: [serve]}]
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: web}
spec: {minAvailable: 2, selector: {matchLabels: {app: web}}}
"""


def test_an_agent_leaves_when_its_pods_have_moved(clean: Path, tmp_path: Path) -> None:
    hub, kubeconfig = clean, tmp_path / "loom.yaml"
    options = {"agent": {"cpu": "250m", "memory": "1Gi"}, "expose": {"type": "NodePort"}, "kubeconfig_path": kubeconfig}
    for agents in (1, 2):
        grown = vcluster(hub, "loom", agents=agents, **options)
        assert not grown.failed, grown.msg
    ran(kubeconfig, "wait", "--for=create", "serviceaccount/default", "--timeout=30s")
    ran(kubeconfig, "create", "-f", "-", stdin=WEB)

    def nodes() -> list[str]:
        ran(kubeconfig, "rollout", "status", "deployment/web", "--timeout=120s")
        words = ("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}")
        return sorted(ran(kubeconfig, *words).split())

    assert nodes() == ["agent-0", "agent-1"]
    predicted = vcluster(hub, "loom", agents=1, check=True, diff=True, **options)
    changes = [(action["action"], action["kind"], action["name"]) for action in predicted.data["actions"]]
    assert {("update", "StatefulSet", "agent"), ("drain", "Node", "agent-1"), ("delete", "Node", "agent-1")} <= {
        *changes
    }
    blocked = vcluster(hub, "loom", agents=1, wait_timeout=15, **options)
    assert blocked.failed
    assert re.search(
        r"pod default/web-\S+ on agent-1 may not be evicted: .* disruption budget web needs 2", blocked.msg
    )
    assert nodes() == ["agent-0", "agent-1"]

    back = vcluster(hub, "loom", agents=2, **options)
    assert not back.failed, back.msg
    assert {"action": "update", "kind": "Node", "name": "agent-1"} in back.data["actions"]
    assert "unschedulable" not in ran(kubeconfig, "get", "node", "agent-1", "-o", "json")

    ran(kubeconfig, "delete", "pdb", "web")
    shrunk = vcluster(hub, "loom", agents=1, **options)
    assert not shrunk.failed, shrunk.msg
    assert shrunk.data["actions"] == predicted.data["actions"]
    assert shrunk.data["nodes"] == "1/1"
    assert nodes() == ["agent-0", "agent-0"]
    assert not vcluster(hub, "loom", agents=1, **options).changed


@pytest.mark.nightly
def test_a_server_without_a_volume_comes_back_empty_but_whole(clean: Path) -> None:
    """Its new pod makes a new CA, which neither the platform nor an agent could know."""
    hub, namespace = clean, f"{TENANT}--loom"
    options = {"agents": 1, "agent": {"cpu": "250m", "memory": "1Gi"}, "persistence": {"type": "none"}}
    assert not vcluster(hub, "loom", **options).failed
    before = secret(hub, namespace, "platform-credential")
    assert kubectl(hub, "delete", "pod", "server-0", "-n", namespace).returncode == 0
    again = vcluster(hub, "loom", **options)
    assert not again.failed, again.msg
    assert again.data["nodes"] == "1/1"
    assert {"action": "delete", "kind": "Pod", "name": "agent-0", "namespace": namespace} in again.data["actions"]
    after = secret(hub, namespace, "platform-credential")
    assert (after["token"], after["ca.crt"] != before["ca.crt"]) == (before["token"], True)
    assert not vcluster(hub, "loom", **options).changed


def test_the_syncer_follows_a_server_that_has_become_another_cluster(clean: Path, tmp_path: Path) -> None:
    """In mode shared, without a volume. Pods run again once the syncer trusts the new CA."""
    hub, namespace, kubeconfig = clean, f"{TENANT}--loom", tmp_path / "loom.yaml"
    options = {"mode": "shared", "resources": {"cpu": 2, "memory": "2Gi", "pods": 10}, "persistence": {"type": "none"}}
    options |= {"expose": {"type": "NodePort"}, "kubeconfig_path": kubeconfig}
    assert not vcluster(hub, "loom", **options).failed
    before, syncer = secret(hub, namespace, "platform-credential")["ca.crt"], _restarts(hub, namespace)
    ran(hub, "-n", namespace, "delete", "pod", "server-0")
    again = vcluster(hub, "loom", **options)
    assert not again.failed, again.msg
    assert secret(hub, namespace, "platform-credential")["ca.crt"] != before
    ran(kubeconfig, "wait", "--for=create", "serviceaccount/default", "--timeout=90s")
    ran(kubeconfig, "create", "-f", str(POD))
    ran(kubeconfig, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s")
    assert _restarts(hub, namespace) == syncer, "the kubelet would wait longer from one time to the next"


def _restarts(hub: Path, namespace: str) -> tuple[str, int]:
    pod = json.loads(ran(hub, "-n", namespace, "get", "pod", "syncer-0", "-o", "json"))
    return pod["metadata"]["uid"], pod["status"]["containerStatuses"][0]["restartCount"]


@pytest.mark.parametrize("seconds", [1.0, *(pytest.param(one, marks=pytest.mark.nightly) for one in (0.7, 3.0))])
def test_a_killed_run_converges(clean: Path, seconds: float) -> None:
    hub, namespace = clean, f"{TENANT}--loom"
    options = {"agents": 1, "agent": {"cpu": "250m", "memory": "1Gi"}, "expose": {"type": "NodePort"}}
    with pytest.raises(subprocess.TimeoutExpired):
        vcluster(hub, "loom", kill_after=seconds, **options)
    made = kubectl(hub, "get", "secret", "join-token", "-n", namespace).returncode == 0
    token = secret(hub, namespace, "join-token") if made else None
    again = vcluster(hub, "loom", **options)
    assert not again.failed, again.msg
    assert again.data["nodes"] == "1/1"
    assert token in (None, secret(hub, namespace, "join-token"))
    assert not vcluster(hub, "loom", **options).changed


def test_drift_is_repaired_and_named(clean: Path) -> None:
    assert not vcluster(clean, "loom").failed
    assert kubectl(clean, "delete", "resourcequota", "vcluster", "-n", f"{TENANT}--loom").returncode == 0
    predicted = vcluster(clean, "loom", check=True)
    repaired = vcluster(clean, "loom", diff=True)
    expected = [{"action": "create", "kind": "ResourceQuota", "name": "vcluster", "namespace": f"{TENANT}--loom"}]
    assert predicted.data["actions"] == repaired.data["actions"] == expected
    assert "limits.memory" in repaired.data["diff"][0]["after"]


def test_a_foreign_namespace_is_not_taken(atelier: Path) -> None:
    assert kubectl(atelier, "create", "namespace", f"{TENANT}--taken").returncode == 0
    try:
        refused = vcluster(atelier, "taken")
        assert refused.failed
        assert f"{TENANT}--taken" in refused.msg
        assert "does not belong to the platform" in refused.msg
        assert not vcluster(atelier, "taken", state="absent").changed
        assert kubectl(atelier, "get", "namespace", f"{TENANT}--taken").returncode == 0
    finally:
        kubectl(atelier, "delete", "namespace", f"{TENANT}--taken")


def test_what_cannot_come_up_says_why_and_can_be_deleted(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TENANTRY_PROGRESS", str(tmp_path / "progress"))
    # Of a registry that refuses at once: of the lab's mirror, containerd goes on to one that never answers.
    stuck = vcluster(clean, "loom", image="127.0.0.1:1/lab/absent", wait_timeout=20)
    assert stuck.failed
    lines = (tmp_path / "progress").read_text().splitlines()
    why = [line for line in lines if "server-0 Pending: " in line and "lab/absent" in line]
    assert why, "while it waits: " + "; ".join(lines)
    assert len(why) == len(set(why))
    assert "server" in stuck.msg
    assert "lab/absent" in stuck.msg
    assert "\n" not in stuck.msg


def test_what_cannot_be_changed_is_refused(clean: Path) -> None:
    assert not vcluster(clean, "loom", wait=False).failed
    for change, named in (
        ({"cluster_cidr": "10.60.0.0/16"}, "cluster_cidr"),
        ({"persistence": {"size": "1Gi"}}, "persistence.size"),
        ({"persistence": {"type": "none"}}, "persistence"),
        ({"version": minors_from(version(clean), -1)}, "downgraded"),
        ({"version": minors_from(version(clean), 2)}, f"v1.{minor_of(version(clean)) + 1}"),
        ({"host": "edge"}, "cannot be moved"),
    ):
        refused = vcluster(clean, "loom", **change)
        assert refused.failed
        assert named in refused.msg
