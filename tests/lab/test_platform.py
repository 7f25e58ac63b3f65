"""The module platform against a real API server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import call_module, everything, kubectl, run_module, writes


def _steps(data: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(action["action"], action["kind"], action["name"]) for action in data["actions"]]


@pytest.fixture(scope="module", autouse=True)
def _removed_afterwards(api_server: Path) -> Iterator[None]:
    yield
    call_module("platform", kubeconfig=api_server, state="absent")


@pytest.fixture
def bare(api_server: Path) -> Path:
    """A cluster without the platform."""
    assert not call_module("platform", kubeconfig=api_server, state="absent").failed
    return api_server


@pytest.fixture
def hub(api_server: Path) -> Path:
    """A cluster with the platform."""
    assert not call_module("platform", kubeconfig=api_server).failed
    return api_server


def test_what_check_mode_predicts_happens_once(bare: Path) -> None:
    before = len(writes(bare))
    predicted = run_module("platform", kubeconfig=bare, check=True, diff=True)
    assert predicted.changed
    assert writes(bare)[before:] == []

    installed = run_module("platform", kubeconfig=bare, diff=True)
    assert (installed.changed, installed.data["actions"]) == (True, predicted.data["actions"])
    assert len(writes(bare)) - before == len(installed.data["actions"])
    assert installed.data["diff"] == predicted.data["diff"]
    assert ("create", "Namespace", "tenantry-system") in _steps(installed.data)
    assert {name for _action, kind, name in _steps(installed.data) if kind == "ClusterRole"} == {
        "tenantry:viewer", "tenantry:developer", "tenantry:admin", "tenantry:platform_operator",
        "tenantry:vcluster-manager",
    }  # fmt: skip
    uid = kubectl(bare, "get", "namespace", "kube-system", "-o", "jsonpath={.metadata.uid}").stdout
    assert installed.data["identity"] == uid
    assert installed.data["version"].startswith("v1.")
    assert (
        kubectl(bare, "get", "configmap", "-n", "tenantry-system", "fleet", "-o", "jsonpath={.data.hub}").stdout == uid
    )

    done = len(writes(bare))
    again = run_module("platform", kubeconfig=bare, diff=True)
    assert (again.failed, again.changed, again.data["actions"], again.data["diff"]) == (False, False, [], [])
    assert writes(bare)[done:] == []


def test_absent_leaves_nothing(bare: Path) -> None:
    before = everything(bare)
    call_module("platform", kubeconfig=bare)
    assert everything(bare) > before
    predicted = call_module("platform", kubeconfig=bare, state="absent", check=True)
    removed = call_module("platform", kubeconfig=bare, state="absent")
    assert removed.data["actions"] == predicted.data["actions"]
    assert removed.changed
    assert everything(bare) == before
    assert not call_module("platform", kubeconfig=bare, state="absent").changed


def test_drift_is_named_and_repaired(hub: Path) -> None:
    role = json.loads(kubectl(hub, "get", "clusterrole", "tenantry:viewer", "-o", "json").stdout)
    role["rules"][0]["resources"].append("secrets")
    assert kubectl(hub, "replace", "-f", "-", stdin=json.dumps(role)).returncode == 0
    assert kubectl(hub, "delete", "priorityclass", "tenantry-prod").returncode == 0
    repaired = call_module("platform", kubeconfig=hub, diff=True)
    assert sorted(_steps(repaired.data)) == [
        ("create", "PriorityClass", "tenantry-prod"),
        ("update", "ClusterRole", "tenantry:viewer"),
    ]
    shown = repaired.data["diff"][0]
    assert "- secrets" in shown["before"]
    assert "- secrets" not in shown["after"]
    role = kubectl(hub, "get", "clusterrole", "tenantry:viewer", "-o", "json").stdout
    assert "secrets" not in role
    assert not call_module("platform", kubeconfig=hub).changed


def test_what_an_earlier_release_left_is_removed(hub: Path) -> None:
    labels = {"app.kubernetes.io/managed-by": "tenantry.kube", "tenantry.dev/component": "platform"}
    metadata = {"name": "tenantry:former", "labels": labels}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": metadata, "rules": []}
    kubectl(hub, "create", "-f", "-", stdin=json.dumps(role))
    assert _steps(call_module("platform", kubeconfig=hub).data) == [("delete", "ClusterRole", "tenantry:former")]


def test_a_foreign_object_is_left_alone(bare: Path) -> None:
    kubectl(bare, "create", "clusterrole", "tenantry:admin", "--verb=get", "--resource=pods")
    try:
        before = everything(bare)
        refused = run_module("platform", kubeconfig=bare)
        assert refused.failed
        assert "ClusterRole tenantry:admin on hub exists and does not belong to the platform" in refused.msg
        assert "\n" not in refused.msg
        assert everything(bare) == before
    finally:
        kubectl(bare, "delete", "clusterrole", "tenantry:admin")
    assert not call_module("platform", kubeconfig=bare).failed


def _edited(path: Path, target: Path, edit: Any) -> Path:
    config = yaml.safe_load(path.read_text())
    edit(config)
    target.write_text(yaml.safe_dump(config))
    return target


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda c: c["clusters"][0]["cluster"].update(server="http://127.0.0.1:1"), "not an https:// address"),
        (lambda c: c["clusters"][0]["cluster"].update({"insecure-skip-tls-verify": True}), "insecure-skip-tls-verify"),
        (lambda c: c["users"].__setitem__(0, {"name": c["users"][0]["name"], "user": {"token": "swordfish-012345"}}),
         "401"),
        (lambda c: c["clusters"][0]["cluster"].update(server="https://127.0.0.1:1"), "cannot connect"),
        (lambda c: c["clusters"][0]["cluster"].pop("certificate-authority-data"), "TLS failed"),
        (lambda c: c.update({"current-context": "nowhere"}), 'has no context "nowhere"'),
    ],
)  # fmt: skip
def test_a_bad_kubeconfig_is_one_line(api_server: Path, tmp_path: Path, edit: Any, line: str) -> None:
    before = len(writes(api_server))
    refused = call_module("platform", kubeconfig=_edited(api_server, tmp_path / "bad.yaml", edit))
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg
    assert "swordfish" not in refused.text
    assert "Traceback" not in refused.text
    assert writes(api_server)[before:] == []


@pytest.mark.parametrize(("content", "line"), [(None, "cannot read"), ("a: [", "is not YAML"), ("- x", "no list of")])
def test_what_is_no_kubeconfig_is_one_line(tmp_path: Path, content: str | None, line: str) -> None:
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    refused = call_module("platform", kubeconfig=path)
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg


def test_no_credential_is_in_any_output(hub: Path) -> None:
    user = yaml.safe_load(hub.read_text())["users"][0]["user"]
    secrets = [value for key, value in user.items() if key in ("client-key-data", "token")]
    assert secrets
    for arguments in ({"check": True, "diff": True}, {"diff": True}, {"state": "absent", "diff": True}):
        text = run_module("platform", kubeconfig=hub, _ansible_verbosity=4, **arguments).text
        assert not [secret for secret in secrets if secret in text]
