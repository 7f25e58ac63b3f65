"""Snapshots of a virtual cluster: taken under load, restored in place and elsewhere, refused where not whole."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import ca_rotation

from .harness import DEMO, ROOT, ModuleResult, ansible_playbook, everything, kubectl, ran, run_module, until
from .ledger import Ledger
from .test_vcluster import secret, version

TENANT = "archive"
POD = ROOT / "tests/lab/data/pod.yml"
PASSPHRASE = "four-words-from-a-vault"
RESOURCES = {"cpu": "2", "memory": "2Gi", "pods": 8}


@pytest.fixture(scope="module")
def archive(hub: Path) -> Iterator[Path]:
    """The hub, with a tenant for these tests, of which nothing is left."""
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    before = everything(hub)
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 4}).failed
    yield hub
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("loom", "copy", "woven", "moved")]
    removed = run_module("vcluster", kubeconfig=hub, vclusters=gone)
    assert not removed.failed, removed.msg
    assert not run_module("tenant_quota", **tenant, state="absent").failed
    assert everything(hub) - before == set()


@pytest.fixture(scope="module")
def loom(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of the administrator of a virtual cluster of mode shared."""
    kubeconfig = tmp_path_factory.mktemp("loom") / "loom.yaml"
    made = vcluster(archive, "loom", resources=RESOURCES, kubeconfig_path=kubeconfig)
    assert not made.failed, made.msg
    return kubeconfig


def vcluster(hub: Path, name: str, **options: Any) -> ModuleResult:
    options = {"version": version(hub), "expose": {"type": "NodePort"}, **options}
    return run_module("vcluster", kubeconfig=hub, tenant=TENANT, name=name, **options)


def snapshot(hub: Path, directory: Path, name: str = "loom", **options: Any) -> ModuleResult:
    options = {"passphrase": PASSPHRASE, **options}
    return run_module("vcluster_snapshot", kubeconfig=hub, tenant=TENANT, name=name, directory=directory, **options)


def pod_uid(hub: Path, namespace: str = f"{TENANT}--loom") -> str:
    found = kubectl(hub, "get", "pod", "server-0", "-n", namespace, "-o", "json")
    return json.loads(found.stdout)["metadata"]["uid"]


def on_host(hub: Path, tenant: str = TENANT) -> dict[str, str]:
    """The tenant's pods on the host, and since when their containers run, once all of them do."""
    syncers = ("-l", "app.kubernetes.io/managed-by=tenantry-syncer")

    def running() -> dict[str, str]:
        found = kubectl(hub, "get", "pods", "-n", f"{tenant}--loom", *syncers, "-o", "json")
        statuses = {
            pod["metadata"]["uid"]: pod["status"].get("containerStatuses", [{}])[0].get("state", {})
            for pod in json.loads(found.stdout)["items"]
        }
        return {
            uid: str(state) for uid, state in statuses.items() if all("running" in one for one in statuses.values())
        }

    return until(running)


def at(kubeconfig: Path, server: str, target: Path) -> Path:
    """The same credential and CA, for another address."""
    content = yaml.safe_load(kubeconfig.read_text())
    content["clusters"][0]["cluster"]["server"] = server
    target.touch(mode=0o600)
    target.write_text(yaml.safe_dump(content))
    return target


def test_taken_under_load_and_restored_in_place_and_elsewhere(archive: Path, loom: Path, tmp_path: Path) -> None:
    hub, directory, ledger = archive, tmp_path / "snapshots", Ledger(loom)
    assert kubectl(loom, "wait", "--for=create", "serviceaccount/default", "--timeout=30s").returncode == 0
    assert kubectl(loom, "create", "-f", str(POD)).returncode == 0
    assert kubectl(loom, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s").returncode == 0
    running = on_host(hub)
    with ledger.writing():
        ledger.wait_for(100)
        started = time.monotonic()
        taken = snapshot(hub, directory, diff=True)
        ended = time.monotonic()
        ledger.wait_for(50)
    assert not taken.failed, taken.msg
    assert taken.data["api_paused_seconds"] < 2
    assert not any(value in taken.text for value in (PASSPHRASE, *_secrets(hub)))

    predicted = snapshot(hub, directory, state="restored", check=True)
    assert predicted.changed, predicted.msg
    assert ledger.check() >= ledger.acknowledged(), "the check changed something"
    ran(hub, "create", "secret", "generic", ca_rotation.ROTATION, "-n", f"{TENANT}--loom")
    ran(hub, "annotate", "namespace", f"{TENANT}--loom", f"{ca_rotation.ROTATING}=true")
    restored = snapshot(hub, directory, state="restored", diff=True)
    assert not restored.failed, restored.msg
    assert kubectl(hub, "get", "secret", ca_rotation.ROTATION, "-n", f"{TENANT}--loom").returncode == 1
    assert ca_rotation.ROTATING not in ran(hub, "get", "namespace", f"{TENANT}--loom", "-o", "yaml")
    assert not any(value in restored.text for value in (PASSPHRASE, *_secrets(hub)))
    found = ledger.check(before=started)
    assert len(found) < len(ledger.acknowledged()), "what came after the snapshot is gone"
    assert not found & (ledger.acknowledged() - ledger.acknowledged(before=ended))
    assert restored.data["verified"]["ConfigMap"] > len(found)
    assert not vcluster(hub, "loom", resources=RESOURCES, kubeconfig_path=loom).changed
    assert kubectl(loom, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s").returncode == 0
    assert on_host(hub) == running, "the pods of the tenant went on running"

    # A drill: an API server without nodes, so that no workload runs a second time.
    copy = vcluster(hub, "copy", mode="dedicated")
    assert not copy.failed, copy.msg
    drilled = snapshot(hub, directory, "copy", state="restored", source={"tenant": TENANT, "name": "loom"})
    assert not drilled.failed, drilled.msg
    assert drilled.data["verified"]["ConfigMap"] > len(found)
    assert ledger.present(at(loom, copy.data["endpoint"], tmp_path / "copy.yaml")) == found
    network = kubectl(tmp_path / "copy.yaml", "get", "service", "kubernetes", "-o", "jsonpath={.spec.clusterIP}")
    assert network.stdout == "10.53.0.1", "the services of the copy are in its own network"
    # Who it belongs to is written inside too.
    labelled = vcluster(hub, "copy", mode="dedicated").data["actions"]
    assert [action["paths"] for action in labelled if action["kind"] != "Kubeconfig"]
    assert all(path.startswith("metadata.labels") for action in labelled for path in action["paths"])
    assert not vcluster(hub, "copy", mode="dedicated").changed


def _secrets(hub: Path) -> list[str]:
    namespace = f"{TENANT}--loom"
    found = secret(hub, namespace, "join-token") | secret(hub, namespace, "platform-credential")
    return [value for name, value in found.items() if name != "ca.crt"]


def test_kept_and_deleted_by_name(archive: Path, loom: Path, tmp_path: Path) -> None:
    assert snapshot(archive, tmp_path, snapshot="first", check=True).changed
    assert list(tmp_path.iterdir()) == []
    for name in ("first", "second", "third"):
        assert snapshot(archive, tmp_path, snapshot=name).changed
    assert not snapshot(archive, tmp_path, snapshot="first").changed
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o700}
    assert snapshot(archive, tmp_path, state="pruned", keep=2, check=True).changed
    pruned = snapshot(archive, tmp_path, state="pruned", keep=2)
    assert [action["name"] for action in pruned.data["actions"]] == ["first"]
    assert snapshot(archive, tmp_path, state="absent", snapshot="second").changed
    assert not snapshot(archive, tmp_path, state="absent", snapshot="second").changed
    listed = run_module("vcluster_snapshot_info", directory=tmp_path, tenant=TENANT)
    assert [one["snapshot"] for one in listed.data["snapshots"]] == ["third"]


def truncated(archive: Path, description: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:-1])


def corrupted(archive: Path, description: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 1
    archive.write_bytes(content)


def forged(archive: Path, description: Path) -> None:
    """Truncated by somebody who knows how to make a checksum."""
    archive.write_bytes(archive.read_bytes()[:-70000])
    content = archive.read_bytes()
    told = json.loads(description.read_text()) | {
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    description.write_text(json.dumps(told))


def foreign(archive: Path, description: Path) -> None:
    """The archive is of another virtual cluster than its description says."""
    told = json.loads(description.read_text()) | {"version": "v1.37.9+lab1"}
    description.write_text(json.dumps(told))


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (truncated, "truncated"),
        (corrupted, "corrupted"),
        (forged, "another snapshot"),
        (foreign, "another snapshot"),
        (None, "passphrase"),
    ],
    ids=["truncated", "corrupted", "forged", "foreign", "wrong passphrase"],
)
def test_what_is_not_whole_is_refused_before_anything_is_touched(
    archive: Path, loom: Path, tmp_path: Path, harm: Any, reason: str
) -> None:
    assert not snapshot(archive, tmp_path, snapshot="good").failed
    folder = tmp_path / f"{TENANT}--loom"
    if harm:
        harm(folder / "good.age", folder / "good.json")
    before = pod_uid(archive)
    other = {} if harm else {"passphrase": "five-other-words-instead"}
    refused = snapshot(archive, tmp_path, state="restored", **other)
    assert refused.failed
    assert reason in refused.msg
    assert "\n" not in refused.msg
    assert pod_uid(archive) == before
    assert kubectl(loom, "get", "namespaces").returncode == 0


def test_a_store_that_somebody_else_writes_to(archive: Path, loom: Path, tmp_path: Path) -> None:
    """The files of another virtual cluster in the place of these, and a store without the newest snapshot."""
    assert not vcluster(archive, "copy", mode="dedicated").failed
    both = [{"tenant": TENANT, "name": name, "snapshot": "first"} for name in ("loom", "copy")]
    taken = run_module(
        "vcluster_snapshot", kubeconfig=archive, directory=tmp_path, passphrase=PASSPHRASE, vclusters=both
    )
    assert not taken.failed, taken.msg
    assert not snapshot(archive, tmp_path, snapshot="second").failed
    before, folder = pod_uid(archive), tmp_path / f"{TENANT}--loom"

    kept = {file: file.read_bytes() for file in folder.glob("second.*")}
    for file in kept:
        file.unlink()
    refused = snapshot(archive, tmp_path, state="restored", check=True)
    assert "second was taken after it" in refused.msg
    assert snapshot(archive, tmp_path, state="restored", snapshot="first", check=True).changed, "asked for by its name"
    for file, content in kept.items():
        file.write_bytes(content)
    assert snapshot(archive, tmp_path, state="restored", check=True).changed

    for file in folder.glob("second.*"):
        file.write_bytes((tmp_path / f"{TENANT}--copy" / f"first{file.suffix}").read_bytes())
    assert f"it says {TENANT}--copy" in snapshot(archive, tmp_path, state="restored").msg
    told = json.loads((folder / "second.json").read_text()) | {"name": "loom", "snapshot": "second"}
    (folder / "second.json").write_text(json.dumps(told))
    assert "another snapshot" in snapshot(archive, tmp_path, state="restored", snapshot="second").msg
    assert "another snapshot" in snapshot(archive, tmp_path, snapshot="second").msg, (
        "nor is it taken for one that is there"
    )
    assert pod_uid(archive) == before


def test_a_killed_restore_is_finished_by_the_next(archive: Path, loom: Path, tmp_path: Path) -> None:
    assert kubectl(loom, "create", "configmap", "kept").returncode == 0
    assert not snapshot(archive, tmp_path).failed
    assert kubectl(loom, "delete", "configmap", "kept").returncode == 0
    with pytest.raises(subprocess.TimeoutExpired):
        snapshot(archive, tmp_path, state="restored", kill_after=6)
    finished = snapshot(archive, tmp_path, state="restored")
    assert not finished.failed, finished.msg
    assert kubectl(loom, "get", "configmap", "kept").returncode == 0
    assert not vcluster(archive, "loom", resources=RESOURCES, kubeconfig_path=loom).changed


@pytest.mark.nightly
def test_from_nodes_of_its_own_to_shared_on_a_member(archive: Path, edge: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "woven.yaml", tmp_path / "moved.yaml"
    nodes = {"mode": "dedicated", "agents": 1, "agent": {"cpu": "250m", "memory": "1Gi"}}
    woven = vcluster(archive, "woven", kubeconfig_path=first, **nodes)
    assert not woven.failed, woven.msg
    assert kubectl(first, "create", "configmap", "kept", "--from-literal=from=woven").returncode == 0
    assert not snapshot(archive, tmp_path / "snapshots", "woven").failed
    moved = vcluster(archive, "moved", host="edge", resources=RESOURCES, kubeconfig_path=second)
    assert not moved.failed, moved.msg
    source = {"tenant": TENANT, "name": "woven"}
    restored = snapshot(archive, tmp_path / "snapshots", "moved", state="restored", source=source)
    assert not restored.failed, restored.msg
    with_resolved_networks = vcluster(archive, "moved", host="edge", resources=RESOURCES, kubeconfig_path=second)
    assert not with_resolved_networks.failed, with_resolved_networks.msg
    assert kubectl(second, "get", "configmap", "kept", "-o", "jsonpath={.data.from}").stdout == "woven"
    assert kubectl(second, "wait", "--for=create", "serviceaccount/default", "--timeout=30s").returncode == 0
    assert kubectl(second, "create", "-f", str(POD)).returncode == 0
    assert kubectl(second, "wait", "--for=condition=Ready", "pod/probe", "--timeout=90s").returncode == 0
    assert kubectl(edge, "get", "pods", "-n", f"{TENANT}--moved").stdout.count("probe-default") == 1
    assert not vcluster(archive, "moved", host="edge", resources=RESOURCES, kubeconfig_path=second).changed
    # What comes next needs the room that these two hold.
    gone = [{"tenant": TENANT, "name": name, "state": "absent"} for name in ("woven", "moved")]
    assert not run_module("vcluster", kubeconfig=archive, vclusters=gone).failed


@pytest.mark.nightly
def test_playbooks_back_up_prove_and_restore(site: object, hub: Path, tmp_path: Path) -> None:
    vault = tmp_path / "vault.json"
    vault.touch(mode=0o600)
    vault.write_text(
        json.dumps({"tenantry_snapshot_passphrase": PASSPHRASE, "tenantry_snapshot_dir": str(tmp_path / "snapshots")})
    )
    one = ("-e", f"@{vault}", "-e", "tenantry_tenant=payments", "-e", "tenantry_vcluster=dev")
    for _time in range(2):
        taken = ansible_playbook("playbooks/backup.yml", *one, "-e", "tenantry_snapshot_keep=1")
    assert re.search(r"^  payments--dev: snapshot \w+ written, \d+ bytes \(\d+\.\d s\)$", taken.stdout, re.M), (
        "progress"
    )
    assert len(list((tmp_path / "snapshots" / "payments--dev").glob("*.age"))) == 1
    proved = ansible_playbook("playbooks/restore_drill.yml", *one)
    assert "can be restored" in proved.stdout
    assert "Namespace: " in proved.stdout
    assert "  payments--drill: server ready (" in proved.stdout
    assert kubectl(hub, "get", "namespace", "payments--drill").returncode != 0
    ansible_playbook("playbooks/restore.yml", *one, "--check")
    before = pod_uid(hub, "payments--dev")
    restored = ansible_playbook("playbooks/restore.yml", *one, "-e", "tenantry_confirm=dev")
    assert pod_uid(hub, "payments--dev") != before
    assert PASSPHRASE not in proved.stdout + restored.stdout
    bob = kubectl(DEMO / "users" / "bob.yaml", "--context", "payments--dev", "get", "pods")
    assert bob.returncode == 0, bob.stderr
