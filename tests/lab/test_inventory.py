"""The inventory plugin as Ansible's own commands use it, on a hub with two virtual clusters and a silent member."""

from __future__ import annotations

import base64
import json
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION

from .harness import KUBECTL, PLATFORM_TOKEN, ROOT, ansible_environment, ran
from .people import User, labels_of, silent_member

DEV, STAGE = "payments--dev", "payments--stage"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def bob(user: User) -> None:
    """A user whose kubeconfig the hub keeps. The virtual clusters answer while it is issued."""
    secret = {"namespace": "tenant-payments", "name": "bob-ci"}
    made = user(kubeconfig_path=None, kubeconfigs=[{"name": "ci", "secret": secret}])
    assert not made.failed, made.msg


@pytest.fixture
def fleet(payments: Path, tmp_path: Path) -> Iterator[Path]:
    """The hub, with as much on it of both virtual clusters as hosts know: one is paused, one is not ready."""
    records: dict[str, dict[str, Any]] = {
        DEV: {"mode": "shared", "tier": "dev", "version": "v1.37.2+k3s1"},
        STAGE: {"mode": "dedicated", "tier": "prod", "version": evil_in(tmp_path)},
    }
    for namespace, record in records.items():
        note = json.dumps({"metadata": {"annotations": {SPEC_ANNOTATION: json.dumps({"format": 1, **record})}}})
        ran(payments, "patch", "namespace", namespace, "-p", note)
    stateful_sets = [_server(DEV, replicas=0), _server(STAGE, replicas=1)]
    ran(payments, "create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": stateful_sets}))
    yield payments
    for namespace in records:
        ran(payments, "delete", "statefulsets", "--all", "-n", namespace)
        ran(payments, "annotate", "namespace", namespace, f"{SPEC_ANNOTATION}-")


def _server(namespace: str, *, replicas: int) -> dict[str, Any]:
    labels = labels_of(*namespace.split("--"))
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "none"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "server", "namespace": namespace, "labels": labels},
        "spec": {
            "replicas": replicas,
            "serviceName": "server",
            "selector": {"matchLabels": labels},
            "template": template,
        },
    }


@pytest.fixture
def edge_silent(fleet: Path) -> Iterator[None]:
    with silent_member(fleet):
        yield


@pytest.fixture
def inventory(fleet: Path, tmp_path: Path) -> Path:
    """An inventory file that caches, as AWX or a nightly job would have it."""
    file = tmp_path / "hub.tenantry.yml"
    options = {
        "plugin": "tenantry.kube.vclusters",
        "kubeconfig": str(fleet),
        "live": False,
        "cache": True,
        "cache_plugin": "ansible.builtin.jsonfile",
        "cache_connection": str(tmp_path / "cache"),
    }
    file.write_text(yaml.safe_dump(options))
    return file


def change(inventory: Path, **options: Any) -> None:
    inventory.write_text(yaml.safe_dump(yaml.safe_load(inventory.read_text()) | options))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def command(program: str, *arguments: str | Path, fails: bool = False) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            cwd=ROOT,
            env=ansible_environment() | {"ANSIBLE_LOCAL_TEMP": str(tmp_path / "local")},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done

    return command


def evil_in(directory: Path) -> str:
    """A template that leaves a trace, as a tenant's API server could say it."""
    return f"{{{{ lookup('pipe', 'touch {directory / 'touched'}') }}}}"


def play(path: Path, hosts: str, *tasks: dict[str, Any]) -> Path:
    path.write_text(yaml.safe_dump([{"hosts": hosts, "gather_facts": False, "tasks": list(tasks)}]))
    return path


def credentials(hub: Path) -> list[str]:
    """All that lets somebody in: of the hub's administrator, of the member, and of the platform."""
    kept = json.loads(ran(hub, "get", "secret", "member-edge", "-n", "tenantry-system", "-o", "json"))
    users = [yaml.safe_load(hub.read_text()), json.loads(base64.b64decode(kept["data"]["kubeconfig"]))]
    found = [value for config in users for value in config["users"][0]["user"].values()]
    return [*found, PLATFORM_TOKEN, "eyJ"]


def test_inventory_lists_hosts_groups_and_no_credential(
    fleet: Path, edge_silent: None, inventory: Path, run: Run, tmp_path: Path
) -> None:
    listed = run("ansible-inventory", "-i", inventory, "--list")
    shown = json.loads(listed.stdout)
    variables = shown["_meta"]["hostvars"]
    assert set(variables) == {"hub.fleet", "edge.fleet", DEV, STAGE}
    groups = {name: sorted(group["hosts"]) for name, group in shown.items() if "hosts" in group}
    assert groups.pop("version_v1_37_2_k3s1") == [DEV]
    [template] = [name for name in groups if name.startswith("version_")]
    assert template.isidentifier()
    assert groups.pop(template) == [STAGE]
    assert groups == {
        "tenantry_vclusters": [DEV, STAGE],
        "tenantry_fleet": ["edge.fleet", "hub.fleet"],
        "tenant_payments": [DEV, STAGE],
        "cluster_hub": [DEV, STAGE],
        "mode_shared": [DEV],
        "mode_dedicated": [STAGE],
        "tier_dev": [DEV],
        "tier_prod": [STAGE],
        "status_paused": [DEV],
        "status_not_ready": [STAGE],
        "status_unreachable": ["edge.fleet"],
    }
    assert variables[DEV]["ansible_connection"] == "local"
    assert variables[STAGE]["vcluster"]["message"] == "no server is ready"
    assert variables[STAGE]["vcluster"]["version"] == {"__ansible_unsafe": evil_in(tmp_path)}
    assert "Virtual clusters are missing from the inventory: member 'edge'" in listed.stderr
    graph = run("ansible-inventory", "-i", inventory, "--graph")
    assert f"@tier_dev:\n  |  |--{DEV}" in graph.stdout
    [cached] = (tmp_path / "cache").iterdir()
    texts = [listed.stdout, listed.stderr, graph.stdout, cached.read_text()]
    assert [secret for secret in credentials(fleet) for text in texts if secret in text] == []
    assert DEV in cached.read_text()


def test_inventory_member_that_is_silent_can_be_an_error(edge_silent: None, inventory: Path, run: Run) -> None:
    change(inventory, unreachable_members="error")
    failed = run("ansible-inventory", "-i", inventory, "--list")
    assert "member 'edge'" in failed.stderr
    assert json.loads(failed.stdout)["_meta"]["hostvars"] == {}


def test_inventory_query_and_tenant_select(inventory: Path, run: Run) -> None:
    change(inventory, query="[?tier=='prod']", tenant="payments", fleet=False)
    shown = json.loads(run("ansible-inventory", "-i", inventory, "--list").stdout)
    assert set(shown["_meta"]["hostvars"]) == {STAGE}
    change(inventory, tenant="other", query=None)
    shown = json.loads(run("ansible-inventory", "-i", inventory, "--list").stdout)
    assert shown["_meta"]["hostvars"] == {}


def test_inventory_template_in_data_is_never_evaluated(inventory: Path, run: Run, tmp_path: Path) -> None:
    """Nor if the inventory was exported, which is how AWX keeps it."""
    tasks = [
        {"ansible.builtin.debug": {"msg": "{{ vcluster.version }}"}},
        {"ansible.builtin.command": {"argv": ["echo", "{{ vcluster.version }}"]}},
    ]
    playbook = play(tmp_path / "play.yml", STAGE, *tasks)
    exported = tmp_path / "exported"
    run("ansible-inventory", "-i", inventory, "--list", "--export", "--output", tmp_path / "exported.json")
    exported.write_text(f"#!/bin/sh\ncat {tmp_path / 'exported.json'}\n")
    exported.chmod(0o700)
    for source in (inventory, exported):
        shown = run("ansible-playbook", "-i", source, playbook, "-v").stdout
        assert shown.count("touch /") >= 2
    assert not (tmp_path / "touched").exists()


def test_inventory_task_reads_in_the_virtual_cluster(bob: None, inventory: Path, run: Run, tmp_path: Path) -> None:
    """As a user, by the file that the lookup writes: what modules of other collections take as kubeconfig."""
    found = "lookup('tenantry.kube.kubeconfig', inventory_hostname, user='bob', file=true, **tenantry_hub)"
    kubectl = [str(KUBECTL), "--kubeconfig", f"{{{{ {found} }}}}"]
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.command": {"argv": [*kubectl, "get", "namespace", "tenantry-system", "-o", "name"]}},
        {"ansible.builtin.stat": {"path": f"{{{{ {found} }}}}"}, "register": "file"},
        {"ansible.builtin.debug": {"msg": "mode={{ file.stat.mode }} python={{ ansible_python_interpreter }}"}},
    ]
    done = run("ansible-playbook", "-i", inventory, play(tmp_path / "play.yml", "tenantry_vclusters", *tasks), "-vvv")
    assert done.stdout.count("namespace/tenantry-system") >= 2
    assert "mode=0600" in done.stdout
    assert f"python={sys.executable}" in done.stdout
    assert "eyJ" not in done.stdout + done.stderr
    assert not list((tmp_path / "local").rglob("kubeconfig-*"))
    assert stat.S_IMODE((tmp_path / "local").stat().st_mode) == 0o700


def test_inventory_kubeconfig_of_each_host_is_looked_up(fleet: Path, inventory: Path, run: Run, tmp_path: Path) -> None:
    """The variable that every host has, on the hub itself."""
    kubectl = [str(KUBECTL), "--kubeconfig", "{{ cluster_kubeconfig }}"]
    task = {"ansible.builtin.command": {"argv": [*kubectl, "get", "namespaces", "-o", "name"]}}
    done = run("ansible-playbook", "-i", inventory, play(tmp_path / "play.yml", "hub.fleet", task), "-v")
    assert f"namespace/{DEV}" in done.stdout
    secret = yaml.safe_load(fleet.read_text())["users"][0]["user"]
    assert [value for value in secret.values() if value in done.stdout + done.stderr] == []
