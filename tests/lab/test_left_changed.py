"""What an administrator adds to the platform's own objects in a virtual cluster ends with the removal (GONE-3)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import call_module, kubectl, ran, until
from .people import User, can

CONTEXT = "payments--dev"
POLICY = "tenantry-system-namespaces"
POLICIES, BINDINGS = "validatingadmissionpolicy", "validatingadmissionpolicybinding"
NEVER = {"name": "never", "expression": "false"}
NOWHERE = {"matchLabels": {"nobody": "has"}}
EVERYTHING = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
MORE = {"aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"bob": "more"}}]}}
# Kind, name, and what is added to it.
CHANGES = [
    pytest.param(POLICIES, POLICY, {"spec": {"matchConditions": [NEVER]}}, id="condition"),
    pytest.param(
        POLICIES, POLICY, {"spec": {"matchConstraints": {"excludeResourceRules": [EVERYTHING]}}}, id="exclusion"
    ),
    pytest.param(POLICIES, POLICY, {"spec": {"matchConstraints": {"objectSelector": NOWHERE}}}, id="objects"),
    pytest.param(BINDINGS, POLICY, {"spec": {"matchResources": {"namespaceSelector": NOWHERE}}}, id="binding"),
    pytest.param("clusterrole", "tenantry:developer", MORE, id="aggregation"),
]


def _pod(account: str = "default") -> str:
    spec = {"serviceAccountName": account, "containers": [{"name": "a", "image": "a"}]}
    return json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bob"}, "spec": spec})


def _enters(path: Path) -> bool:
    """Whether the user gets at the accounts of controllers, or has more rights than a developer."""
    made = kubectl(
        path, "--context", CONTEXT, "create", "-n", "kube-system", "--dry-run=server", "-f", "-", stdin=_pod()
    )
    assert made.returncode == 0 or "Forbidden" in made.stderr or "forbidden" in made.stderr, made.stderr
    return made.returncode == 0 or can(path, CONTEXT, "create", "clusterroles")


@pytest.fixture
def carol(user: User, dev: Path, tmp_path: Path) -> Iterator[Path]:
    """A developer's kubeconfig."""
    path = tmp_path / "users" / "carol.yaml"
    assert not user(name="carol", kubeconfig_path=path).failed
    until(lambda: not _enters(path))
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole"}
    rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    ran(
        dev,
        "create",
        "-f",
        "-",
        stdin=json.dumps({**role, "metadata": {"name": "more", "labels": {"bob": "more"}}, "rules": rules}),
    )
    yield path
    ran(dev, "delete", "clusterrole", "more")


@pytest.mark.parametrize(("kind", "name", "added"), CHANGES)
@pytest.mark.parametrize("state", ["absent", "present"])
def test_what_was_added_to_our_objects_goes(
    payments: Path, dev: Path, user: User, carol: Path, tmp_path: Path, kind: str, name: str, added: Any, state: str
) -> None:
    assert not user(role="admin").failed
    path = tmp_path / "users" / "bob.yaml"
    changed = kubectl(path, "--context", CONTEXT, "patch", kind, name, "-p", json.dumps(added), "--type", "strategic")
    assert changed.returncode == 0, changed.stderr
    until(lambda: _enters(carol), 30)  # the positive control

    found = call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data["findings"]
    assert [(one["kind"].lower(), one["name"]) for one in found if one["name"] == name] == [(kind, name)]
    options = {"state": "absent", "kubeconfig_path": None} if state == "absent" else {"role": "developer"}
    foreseen = user(check=True, **options)
    removed = user(**options)
    assert not removed.failed, removed.msg
    assert removed.data["actions"] == foreseen.data["actions"]
    until(lambda: not _enters(carol), 30)
    assert not [one for one in removed.data["results"][0]["remains"] if one["name"] == name]
    if state == "present":
        assert not _enters(path)
        assert not user(**options).changed
    else:
        assert not user(name="carol", kubeconfig_path=carol).changed
