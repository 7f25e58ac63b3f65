"""The module tenant_user: a hub, and two API servers in the place of the insides of two virtual clusters.

How the platform gets into a virtual cluster is left out: it takes pods, hence a node (see test_site.py).
"""

from __future__ import annotations

import json
import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._users import access

from .harness import call_module, everything, kubectl, ran
from .people import User, all_writes, await_policy, can, contexts, is_known, is_refused, tokens


def test_predict_make_repeat_remove(payments: Path, dev: Path, stage: Path, user: User, tmp_path: Path) -> None:
    path = tmp_path / "users" / "bob.yaml"
    user()  # the foundation, which stays in a virtual cluster when a user leaves
    user(state="absent")
    before, written = {c: everything(c) for c in (payments, dev, stage)}, all_writes(payments, dev, stage)
    predicted = user(check=True, diff=True)
    assert predicted.changed
    assert all_writes(payments, dev, stage) == written
    assert not path.exists()

    made = user(diff=True)
    assert made.data["actions"] == predicted.data["actions"]
    assert [(row["vcluster"], row["role"]) for row in made.data["vclusters"]] == [
        ("dev", "developer"),
        ("stage", "developer"),
    ]
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    assert contexts(path) == ["payments--dev", "payments--stage"]
    for context in contexts(path):
        assert can(path, context, "create", "pods")
        assert can(path, context, "get", "secrets")
        assert not can(path, context, "create", "rolebindings")

    written, content = all_writes(payments, dev, stage), path.read_bytes()
    again = user(diff=True)
    assert (again.failed, again.changed, again.data["actions"], again.data["diff"]) == (False, False, [], [])
    assert all_writes(payments, dev, stage) == written
    assert path.read_bytes() == content

    for result in (predicted, made, again):
        assert not [token for token in tokens(path).values() if token in result.text]

    kept = tmp_path / "kept.yaml"
    kept.write_bytes(content)
    removed = user(state="absent")
    assert removed.changed
    assert not path.exists()
    for cluster, objects in before.items():
        assert everything(cluster) ^ objects == set()
    assert is_refused(kept, "payments--dev")
    assert not user(state="absent").changed


def test_each_role_may_what_it_may(user: User, tmp_path: Path) -> None:
    path = tmp_path / "users" / "bob.yaml"
    questions = {
        ("get", "pods"): "viewer developer admin platform_operator",
        ("get", "pods", "--subresource=log"): "viewer developer admin",
        ("get", "secrets"): "developer admin",
        ("create", "pods"): "developer admin",
        ("create", "pods", "--subresource=exec"): "developer admin",
        ("create", "clusterroles"): "admin",
        ("escalate", "clusterroles"): "admin",
        ("impersonate", "users"): "admin",
        ("get", "nodes", "--subresource=proxy"): "admin",
    }
    for role in ("viewer", "developer", "admin", "platform_operator"):
        assert not user(role=role).failed  # on the same kubeconfig: a change of role needs no new one
        for question, roles in questions.items():
            assert can(path, "payments--dev", *question) == (role in roles.split()), (role, question)


def test_only_an_administrator_changes_the_system_namespaces(user: User, tmp_path: Path) -> None:
    """There live the identities of all users: a pod or a token Secret beside them would be one of them."""
    path = tmp_path / "users" / "bob.yaml"
    bob = (path, "--context", "payments--dev")
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "stolen", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "thief"}}
    harmless = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    harmless["seccompProfile"] = {"type": "RuntimeDefault"}  # what Pod Security would refuse proves nothing here
    pod["spec"] = {"containers": [{"name": "thief", "image": "thief", "securityContext": harmless}]}
    attempts = [("create", "-n", namespace, "-f", "-") for namespace in ("tenantry-system", "kube-system")]
    user()
    await_policy(lambda: kubectl(*bob, *attempts[0], "--dry-run=server", stdin=json.dumps(token)).returncode)
    for attempt in attempts:
        for obj in (token, pod):
            refused = kubectl(*bob, *attempt, "--dry-run=server", stdin=json.dumps(obj))
            assert "may be changed by its administrators only" in refused.stderr
    execute = "/api/v1/namespaces/{}/pods/any/exec?command=id"
    refused = kubectl(*bob, "create", "--raw", execute.format("kube-system"), "-f", "-", stdin="")
    assert "may be changed by its administrators only" in refused.stderr

    elsewhere = ("create", "-n", "default", "-f", "-", "--dry-run=server")
    for obj in (token, pod):
        assert kubectl(*bob, *elsewhere, stdin=json.dumps(obj)).returncode == 0
    allowed = kubectl(*bob, "create", "--raw", execute.format("default"), "-f", "-", stdin="")
    assert "NotFound" in allowed.stderr
    user(role="admin")
    for attempt in attempts:
        assert kubectl(*bob, *attempt, "--dry-run=server", stdin=json.dumps(token)).returncode == 0


def test_access_is_to_some_virtual_clusters_only(stage: Path, user: User, tmp_path: Path) -> None:
    path = tmp_path / "users" / "bob.yaml"
    assert not user().failed
    everywhere = tmp_path / "everywhere.yaml"
    everywhere.write_bytes(path.read_bytes())
    limited = user(access=[{"vcluster": "dev", "role": "viewer"}])
    assert [(row["vcluster"], row["role"]) for row in limited.data["vclusters"]] == [("dev", "viewer")]
    assert contexts(path) == ["payments--dev"]
    assert can(path, "payments--dev", "get", "pods")
    assert not can(path, "payments--dev", "get", "secrets")
    assert "bob" not in kubectl(stage, "get", "serviceaccount", "-n", "tenantry-system", "-o", "name").stdout
    assert is_refused(everywhere, "payments--stage")
    assert not user(access=[{"vcluster": "dev", "role": "viewer"}]).changed


def test_of_two_kubeconfigs_one_is_rotated(user: User, tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    user(kubeconfig_path=one)
    user(kubeconfig_path=two)
    old = tmp_path / "old.yaml"
    old.write_bytes(one.read_bytes())
    rotated = user(kubeconfig_path=one, force=True)
    assert rotated.changed
    assert is_known(one, "payments--dev")
    assert is_known(two, "payments--dev")
    assert is_refused(old, "payments--dev")
    assert not user(kubeconfig_path=one).changed
    assert not user(kubeconfig_path=two).changed


def test_a_new_user_of_the_name_inherits_nothing(dev: Path, user: User, tmp_path: Path) -> None:
    assert not user(role="viewer").failed
    binding = ("create", "clusterrolebinding", "bobs", "--clusterrole=cluster-admin")
    assert kubectl(dev, *binding, "--serviceaccount=tenantry-system:bob").returncode == 0
    old = tmp_path / "old.yaml"
    old.write_bytes((tmp_path / "users" / "bob.yaml").read_bytes())
    assert can(old, "payments--dev", "create", "clusterroles")
    user(state="absent")
    user(role="viewer")
    assert not can(tmp_path / "users" / "bob.yaml", "payments--dev", "create", "clusterroles")
    assert is_refused(old, "payments--stage")
    assert kubectl(dev, "get", "clusterrolebinding", "bobs").returncode == 1


def test_drift_is_named_and_repaired(payments: Path, dev: Path, user: User) -> None:
    user()
    kubectl(dev, "delete", "clusterrolebinding", "tenantry:bob:developer")
    kubectl(payments, "delete", "rolebinding", "-n", "tenant-payments", "tenantry:bob:developer")
    repaired = user()
    assert sorted((a["action"], a["kind"], a["name"]) for a in repaired.data["actions"]) == [
        ("create", "ClusterRoleBinding", "tenantry:bob:developer"),
        ("create", "RoleBinding", "tenantry:bob:developer"),
    ]
    assert not user().changed


def test_many_users_in_one_call(payments: Path, user: User, tmp_path: Path) -> None:
    del user
    users = [
        {"tenant": "payments", "name": name, "role": role, "kubeconfig_path": str(tmp_path / f"{name}.yaml")}
        for name, role in (("bob", "developer"), ("carol", "viewer"))
    ]
    made = call_module("tenant_user", kubeconfig=payments, users=users)
    assert [(row["name"], row["role"], len(row["vclusters"])) for row in made.data["results"]] == [
        ("bob", "developer", 2),
        ("carol", "viewer", 2),
    ]
    assert can(tmp_path / "bob.yaml", "payments--stage", "create", "pods")
    assert not can(tmp_path / "carol.yaml", "payments--stage", "create", "pods")
    assert not call_module("tenant_user", kubeconfig=payments, users=users).changed


def test_a_virtual_cluster_that_is_down_stops_nothing_else(
    payments: Path, user: User, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    working = access.connection.inside

    def inside(host: Cluster, namespace: str) -> Cluster:
        if namespace == "payments--stage":
            raise access.TenantryError("the API does not answer. Run again")
        return working(host, namespace)

    monkeypatch.setattr(access.connection, "inside", inside)
    partly = user()
    assert partly.failed
    assert partly.msg == "bob: vcluster stage on hub: the API does not answer. Run again"
    assert contexts(tmp_path / "users" / "bob.yaml") == ["payments--dev"]
    monkeypatch.setattr(access.connection, "inside", working)
    assert not user().failed
    assert contexts(tmp_path / "users" / "bob.yaml") == ["payments--dev", "payments--stage"]


@pytest.fixture
def paused(payments: Path) -> Iterator[Callable[[], None]]:
    """The virtual cluster dev is paused, as far as its StatefulSet tells, until this is called."""
    labels = {"app": "server"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "k3s", "image": "none"}]}}
    spec = {"replicas": 0, "serviceName": "server", "selector": {"matchLabels": labels}, "template": template}
    sleeping = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "server"}, "spec": spec}
    ran(payments, "-n", "payments--dev", "create", "-f", "-", stdin=json.dumps(sleeping))

    def resume() -> None:
        ran(payments, "-n", "payments--dev", "delete", "statefulset", "server", "--ignore-not-found")

    yield resume
    resume()


def test_who_comes_to_a_paused_one_waits_and_who_leaves_it_is_an_error(
    payments: Path, dev: Path, user: User, paused: Callable[[], None], tmp_path: Path
) -> None:
    path, written = tmp_path / "users" / "bob.yaml", all_writes(dev)
    came = user()
    assert not came.failed, came.msg
    assert (came.data["pending_vclusters"], contexts(path)) == (["dev"], ["payments--stage"])
    assert "Resume it with state: present, then run again" in came.text
    again = user()
    assert (again.failed, again.changed, again.data["pending_vclusters"]) == (False, False, ["dev"])
    assert all_writes(dev) == written
    left = user(state="absent")
    assert left.failed
    assert "vcluster dev on hub: is paused. Resume it" in left.msg
    paused()
    done = user()
    assert (done.failed, done.data["pending_vclusters"]) == (False, [])
    assert contexts(path) == ["payments--dev", "payments--stage"]
    assert can(path, "payments--dev", "create", "pods")
    assert not user().changed


def test_any_umask(user: User, tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        user(kubeconfig_path=tmp_path / "a" / "b" / "bob.yaml")
    finally:
        os.umask(previous)
    listed = subprocess.run(["find", tmp_path / "a", "-perm", "/077"], capture_output=True, text=True, check=True)
    assert (tmp_path / "a" / "b" / "bob.yaml").exists()
    assert listed.stdout == ""


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"name": "Bob"}, "for example bob"),
        ({"name": "b--b"}, "contains `--`"),
        ({"name": "platform-admin"}, "is reserved"),
        ({"role": "developper"}, "developper"),
        ({"role": None}, "role: missing for user bob of tenant payments"),
        ({"lifetime": "1m"}, "lifetime of user bob"),
        ({"lifetime": "400d"}, "lifetime of user bob"),
        ({"lifetime": "soon"}, "lifetime of user bob"),
        ({"access": [{"vcluster": "dve"}]}, "(did you mean dev?)"),
        ({"access": [{"vcluster": "dev"}, {"vcluster": "dev"}]}, "vcluster dev is given twice"),
        ({"kubeconfig_path": "/"}, "is a directory"),
        ({"kubeconfig_path": "/etc/hostname"}, "is not a kubeconfig of a user of tenant payments"),
        ({"kubeconfig_path": "/etc/hostname/bob"}, "is not a directory"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    payments: Path, dev: Path, stage: Path, user: User, options: dict[str, Any], line: str
) -> None:
    written = all_writes(payments, dev, stage)
    refused = user(**options)
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg
    assert "Traceback" not in refused.text
    assert all_writes(payments, dev, stage) == written


def test_an_unknown_tenant_is_refused(payments: Path) -> None:
    refused = call_module("tenant_user", kubeconfig=payments, tenant="payment", name="bob", role="viewer")
    assert "tenant: payment of user bob does not exist (did you mean payments?)" in refused.msg


def test_two_users_cannot_share_a_file(payments: Path, tmp_path: Path) -> None:
    users = [
        {"tenant": "payments", "name": name, "role": "viewer", "kubeconfig_path": str(tmp_path / "x.yaml")}
        for name in ("bob", "carol")
    ]
    refused = call_module("tenant_user", kubeconfig=payments, users=users)
    assert "is given for bob and carol" in refused.msg


def test_a_virtual_cluster_without_an_issuer_is_reported(payments: Path, dev: Path) -> None:
    written = all_writes(payments, dev)
    refused = call_module(
        "tenant_user", kubeconfig=payments, tenant="payments", name="bob", role="viewer", oidc={"username": "bob"}
    )
    assert "oidc: user bob cannot enter vcluster dev of tenant payments with an issuer" in refused.msg
    assert "Set option oidc of tenantry.kube.vcluster" in refused.msg
    assert all_writes(payments, dev) == written
