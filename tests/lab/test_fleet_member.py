"""The module fleet_member between two real API servers."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import ModuleResult, call_module, everything, kubectl, run_module, writes

Member = Callable[..., ModuleResult]


@pytest.fixture
def member(platform: Path, second_api_server: Path) -> Member:
    """Runs the module for the second cluster, by the name of edge if nothing else is said."""

    def run(**options: Any) -> ModuleResult:
        options = {"name": "edge", "member_kubeconfig": second_api_server, **options}
        return call_module("fleet_member", kubeconfig=platform, **options)

    return run


@pytest.fixture(scope="module", autouse=True)
def _removed_afterwards(platform: Path, second_api_server: Path) -> Iterator[None]:
    yield
    options = {"name": "edge", "member_kubeconfig": second_api_server, "state": "absent"}
    removed = call_module("fleet_member", kubeconfig=platform, **options)
    assert not removed.failed, removed.msg


@pytest.fixture
def apart(member: Member) -> Member:
    """The same; the second cluster is in no fleet."""
    assert not member(state="absent").failed
    return member


@pytest.fixture
def joined(member: Member) -> Member:
    """The same; the second cluster is a member."""
    assert not member().failed
    return member


def _steps(result: ModuleResult) -> list[tuple[str, str, str]]:
    return [(action["action"], action["kind"], action["name"]) for action in result.data["actions"]]


def _entry(hub: Path, name: str = "edge") -> dict[str, Any]:
    found = kubectl(hub, "get", "secret", "-n", "tenantry-system", f"member-{name}", "-o", "json", "--ignore-not-found")
    return json.loads(found.stdout) if found.stdout else {}


def _credential(hub: Path, target: Path) -> Path:
    """The kubeconfig in the registry, as a file."""
    target.write_bytes(base64.b64decode(_entry(hub)["data"]["kubeconfig"]))
    return target


def _token(hub: Path) -> str:
    return json.loads(base64.b64decode(_entry(hub)["data"]["kubeconfig"]))["users"][0]["user"]["token"]


def _can(kubeconfig: Path, *question: str) -> bool:
    return kubectl(kubeconfig, "auth", "can-i", *question).stdout.strip() == "yes"


def _status(kubeconfig: Path) -> str:
    asked = kubectl(kubeconfig, "get", "namespace", "kube-system")
    return "200" if asked.returncode == 0 else asked.stderr


def test_join_predict_repeat(platform: Path, second_api_server: Path, apart: Member) -> None:
    del apart
    options = {"kubeconfig": platform, "name": "edge", "member_kubeconfig": second_api_server, "diff": True}
    before = len(writes(platform)), len(writes(second_api_server))
    predicted = run_module("fleet_member", check=True, **options)
    assert predicted.changed
    assert (len(writes(platform)), len(writes(second_api_server))) == before

    joined = run_module("fleet_member", **options)
    assert joined.data["actions"] == predicted.data["actions"]
    assert {"server", "identity", "version"} == {
        key for key in ("server", "identity", "version") if joined.data[key] == predicted.data[key] != ""
    }
    assert joined.data["expires"] > time.strftime("%Y-%m-%d")
    assert _entry(platform)["metadata"]["annotations"]["tenantry.dev/expires"] == joined.data["expires"]

    done = len(writes(platform)), len(writes(second_api_server))
    again = run_module("fleet_member", **options)
    assert (again.failed, again.changed, again.data["actions"], again.data["diff"]) == (False, False, [], [])
    assert (len(writes(platform)), len(writes(second_api_server))) == done

    user = yaml.safe_load(second_api_server.read_text())["users"][0]["user"]
    secrets = [_token(platform), *(value for key, value in user.items() if key in ("client-key-data", "token"))]
    assert len(secrets) > 1
    for result in (predicted, joined, again):
        assert not [secret for secret in secrets if secret in result.text]


def test_the_credential_may_do_what_virtual_clusters_need_and_no_more(
    platform: Path, second_api_server: Path, joined: Member, tmp_path: Path
) -> None:
    del joined
    credential = _credential(platform, tmp_path / "credential.yaml")
    assert _can(credential, "list", "statefulsets.apps", "-A")
    assert not _can(credential, "list", "secrets", "-A")
    assert not _can(credential, "create", "clusterroles")
    assert not _can(credential, "create", "pods", "--subresource=exec", "-A")
    assert not _can(credential, "get", "nodes", "--subresource=proxy")
    assert _can(credential, "get", "nodes")
    assert not _can(credential, "impersonate", "users")

    labels = {"app.kubernetes.io/managed-by": "tenantry.kube"}
    ours = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a--b", "labels": labels}})
    other = json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a-b", "labels": labels}})
    bind = ("create", "rolebinding", "x", "--clusterrole=tenantry:vcluster-manager", "--user=x", "-n")
    try:
        made = kubectl(credential, "create", "-f", "-", stdin=ours)
        assert made.returncode == 0, made.stderr
        assert "virtual clusters only" in kubectl(credential, "create", "-f", "-", stdin=other).stderr
        assert kubectl(credential, *bind, "a--b").returncode == 0
        assert "virtual clusters only" in kubectl(credential, *bind, "kube-system").stderr
        assert "virtual clusters only" in kubectl(credential, "delete", "namespace", "tenantry-system").stderr
        admin = ("create", "rolebinding", "y", "--clusterrole=cluster-admin", "--user=x", "-n", "a--b")
        assert "is forbidden" in kubectl(credential, *admin).stderr
    finally:
        kubectl(second_api_server, "delete", "namespace", "a--b", "a-b", "--ignore-not-found", "--wait=false")


def test_absent_leaves_nothing_on_either_side(
    platform: Path, second_api_server: Path, apart: Member, tmp_path: Path
) -> None:
    before = everything(platform), everything(second_api_server)
    apart()
    credential = _credential(platform, tmp_path / "credential.yaml")
    assert _status(credential) == "200"
    predicted = apart(state="absent", check=True)
    removed = apart(state="absent", diff=True)
    assert removed.changed
    assert removed.data["actions"] == predicted.data["actions"]
    assert (everything(platform), everything(second_api_server)) == before
    assert _status(credential) != "200"
    assert not apart(state="absent").changed


def test_drift_on_the_member_is_named_and_repaired(second_api_server: Path, joined: Member) -> None:
    kubectl(second_api_server, "delete", "clusterrolebinding", "tenantry:platform")
    kubectl(second_api_server, "delete", "validatingadmissionpolicybinding", "tenantry-platform")
    repaired = joined(diff=True)
    assert sorted(_steps(repaired)) == [
        ("create", "ClusterRoleBinding", "tenantry:platform"),
        ("create", "ValidatingAdmissionPolicyBinding", "tenantry-platform"),
    ]
    assert not joined().changed


def test_a_revoked_credential_is_replaced(platform: Path, second_api_server: Path, joined: Member) -> None:
    old = _token(platform)
    kubectl(second_api_server, "delete", "secret", "-n", "tenantry-system", "-l", "tenantry.dev/component=member")
    renewed = joined()
    assert sorted({(action, kind) for action, kind, _name in _steps(renewed)}) == [
        ("create", "Secret"),
        ("update", "Secret"),
    ]
    assert _token(platform) != old
    assert not joined().changed


def test_a_shorter_lifetime_takes_effect_and_ends_the_old_credential(second_api_server: Path, joined: Member) -> None:
    shorter = joined(credential_lifetime="2d")
    assert ("delete", "Secret") in {(action, kind) for action, kind, _name in _steps(shorter)}
    assert shorter.data["expires"] < time.strftime("%Y-%m-%dT", time.gmtime(time.time() + 3 * 86400))
    bound = kubectl(second_api_server, "get", "secret", "-n", "tenantry-system", "-o", "name").stdout.split()
    assert len(bound) == 1
    assert not joined(credential_lifetime="2d").changed
    assert not joined().changed  # asking for more leaves a credential alone that has life enough


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"name": "other"}, "its cluster is the member edge already (same kube-system UID)"),
        ({"name": "hub"}, '"hub" is reserved'),
        ({"name": "Edge_1"}, "is not a valid name"),
        ({"name": "a--b"}, "contains `--`"),
        ({"credential_lifetime": "1y"}, "credential_lifetime"),
        ({"credential_lifetime": "1h"}, "credential_lifetime"),
        ({"member_kubeconfig": None}, "member_kubeconfig: missing for member edge"),
        ({"member_kubeconfig": "/nonexistent"}, "cannot read /nonexistent"),
        ({"member_context": "defualt"}, 'has no context "defualt" (did you mean default?)'),
    ],
)
def test_bad_input_is_one_line(
    platform: Path, second_api_server: Path, joined: Member, options: dict[str, Any], line: str
) -> None:
    before = len(writes(platform)), len(writes(second_api_server))
    refused = joined(**options)
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg
    assert (len(writes(platform)), len(writes(second_api_server))) == before


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda c: c["clusters"][0]["cluster"].update(server="http://127.0.0.1:1"), "not an https:// address"),
        (lambda c: c["clusters"][0]["cluster"].update(server="https://127.0.0.1:1"), "cannot connect"),
        (lambda c: c["users"][0].update(user={"exec": {"command": "/bin/true"}}), "runs a program (exec)"),
        (lambda c: c["users"][0].update(user={"tokenFile": "/etc/shadow"}), "refers to another file"),
        (lambda c: c["users"][0].update(user={"token": "swordfish-0123456789"}), "401"),
    ],
)
def test_a_bad_member_kubeconfig_is_one_line(
    second_api_server: Path, member: Member, tmp_path: Path, edit: Callable[[dict], None], line: str
) -> None:
    config = yaml.safe_load(second_api_server.read_text())
    edit(config)
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(config))
    before = len(writes(second_api_server))
    refused = member(member_kubeconfig=path)
    assert refused.failed
    assert line in refused.msg
    assert "\n" not in refused.msg
    assert "swordfish" not in refused.text
    assert len(writes(second_api_server)) == before


def test_a_kubeconfig_that_runs_a_program_is_used_if_it_is_trusted(
    second_api_server: Path, member: Member, tmp_path: Path
) -> None:
    """As those of EKS, GKE and AKS."""
    config = yaml.safe_load(second_api_server.read_text())
    names = {"clientCertificateData": "client-certificate-data", "clientKeyData": "client-key-data"}
    status = {name: base64.b64decode(config["users"][0]["user"][field]).decode() for name, field in names.items()}
    answer = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}
    plugin = {"apiVersion": answer["apiVersion"], "command": "echo", "args": [json.dumps(answer)]}
    config["users"][0]["user"] = {"exec": plugin}
    path = tmp_path / "eks.yaml"
    path.write_text(yaml.safe_dump(config))
    predicted = member(member_kubeconfig=path, member_kubeconfig_trusted=True, check=True)
    assert predicted.changed, predicted.msg
    assert "PRIVATE KEY" not in predicted.text


def test_the_hub_cannot_join_itself(platform: Path, member: Member) -> None:
    before = len(writes(platform))
    refused = member(member_kubeconfig=platform)
    assert "its cluster is the hub itself" in refused.msg
    assert len(writes(platform)) == before


def test_all_that_is_wrong_is_said_at_once_and_nothing_is_written(
    platform: Path, second_api_server: Path, apart: Member
) -> None:
    del apart
    before = len(writes(platform)), len(writes(second_api_server))
    members = [
        {"name": "edge", "member_kubeconfig": str(second_api_server)},
        {"name": "Bad"},
        {"name": "far", "member_kubeconfig": "/nonexistent"},
    ]
    refused = call_module("fleet_member", kubeconfig=platform, members=members)
    assert [line.split(":")[0] for line in refused.msg.splitlines()] == ["name", "member_kubeconfig"]
    assert (len(writes(platform)), len(writes(second_api_server))) == before


def test_of_many_members_one_is_down(platform: Path, second_api_server: Path, apart: Member, tmp_path: Path) -> None:
    del apart
    config = yaml.safe_load(second_api_server.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:1"
    down = tmp_path / "down.yaml"
    down.write_text(yaml.safe_dump(config))
    members = [
        {"name": "edge", "member_kubeconfig": str(second_api_server)},
        {"name": "down", "member_kubeconfig": str(down)},
    ]
    partly = call_module("fleet_member", kubeconfig=platform, members=members)
    assert partly.failed
    assert len(partly.msg.splitlines()) == 1
    assert "down" in partly.msg
    assert [(row["name"], row["changed"], "error" in row) for row in partly.data["results"]] == [
        ("edge", True, False),
        ("down", False, True),
    ]
    again = call_module("fleet_member", kubeconfig=platform, members=members)
    assert [row["changed"] for row in again.data["results"]] == [False, False]


def test_a_foreign_object_on_the_member_is_left_alone(platform: Path, second_api_server: Path, apart: Member) -> None:
    kubectl(second_api_server, "create", "clusterrole", "tenantry:platform", "--verb=get", "--resource=pods")
    try:
        before = everything(second_api_server)
        refused = apart()
        assert refused.failed
        assert "ClusterRole tenantry:platform on edge exists and does not belong to the platform" in refused.msg
        assert everything(second_api_server) == before
        assert _entry(platform) == {}
    finally:
        kubectl(second_api_server, "delete", "clusterrole", "tenantry:platform")


def test_a_member_with_virtual_clusters_stays(platform: Path, second_api_server: Path, joined: Member) -> None:
    labels = {
        "app.kubernetes.io/managed-by": "tenantry.kube",
        "tenantry.dev/component": "vcluster",
        "tenantry.dev/tenant": "research",
        "tenantry.dev/vcluster": "lab",
    }
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "research--lab", "labels": labels}}
    kubectl(second_api_server, "create", "-f", "-", stdin=json.dumps(space))
    try:
        before = len(writes(platform)), len(writes(second_api_server))
        refused = joined(state="absent")
        assert refused.failed
        assert "virtual clusters live there: research--lab" in refused.msg
        assert (len(writes(platform)), len(writes(second_api_server))) == before
    finally:
        kubectl(second_api_server, "delete", "namespace", "research--lab")


def test_a_member_is_forgotten_by_force_and_its_credential_ends(platform: Path, joined: Member, tmp_path: Path) -> None:
    credential = _credential(platform, tmp_path / "credential.yaml")
    refused = joined(state="absent", member_kubeconfig=None)
    assert "requires an administrator of it" in refused.msg
    forgotten = joined(state="absent", member_kubeconfig=None, force=True)
    assert forgotten.changed
    assert ("delete", "ServiceAccount", "tenantry-platform") in _steps(forgotten)
    assert "member edge is forgotten" in str(forgotten.data["warnings"])
    assert _entry(platform) == {}
    end = time.monotonic() + 30  # an API server remembers a good token for ten seconds
    while _status(credential) == "200" and time.monotonic() < end:
        time.sleep(0.2)
    assert "Unauthorized" in _status(credential) or "logged in" in _status(credential)
