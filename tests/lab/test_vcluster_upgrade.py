"""Another release of k3s: one minor at a time, nothing lost, and a way back.

From one label of the lab's build to another, and every night from the minor release before to the lab's own.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from .harness import ROOT, ModuleResult, ansible_playbook, kubectl, lab, minors_from, ran, run_module
from .tenantry_lab.config import OLDER_VERSION
from .test_vcluster import version
from .test_vcluster_snapshot import on_host

TENANT = "uplift"
POD = ROOT / "tests/lab/data/pod.yml"
RESOURCES = {"cpu": "2", "memory": "2Gi", "pods": 8}
CONTAINERD = "ctr --address /run/k3s/containerd/containerd.sock --namespace k8s.io images"


class Releases(NamedTuple):
    old: str
    new: str
    built: tuple[str, str]  # what the API servers of both call themselves


@pytest.fixture(scope="module", params=["labels", pytest.param("minors", marks=pytest.mark.nightly)])
def releases(hub: Path, request: pytest.FixtureRequest) -> Releases:
    now = version(hub)
    if request.param == "minors":
        lab("build", "--k3s", OLDER_VERSION)
        return Releases(OLDER_VERSION, now, (OLDER_VERSION, now))
    return Releases(now, next_label(hub), (now, now))


def next_label(hub: Path) -> str:
    """The minor release after the lab's own, as another label of the same image."""
    now = version(hub)
    following = minors_from(now, 1)
    image = "docker.io/rancher/k3s:{}"
    old, new = (image.format(one.replace("+", "-")) for one in (now, following))
    lab("ssh", "hub", f"{CONTAINERD} tag --force {old} {new}")
    return following


@pytest.fixture
def loom(hub: Path, releases: Releases, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of the administrator of a virtual cluster of the older release, with a pod in it."""
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
    kubeconfig = tmp_path / "loom.yaml"
    made = vcluster(hub, releases.old, kubeconfig)
    assert not made.failed, made.msg
    assert kubectl(kubeconfig, "wait", "--for=create", "serviceaccount/default", "--timeout=30s").returncode == 0
    assert kubectl(kubeconfig, "create", "-f", str(POD)).returncode == 0
    assert kubectl(kubeconfig, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s").returncode == 0
    available = ("--for=condition=Available", "deployment/coredns", "-n", "kube-system")
    assert kubectl(kubeconfig, "wait", *available, "--timeout=90s").returncode == 0
    yield kubeconfig
    assert not run_module("vcluster", **tenant, name="loom", state="absent").failed
    assert not run_module("tenant_quota", **tenant, state="absent").failed


def vcluster(hub: Path, release: str, kubeconfig: Path, **options: object) -> ModuleResult:
    options = {"resources": RESOURCES, "expose": {"type": "NodePort"}, "kubeconfig_path": kubeconfig, **options}
    return run_module("vcluster", kubeconfig=hub, tenant=TENANT, name="loom", version=release, **options)


def reverted(hub: Path) -> ModuleResult:
    return run_module("vcluster_snapshot", kubeconfig=hub, tenant=TENANT, name="loom", state="rolled_back")


@contextmanager
def asked(hub: Path, failures: list[str]) -> Iterator[None]:
    """Requests to the tenant's pod all the while, by the host; those without an answer are counted."""
    names = kubectl(hub, "get", "pods", "-n", f"{TENANT}--loom", "-o", "name").stdout.split()
    (pod,) = (name.removeprefix("pod/") for name in names if "probe-default" in name)
    end = threading.Event()

    def ask() -> None:
        while not end.wait(0.2):
            answer = kubectl(hub, "get", "--raw", f"/api/v1/namespaces/{TENANT}--loom/pods/{pod}:8080/proxy/")
            asked.count += 1
            if answer.returncode:
                failures.append(answer.stderr)

    thread = threading.Thread(target=ask)
    asked.count = 0
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def test_up_with_everything_kept_and_back(hub: Path, loom: Path, releases: Releases) -> None:
    old, new, built = releases
    before, failures = on_host(hub, TENANT), []
    assert version(loom) == built[0]
    assert kubectl(loom, "create", "configmap", "from-before").returncode == 0
    ran(loom, "create", "secret", "generic", "kept", "--from-literal=word=horse")
    predicted = vcluster(hub, new, loom, check=True)
    kept = {"action": "create", "kind": "Snapshot", "name": f"before-upgrade ({old})"}
    assert predicted.data["actions"][0] == kept
    with asked(hub, failures):
        upgraded = vcluster(hub, new, loom)
    assert not upgraded.failed, upgraded.msg
    assert upgraded.data["actions"] == predicted.data["actions"]
    assert version(loom) == built[1]
    assert ran(loom, "get", "secret", "kept", "-o", "jsonpath={.data.word}") == "aG9yc2U=", "encrypted by the older one"
    assert asked.count > 5
    assert failures == [], "the tenant's pods serve on"
    assert on_host(hub, TENANT) == before
    assert kubectl(loom, "get", "configmap", "from-before").returncode == 0
    assert not vcluster(hub, new, loom).changed

    assert kubectl(loom, "create", "configmap", "from-after").returncode == 0
    back = reverted(hub)
    assert not back.failed, back.msg
    assert back.data["version"] == old
    assert version(loom) == built[0]
    assert kubectl(loom, "get", "configmap", "from-before").returncode == 0
    assert kubectl(loom, "get", "configmap", "from-after").returncode != 0
    assert not vcluster(hub, old, loom).changed


@pytest.mark.nightly
def test_the_playbook(hub: Path, loom: Path, releases: Releases, tmp_path: Path) -> None:
    old, new, _built = releases
    inventory = tmp_path / "inventory.json"
    vcluster_ = {"name": "loom", "resources": RESOURCES, "expose": {"type": "NodePort"}}
    inventory.write_text(json.dumps({"tenantry_tenants": [{"name": TENANT, "vclusters": [vcluster_]}]}))
    words = ("-e", f"@{inventory}", "-e", f"tenantry_version={new}", "-e", f"tenantry_tenant={TENANT}")
    assert "changed=1" in ansible_playbook("playbooks/upgrade.yml", *words, "--check").stdout
    assert release(hub) == old
    assert "changed=1" in ansible_playbook("playbooks/upgrade.yml", *words).stdout
    assert release(hub) == new
    assert "changed=0" in ansible_playbook("playbooks/upgrade.yml", *words).stdout
    assert kubectl(loom, "get", "pod", "probe").returncode == 0


def release(hub: Path) -> str:
    """By the image's label: two of them may be one build."""
    path = "jsonpath={.spec.template.spec.containers[0].image}"
    found = kubectl(hub, "get", "statefulset", "server", "-n", f"{TENANT}--loom", "-o", path)
    return found.stdout.rpartition(":")[2].replace("-", "+", 1)


def test_one_that_fails_says_how_to_go_back(hub: Path, loom: Path, releases: Releases) -> None:
    old = releases.old
    absent = old.replace("+lab1", "+absent1").replace("+k3s", "+absent")
    failed = vcluster(hub, absent, loom, wait_timeout=20)
    assert failed.failed
    assert f"To return to {old}" in failed.msg
    assert "rolled_back" in failed.msg
    assert not reverted(hub).failed
    assert kubectl(loom, "get", "pod", "probe").returncode == 0
    assert not vcluster(hub, old, loom).changed


@pytest.mark.nightly
def test_one_that_fails_is_mended_by_a_release_that_is_there(hub: Path, loom: Path, releases: Releases) -> None:
    """The StatefulSet itself would wait for ever for the pod that cannot start. What is kept is from before both."""
    old, new, _built = releases
    assert kubectl(loom, "create", "configmap", "from-before").returncode == 0
    absent = old.replace("+lab1", "+absent1").replace("+k3s", "+absent")
    assert vcluster(hub, absent, loom, wait_timeout=20).failed
    predicted = vcluster(hub, new, loom, check=True)
    mended = vcluster(hub, new, loom, wait_timeout=90)
    assert not mended.failed, mended.msg
    assert mended.data["ready"]
    # Whether the kubeconfig is good cannot be foreseen while the API does not answer.
    assert mended.data["actions"] == [one for one in predicted.data["actions"] if one["kind"] != "Kubeconfig"]
    assert "Snapshot" not in {action["kind"] for action in mended.data["actions"]}
    assert not vcluster(hub, new, loom).changed
    back = reverted(hub)
    assert not back.failed, back.msg
    assert back.data["version"] == old
    assert kubectl(loom, "get", "configmap", "from-before").returncode == 0


@pytest.mark.nightly
@pytest.mark.parametrize("seconds", [1.5, 3.0])
def test_one_that_is_killed_goes_on(hub: Path, loom: Path, releases: Releases, seconds: float) -> None:
    new = releases.new
    with pytest.raises(subprocess.TimeoutExpired):
        vcluster(hub, new, loom, kill_after=seconds)
    again = vcluster(hub, new, loom)
    assert not again.failed, again.msg
    assert again.data["ready"]
    assert not vcluster(hub, new, loom).changed
