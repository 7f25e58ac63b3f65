"""The reconciler: its objects at a real API server, and the program with the rights of its own account there.

On an API server without nodes, so the program runs here instead of in its pod, and no virtual cluster gets ready. Its
pod is in test_reconciler_site.py.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform.reconciler import MODULE

from .harness import ansible_environment, ansible_playbook, call_module, kubectl, ran, until

HOME = "tenant-payments"
PATIENCE = 180  # seconds, beside all other tests on two processors
SYSTEM = "tenantry-system"
VARIABLES = {"tenantry_vcluster_defaults": {"version": "v1.37.2+k3s1"}}
INVENTORY = json.dumps({"fleet_hub": {"hosts": {"hub": {"ansible_connection": "local"}}, "vars": VARIABLES}})
OPTIONS = {"image": "registry.example.com/ee:1", "inventory": INVENTORY, "wait": False}
TENANT: dict[str, Any] = {"tenant": "payments"}


@pytest.fixture(scope="module")
def hub(platform: Path) -> Iterator[Path]:
    """A hub with the reconciler, and the tenant payments, whose admin is alice. Oscar is a platform operator."""
    alice = {**TENANT, "name": "alice", "role": "admin", "hub_access": True}
    steps = [
        ("tenant_quota", TENANT),
        ("tenant_user", alice),
        ("tenant_user", {**TENANT, "name": "oscar", "role": "platform_operator"}),
        ("platform", {"reconciler": OPTIONS}),
    ]
    for module, options in steps:
        made = call_module(module, kubeconfig=platform, **options)
        assert not made.failed, made.msg
    # Until Kubernetes counts requests, which takes it half a minute, their quota denies them. It is tested elsewhere.
    ran(platform, "delete", "resourcequota", "tenant", "-n", HOME)
    yield platform
    ran(platform, "delete", "vcr,tur", "--all", "-n", HOME)
    # What killed runs have promised keeps the tenant for ten minutes.
    ran(platform, "annotate", "configmap", "tenant", "tenantry.dev/promises={}", "--overwrite", "-n", HOME)
    for module, options in (
        ("vcluster_self_service", {}),
        *(("tenant_user", {**TENANT, "name": name, "state": "absent"}) for name in ("alice", "oscar")),
        ("tenant_quota", {**TENANT, "state": "absent"}),
        ("platform", {}),
    ):
        removed = call_module(module, kubeconfig=platform, **options)
        assert not removed.failed, removed.msg


def client(hub: Path, namespace: str, account: str) -> tuple[Cluster, dict[str, Any]]:
    """A client with a token of that account, and its kubeconfig."""
    config = kubeconfig_files.load(str(hub))
    admin = Cluster.from_kubeconfig(config, name="hub")
    token = admin.token_request(namespace, account, seconds=3600, bound_secret=None)[0]
    config["users"][0]["user"] = {"token": token}
    return Cluster.from_kubeconfig(config, name="hub"), config


class Reconciler:
    """The program, as the Deployment starts it, with a kubeconfig in the place of the pod's credential."""

    def __init__(self, directory: Path, config: dict[str, Any], holder: str, playbooks: Sequence[str]) -> None:
        kubeconfig, inventory, self.log = (directory / name for name in ("kubeconfig.yaml", "inventory.yml", "log"))
        kubeconfig.write_text(yaml.safe_dump(config))
        inventory.write_text(INVENTORY)
        self._output = self.log.open("ab")
        command = [sys.executable, "-m", MODULE, f"--inventory={inventory}", f"--holder={holder}"]
        command.append(f"--metrics={directory / 'tenantry.prom'}")
        # So seldom that everything but the first run is for a request.
        schedule = [f"--run={playbook}=3600" for playbook in playbooks]
        environment = ansible_environment() | {"K8S_AUTH_KUBECONFIG": str(kubeconfig), "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            [*command, *schedule],
            stdout=self._output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )

    def text(self) -> str:
        return self.log.read_text()

    def health(self, path: str) -> tuple[int, str]:
        ports = re.findall(r"health endpoint on port (\d+)", self.text())
        if not ports:
            return 0, ""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports[-1]}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def until_ready(self) -> None:
        until(lambda: self.health("/readyz")[0] == 200, PATIENCE, explain=lambda: f": {self.text()}")

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=60)

    def kill(self) -> None:
        """At once and with all its children, as when a node loses power."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=30)


Start = Callable[..., Reconciler]


@pytest.fixture
def start(hub: Path, tmp_path: Path) -> Iterator[Start]:
    config = client(hub, SYSTEM, "tenantry-platform")[1]
    started: list[Reconciler] = []

    def begin(holder: str, *playbooks: str) -> Reconciler:
        directory = tmp_path / str(len(started))
        directory.mkdir()
        started.append(Reconciler(directory, config, holder, playbooks or ("self_service",)))
        return started[-1]

    yield begin
    for one in started:
        if one.process.poll() is None:
            one.kill()


def request(hub: Path, kind: str, name: str, **spec: Any) -> None:
    alice = client(hub, HOME, "alice")[0]
    metadata = {"name": name, "namespace": HOME}
    spec |= {"requestedBy": "alice"}
    alice.create({"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec})


def phase(hub: Path, kind: str, name: str) -> str:
    return kubectl(hub, "get", kind, name, "-n", HOME, "-o", "jsonpath={.status.phase}").stdout


def exists(hub: Path, kind: str, name: str, namespace: str) -> bool:
    return kubectl(hub, "get", kind, name, "-n", namespace).returncode == 0


def test_a_second_run_changes_nothing_and_false_removes_it(hub: Path) -> None:
    again = call_module("platform", kubeconfig=hub, reconciler=OPTIONS)
    assert not again.failed, again.msg
    assert again.data["actions"] == []
    binding = json.loads(ran(hub, "get", "rolebinding", "tenantry-platform", "-n", HOME, "-o", "json"))
    assert binding["roleRef"]["name"] == "tenantry:tenant-manager"
    removed = call_module("platform", kubeconfig=hub)
    assert not removed.failed, removed.msg
    installed = call_module("platform", kubeconfig=hub, reconciler=OPTIONS)
    gone, come = (
        {(one["kind"], one["name"], one.get("namespace")) for one in result.data["actions"]}
        for result in (removed, installed)
    )
    assert gone == come
    assert come >= {
        ("Deployment", "reconciler", SYSTEM),
        ("Secret", "reconciler", SYSTEM),
        ("ServiceAccount", "tenantry-platform", SYSTEM),
        ("RoleBinding", "tenantry-platform", HOME),
    }


def test_the_role_gives_its_variables_and_shows_no_secret(hub: Path, tmp_path: Path) -> None:
    """In check mode, because the role would wait for a pod that no node runs."""
    variables = {
        "platform_kubeconfig": str(hub),
        "platform_reconciler": True,
        "platform_reconciler_image": "registry.example.com/ee:2",
        "tenantry_vcluster_defaults": {"datastore": {"endpoint": "postgres://db:swordfish@db:5432/x"}},
        "ansible_become": False,
    }
    inventory = tmp_path / "inventory.yml"
    inventory.write_text(INVENTORY)
    arguments = ("--check", "--diff", "-vvv", "-e", json.dumps(variables))
    run = ansible_playbook("playbooks/platform.yml", *arguments, inventory=str(inventory))
    assert "changed=1" in run.stdout
    assert "ee:2" in run.stdout
    assert "Secret" in run.stdout
    assert "swordfish" not in run.stdout + run.stderr


def test_its_pod_is_restricted(hub: Path) -> None:
    template = json.loads(ran(hub, "get", "deployment", "reconciler", "-n", SYSTEM, "-o", "json"))["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {**template["metadata"], "name": "probe"}}
    ran(hub, "create", "--dry-run=server", "-n", SYSTEM, "-f", "-", stdin=json.dumps(pod))
    pod["spec"]["containers"][0]["securityContext"].pop("allowPrivilegeEscalation")
    refused = kubectl(hub, "create", "--dry-run=server", "-n", SYSTEM, "-f", "-", stdin=json.dumps(pod))
    assert 'violates PodSecurity "restricted' in refused.stderr


def test_its_account_is_confined(hub: Path) -> None:
    account = client(hub, SYSTEM, "tenantry-platform")[0]
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "more"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "tenantry:vcluster-manager",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "tenantry-platform", "namespace": SYSTEM}],
    }
    for namespace in ("kube-system", SYSTEM, "default"):
        binding["metadata"] = {"name": "more", "namespace": namespace}
        with pytest.raises(ApiError, match="may bind roles in the namespaces of virtual clusters and tenants only"):
            account.create(binding, dry_run=True)
    with pytest.raises(ApiError, match="may change the namespaces of virtual clusters only"):
        account.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "more"}}, dry_run=True)
    with pytest.raises(ApiError, match="forbidden"):
        account.list("v1/Secret")
    with pytest.raises(ApiError, match="forbidden"):
        account.list("v1/Secret", "kube-system")
    binding["metadata"] = {"name": "more", "namespace": HOME}
    with pytest.raises(ApiError, match="may bind tenantry:vcluster-manager in the namespaces of virtual clusters only"):
        account.create(binding, dry_run=True)
    binding["roleRef"]["name"] = "tenantry:tenant-manager"
    account.create(binding, dry_run=True)


def test_its_account_cannot_act_as_a_platform_operator(hub: Path) -> None:
    """Whose account is in the namespace of a tenant, where it manages accounts and Secrets."""
    account = client(hub, SYSTEM, "tenantry-platform")[0]
    with pytest.raises(ApiError, match="may not request tokens of accounts with 'manage'"):
        account.token_request(HOME, "oscar", seconds=3600, bound_secret=None)
    assert account.token_request(HOME, "alice", seconds=3600, bound_secret=None)[0]
    metadata = {"name": "more", "namespace": HOME, "annotations": {"kubernetes.io/service-account.name": "oscar"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
    with pytest.raises(ApiError, match="may not write Secrets that Kubernetes fills with a token"):
        account.create({**secret, "type": "kubernetes.io/service-account-token"}, dry_run=True)
    account.create({**secret, "type": "tenantry.dev/credential"}, dry_run=True)


def test_its_account_opens_no_namespace_for_privileged_pods(hub: Path) -> None:
    """They are root on a node. A namespace that is open already keeps its other fields up to date."""
    account = client(hub, SYSTEM, "tenantry-platform")[0]
    level, name, refused = (
        "pod-security.kubernetes.io/enforce",
        "payments--open",
        "may open no namespace for privileged",
    )

    def create(labels: dict[str, str]) -> None:
        metadata = {"name": name, "labels": labels}
        account.create({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}, dry_run=True)

    def change(**metadata: Any) -> None:
        account.merge("v1/Namespace", name, None, {"metadata": metadata})

    for labels in ({}, {level: "privileged"}):
        with pytest.raises(ApiError, match=refused):
            create(labels)
    create({level: "baseline"})
    ran(hub, "create", "namespace", name)
    try:
        ran(hub, "label", "namespace", name, f"{level}=privileged", "app.kubernetes.io/managed-by=tenantry.kube")
        change(annotations={"note": "changed"})
        change(labels={level: "restricted"})
        for opened in ("privileged", None):
            with pytest.raises(ApiError, match=refused):
                change(labels={level: opened})
    finally:
        ran(hub, "delete", "namespace", name)


def test_a_request_is_served_within_seconds_and_its_deletion_too(hub: Path, start: Start) -> None:
    reconciler = start("one", "self_service", "housekeeping")
    reconciler.until_ready()
    until(lambda: "housekeeping succeeded" in reconciler.text(), PATIENCE, explain=lambda: f": {reconciler.text()}")
    request(hub, "TenantUserRequest", "bob", role="developer")
    until(lambda: "(tenant payments) begins" in reconciler.text(), 30)
    until(lambda: phase(hub, "tur", "bob") == "Ready", PATIENCE, explain=lambda: f": {reconciler.text()}")
    until(lambda: "TenantUserRequest tenant-payments/bob is Ready" in reconciler.text())
    assert "self_service (tenant payments) begins: TenantUserRequest tenant-payments/bob appeared" in reconciler.text()
    ran(hub, "delete", "tur", "bob", "-n", HOME)
    until(lambda: not exists(hub, "serviceaccount", "bob", HOME), PATIENCE, explain=lambda: f": {reconciler.text()}")
    until(lambda: reconciler.text().count("(tenant payments) succeeded") == 2, PATIENCE, explain=reconciler.text)
    assert reconciler.health("/healthz") == (200, "ok\n")
    assert reconciler.stop() == 0
    assert "failed" not in reconciler.text()
    holder = kubectl(hub, "get", "lease", "reconciler", "-n", SYSTEM, "-o", "jsonpath={.spec.holderIdentity}")
    assert holder.stdout == ""


def test_killed_in_the_middle_it_finishes_after_its_restart(hub: Path, start: Start) -> None:
    """As its container is restarted: with the same name, so without waiting for the lease."""
    request(hub, "VirtualClusterRequest", "mine", resources={"cpu": 2, "memory": "2Gi", "pods": 10})
    first = start("pod")
    until(
        lambda: exists(hub, "rolebinding", "tenantry-platform", "payments--mine"),
        PATIENCE,
        explain=lambda: f": {first.text()}",
    )
    first.kill()
    second = start("pod")
    second.until_ready()
    until(
        lambda: exists(hub, "statefulset", "syncer", "payments--mine"), PATIENCE, explain=lambda: f": {second.text()}"
    )
    # The run for all tenants still waits for the virtual cluster, which never gets ready here.
    ran(hub, "delete", "vcr", "mine", "-n", HOME)
    until(lambda: not exists(hub, "namespace", "payments--mine", ""), PATIENCE, explain=lambda: f": {second.text()}")
    assert second.stop() == 0


def test_the_second_of_two_waits_for_the_first(hub: Path, start: Start) -> None:
    first = start("first")
    first.until_ready()
    second = start("second")
    waits = "waiting for the lease, which first holds"
    until(lambda: second.health("/readyz") == (503, f"{waits}\n"), PATIENCE, explain=lambda: f": {second.text()}")
    assert second.health("/healthz")[0] == 200
    assert first.stop() == 0
    second.until_ready()
    assert waits in second.text()
    assert second.stop() == 0


def test_report_runs_with_its_rights_and_is_in_its_metrics(start: Start) -> None:
    reconciler = start("one", "report")
    wanted = 'tenantry_reconciler_runs_total{playbook="report",result="succeeded"} 1\n'
    until(lambda: wanted in reconciler.health("/metrics")[1], PATIENCE, explain=lambda: f": {reconciler.text()}")
    text = reconciler.health("/metrics")[1]
    assert "tenantry_reconciler_leader 1\n" in text
    assert 'tenantry_tenant_cpu_quota_cores{tenant="payments"} ' in text
    assert 'tenantry_cluster_up{cluster="hub"} 1\n' in text
