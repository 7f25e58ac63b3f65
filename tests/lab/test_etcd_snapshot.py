"""Snapshots of three servers on an etcd of their own: taken under load, restored in place and on a member."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import ModuleResult, ansible_playbook, lab, ran, run_module, until
from .ledger import Ledger
from .test_high_availability import ETCD
from .test_vcluster import version
from .test_vcluster_snapshot import PASSPHRASE, at, corrupted, forged
from .test_vcluster_upgrade import next_label

TENANT = "triad"
NAMESPACE = f"{TENANT}--loom"
RESOURCES = {"cpu": "5", "memory": "6Gi", "pods": 12}

pytestmark = pytest.mark.nightly


def vcluster(hub: Path, name: str = "loom", **options: Any) -> ModuleResult:
    options = {
        "version": version(hub),
        "servers": 3,
        "resources": RESOURCES,
        "expose": {"type": "NodePort"},
        **ETCD,
        **options,
    }
    return run_module("vcluster", kubeconfig=hub, tenant=TENANT, name=name, **options)


def made(hub: Path, name: str = "loom", **options: Any) -> ModuleResult:
    done = vcluster(hub, name, **options)
    assert not done.failed, done.msg
    return done


def snapshot(hub: Path, directory: Path | None, name: str = "loom", **options: Any) -> ModuleResult:
    options = {"passphrase": PASSPHRASE, **options}
    return run_module("vcluster_snapshot", kubeconfig=hub, tenant=TENANT, name=name, directory=directory, **options)


@pytest.fixture(scope="module")
def triad(hub: Path) -> Iterator[Path]:
    """The hub, with a tenant for these tests."""
    lab("build", "--etcd")
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    assert not run_module(
        "tenant_quota", **tenant, quota={"vclusters": 3, "cpu": 16, "memory": "32Gi", "storage": "64Gi"}
    ).failed
    yield hub
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("loom", "copy")]
    assert not run_module("vcluster", kubeconfig=hub, vclusters=gone).failed
    assert not run_module("tenant_quota", **tenant, state="absent").failed


@pytest.fixture(scope="module")
def loom(triad: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of its administrator."""
    kubeconfig = tmp_path_factory.mktemp("loom") / "loom.yaml"
    made(triad, kubeconfig_path=kubeconfig)
    return kubeconfig


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("snapshots")


def pods(hub: Path, *parts: str) -> set[str]:
    chosen = f"app.kubernetes.io/component in ({','.join(parts)})"
    return set(
        ran(hub, "get", "pods", "-n", NAMESPACE, "-l", chosen, "-o", "jsonpath={.items[*].metadata.uid}").split()
    )


def test_taken_under_load_and_restored_in_place_and_on_a_member(
    triad: Path, loom: Path, snapshots: Path, tmp_path: Path
) -> None:
    hub, ledger = triad, Ledger(loom)
    ran(loom, "create", "secret", "generic", "kept", "--from-literal=word=horse")
    with ledger.writing():
        ledger.wait_for(100)
        started = time.monotonic()
        taken = snapshot(hub, snapshots)
        ended = time.monotonic()
        ledger.wait_for(50)
    assert not taken.failed, taken.msg
    assert taken.data["api_paused_seconds"] == 0
    files = [path for path in snapshots.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}

    before = pods(hub, "server", "etcd")
    predicted = snapshot(hub, snapshots, state="restored", check=True)
    assert predicted.changed, predicted.msg
    assert pods(hub, "server", "etcd") == before
    restored = snapshot(hub, snapshots, state="restored")
    assert not restored.failed, restored.msg
    found = ledger.check(before=started)
    assert len(found) < len(ledger.acknowledged()), "what came after the snapshot is gone"
    assert not found & (ledger.acknowledged() - ledger.acknowledged(before=ended))
    assert restored.data["verified"]["ConfigMap"] > len(found)
    assert ran(loom, "get", "secret", "kept", "-o", "jsonpath={.data.word}") == "aG9yc2U="
    assert not made(hub, kubeconfig_path=loom).changed
    ran(loom, "create", "configmap", "after")

    copy = made(hub, "copy", host="edge")
    source = {"tenant": TENANT, "name": "loom"}
    moved = snapshot(hub, snapshots, "copy", state="restored", source=source)
    assert not moved.failed, moved.msg
    assert ledger.present(at(loom, copy.data["endpoint"], tmp_path / "copy.yaml")) == found
    made(hub, "copy", host="edge")
    assert not made(hub, "copy", host="edge").changed
    gone = run_module("vcluster", kubeconfig=hub, tenant=TENANT, name="copy", state="absent")
    assert not gone.failed, gone.msg


@pytest.mark.parametrize("harm", [corrupted, forged])
def test_what_is_not_whole_is_refused_before_anything_is_touched(
    triad: Path, loom: Path, tmp_path: Path, harm: Any
) -> None:
    assert not snapshot(triad, tmp_path, snapshot="good").failed
    harm(tmp_path / NAMESPACE / "good.age", tmp_path / NAMESPACE / "good.json")
    before = pods(triad, "server", "etcd")
    refused = snapshot(triad, tmp_path, state="restored")
    assert refused.failed
    assert "corrupted" in refused.msg
    assert pods(triad, "server", "etcd") == before


def test_sqlite_and_etcd_are_not_taken_for_one_another(triad: Path, loom: Path, snapshots: Path) -> None:
    small = made(triad, "copy", servers=1, server={"cpu": "300m"}, resources={"cpu": 2, "memory": "2Gi", "pods": 4})
    assert small.data["ready"]
    source = {"tenant": TENANT, "name": "loom"}
    refused = snapshot(triad, snapshots, "copy", state="restored", source=source)
    assert refused.failed
    assert "datastore: the snapshot is of etcd and this virtual cluster has sqlite" in refused.msg
    gone = run_module("vcluster", kubeconfig=triad, tenant=TENANT, name="copy", state="absent")
    assert not gone.failed, gone.msg


def test_one_that_is_paused_can_be_backed_up_and_stays_paused(triad: Path, loom: Path, snapshots: Path) -> None:
    assert not vcluster(triad, state="paused").failed
    taken = snapshot(triad, snapshots, snapshot="asleep")
    assert not taken.failed, taken.msg
    until(lambda: not pods(triad, "server", "etcd"))
    made(triad, kubeconfig_path=loom)
    ran(loom, "get", "secret", "kept")


@pytest.mark.parametrize("seconds", [4, 9, 14])
def test_a_killed_restore_is_finished_by_the_next(triad: Path, loom: Path, tmp_path: Path, seconds: float) -> None:
    ran(loom, "create", "configmap", "kept")
    assert not snapshot(triad, tmp_path).failed
    ran(loom, "delete", "configmap", "kept")
    with pytest.raises(subprocess.TimeoutExpired):
        snapshot(triad, tmp_path, state="restored", kill_after=seconds)
    finished = snapshot(triad, tmp_path, state="restored")
    assert not finished.failed, finished.msg
    ran(loom, "delete", "configmap", "kept")
    assert not made(triad, kubeconfig_path=loom).changed


def test_another_release_and_back(triad: Path, loom: Path) -> None:
    following, now = next_label(triad), version(triad)
    ran(loom, "create", "configmap", "from-before")
    upgraded = made(triad, version=following)
    assert upgraded.data["actions"][0]["name"] == f"before-upgrade ({now})"
    ran(loom, "create", "configmap", "from-after")
    back = snapshot(triad, None, state="rolled_back")
    assert not back.failed, back.msg
    assert back.data["version"] == now
    names = ran(loom, "get", "configmaps", "-o", "name").split()
    assert "configmap/from-before" in names
    assert "configmap/from-after" not in names
    assert not made(triad, kubeconfig_path=loom).changed


def test_playbooks_back_it_up_and_prove_it(triad: Path, loom: Path, tmp_path: Path) -> None:
    vault = tmp_path / "vault.json"
    vault.touch(mode=0o600)
    defaults = {"etcd": ETCD["etcd"], "server": ETCD["server"]}
    vault.write_text(
        json.dumps(
            {
                "tenantry_snapshot_passphrase": PASSPHRASE,
                "tenantry_snapshot_dir": str(tmp_path / "snapshots"),
                "tenantry_vcluster_defaults": defaults,
            }
        )
    )
    one = ("-e", f"@{vault}", "-e", f"tenantry_tenant={TENANT}", "-e", "tenantry_vcluster=loom")
    assert "is written" in ansible_playbook("playbooks/backup.yml", *one).stdout
    # For another of three servers there is no room beside it.
    assert not vcluster(triad, state="paused").failed
    proved = ansible_playbook("playbooks/restore_drill.yml", *one)
    assert "can be restored" in proved.stdout
