"""How the k3s of a virtual cluster is hardened, and what an administrator adds to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .harness import ModuleResult, kubectl, run_module

TENANT = "fortress"
NAMESPACE = f"{TENANT}--keep"
DATA = "/var/lib/rancher/k3s/server"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "mighty"},
    "spec": {"containers": [{"name": "mighty", "image": "x", "securityContext": {"privileged": True}}]},
}
GREETING = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "greeting", "namespace": "default"},
    "data": {"text": "hello"},
}


@dataclass(frozen=True)
class Keep:
    """A virtual cluster without agents: pods are admitted or refused, none runs."""

    hub: Path
    kubeconfig: Path
    version: str

    def run(self, **more: Any) -> ModuleResult:
        options = {"mode": "dedicated", "version": self.version, "expose": {"type": "NodePort"}, **more}
        return run_module(
            "vcluster", kubeconfig=self.hub, tenant=TENANT, name="keep", kubeconfig_path=self.kubeconfig, **options
        )

    def inside(self, *arguments: str, stdin: str | None = None) -> str:
        run = kubectl(self.kubeconfig, *arguments, stdin=stdin)
        assert run.returncode == 0, run.stderr
        return run.stdout

    def on_the_server(self, script: str) -> str:
        where = ("-n", NAMESPACE, "server-0", "-c", "k3s")
        run = kubectl(self.hub, "exec", *where, "--", "/bin/sh", "-c", script)
        assert run.returncode == 0, run.stderr
        return run.stdout


@pytest.fixture(scope="module")
def keep(hub: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keep]:
    tenant = {"kubeconfig": hub, "tenant": TENANT}
    assert not run_module("tenant_quota", **tenant, quota={"vclusters": 1}).failed
    version = json.loads(kubectl(hub, "version", "-o", "json").stdout)["serverVersion"]["gitVersion"]
    keep = Keep(hub, tmp_path_factory.mktemp("keep") / "keep.yaml", version)
    made = keep.run(manifests=[GREETING], k3s_config={"kube-apiserver-arg": ["audit-log-maxage=3"]})
    assert not made.failed, made.msg
    yield keep
    assert not run_module("vcluster", **tenant, name="keep", state="absent").failed
    assert not run_module("tenant_quota", **tenant, state="absent").failed


def test_what_is_given_arrives_and_a_second_run_changes_nothing(keep: Keep) -> None:
    keep.inside("wait", "--for=create", "configmap/greeting", "--timeout=60s")
    assert keep.inside("get", "configmap", "greeting", "-o", "jsonpath={.data.text}") == "hello"
    again = keep.run(manifests=[GREETING], k3s_config={"kube-apiserver-arg": ["audit-log-maxage=3"]})
    assert (again.failed, again.changed) == (False, False), again.msg


def test_another_list_arrives_with_a_restart(keep: Keep) -> None:
    options = {"k3s_config": {"kube-apiserver-arg": ["audit-log-maxage=3"]}}
    changed = keep.run(manifests=[{**GREETING, "data": {"text": "good day"}}], **options)
    assert not changed.failed, changed.msg
    words = ("wait", "--for=jsonpath={.data.text}=good day", "configmap/greeting", "--timeout=60s")
    assert "condition met" in keep.inside(*words)
    assert not keep.run(manifests=[GREETING], **options).failed


def test_a_key_of_the_platforms_is_refused_and_nothing_is_changed(keep: Keep) -> None:
    refused = keep.run(k3s_config={"tls-san": ["everything.example.com"]})
    assert refused.failed
    assert "k3s_config.tls-san: is set by the platform. Use the option expose" in refused.msg
    assert not keep.run(manifests=[GREETING], k3s_config={"kube-apiserver-arg": ["audit-log-maxage=3"]}).changed


def test_secrets_are_encrypted_where_they_lie(keep: Keep) -> None:
    keep.inside("create", "secret", "generic", "pass", "--from-literal=word=correct-horse")
    keep.inside("create", "configmap", "plain", "--from-literal=word=battery-staple")
    found = keep.on_the_server(
        f"for word in correct-horse battery-staple; do grep -rlaq $word {DATA}/db && echo $word; done; true"
    )
    assert found.split() == ["battery-staple"], "the config map is the positive control"


def test_the_audit_log_says_who_did_what_and_no_content(keep: Keep) -> None:
    keep.inside("create", "secret", "generic", "told", "--from-literal=word=tell-nobody")
    keep.inside("get", "secret", "told")
    log = keep.on_the_server(f"cat {DATA}/logs/audit.log")
    events = [json.loads(line) for line in log.splitlines()]
    about = [one for one in events if one.get("objectRef", {}).get("name") == "told"]
    assert {one["verb"] for one in about} == {"create", "get"}
    assert {one["level"] for one in about} == {"Metadata"}
    assert {one["user"]["username"] for one in about} == {"system:serviceaccount:tenantry-system:platform-admin"}
    assert "tell-nobody" not in log
    assert not [one for one in events if one.get("objectRef", {}).get("resource") == "leases"]


def test_pods_are_baseline_unless_their_namespace_says_otherwise(keep: Keep) -> None:
    account = ("wait", "--for=create", "serviceaccount/default", "--timeout=60s")  # without it every pod is refused
    keep.inside(*account)
    refused = kubectl(keep.kubeconfig, "create", "-f", "-", stdin=json.dumps(POD))
    assert refused.returncode != 0
    assert 'violates PodSecurity "baseline' in refused.stderr
    keep.inside("create", "namespace", "strong")
    keep.inside("label", "namespace", "strong", "pod-security.kubernetes.io/enforce=privileged")
    keep.inside("-n", "strong", *account)
    keep.inside("-n", "strong", "create", "-f", "-", stdin=json.dumps(POD))


def test_events_are_limited(keep: Keep) -> None:
    keep.inside("create", "-f", "-", stdin=json.dumps({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "once", "namespace": "default"},
        "involvedObject": {"namespace": "default", "kind": "Pod", "name": "x"}, "reason": "Test", "type": "Normal",
    }))  # fmt: skip
    assert 'name="EventRateLimit"' in keep.inside("get", "--raw", "/metrics")


def test_the_server_runs_where_it_is_placed_with_credentials_that_stay_secret(keep: Keep) -> None:
    toleration = {"key": "pool", "operator": "Exists", "effect": "NoSchedule"}
    server = {"node_selector": {"kubernetes.io/os": "linux"}, "tolerations": [toleration], "anti_affinity": "required"}
    pull = {"registry": "registry.example.com", "username": "puller", "password": "swordfish-and-chips"}
    done = keep.run(server=server, image_credentials=[pull], check=False, diff=True)
    assert not done.failed, done.msg
    assert pull["password"] not in done.text
    pod = json.loads(kubectl(keep.hub, "-n", NAMESPACE, "get", "pod", "server-0", "-o", "json").stdout)["spec"]
    assert pod["nodeSelector"] == server["node_selector"]
    assert toleration in pod["tolerations"]
    assert pod["affinity"]["podAntiAffinity"]
    assert pod["imagePullSecrets"] == [{"name": "image-pull"}]
    assert not keep.run(server=server, image_credentials=[pull]).changed
    assert keep.run(server=server).changed
    assert kubectl(keep.hub, "-n", NAMESPACE, "get", "secret", "image-pull").returncode != 0
