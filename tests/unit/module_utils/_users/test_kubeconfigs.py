"""The kubeconfig file of a user: what is kept, what goes, and which files are not touched."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import KubeContext
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import FileStore
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfigs import (
    Owner,
    RequestedKubeconfig,
    UserKubeconfig,
    asked_for,
    write_kubeconfig,
)


def _way(vcluster: str, token: str = "t") -> KubeContext:
    return KubeContext(f"payments--{vcluster}", f"https://{vcluster}:6443", "Q0E=", "bob", token)


def _file(path: Path) -> UserKubeconfig:
    return UserKubeconfig(FileStore(str(path)), "payments")


def _written(path: Path, *vclusters: str) -> UserKubeconfig:
    file = _file(path)
    file.put(file.content([_way(v) for v in vclusters], lambda _context: False), check=False)
    return _file(path)


def _contexts(path: Path) -> list[str]:
    return [entry["name"] for entry in yaml.safe_load(path.read_text())["contexts"]]


def test_a_file_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "users" / "bob.yaml"
    _written(path, "dev")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_second_write_changes_nothing(tmp_path: Path) -> None:
    file = _written(tmp_path / "bob.yaml", "stage", "dev")
    assert _contexts(tmp_path / "bob.yaml") == ["payments--dev", "payments--stage"]
    assert file.tokens == {"payments--dev": "t", "payments--stage": "t"}
    assert not file.put(file.content([_way("dev"), _way("stage")], lambda _context: False), check=False)


def test_check_mode_writes_nothing(tmp_path: Path) -> None:
    file = _file(tmp_path / "bob.yaml")
    assert file.put(file.content([_way("dev")], lambda _context: False), check=True)
    assert list(tmp_path.iterdir()) == []


def test_what_could_not_be_asked_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "bob.yaml"
    file = _written(path, "dev", "stage")
    config = file.content([_way("dev", "new")], lambda context: context == "payments--stage")
    assert [entry["user"]["token"] for entry in config["users"]] == ["new", "t"]
    assert [entry["name"] for entry in file.content([_way("dev")], lambda _context: False)["contexts"]] == [
        "payments--dev"
    ]


def test_a_file_with_nothing_to_enter_goes(tmp_path: Path) -> None:
    path = tmp_path / "bob.yaml"
    file = _written(path, "dev")
    assert file.content([], lambda _context: False) is None
    assert file.action(None)["action"] == "delete"
    assert file.put(None, check=True)
    assert path.exists()
    assert file.put(None, check=False)
    assert not path.exists()


@pytest.mark.parametrize("content", ["", "hello", "contexts: []", "contexts: [{name: research--lab, context: {}}]"])
def test_somebody_elses_file_is_not_touched(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    with pytest.raises(TenantryError, match=r"is not a kubeconfig of a user of tenant payments. Remove it"):
        _file(path)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"kubeconfig_path": "{path}"}, "kubeconfig_path"),
        ({"kubeconfigs": [{"name": "laptop", "path": "{path}"}]}, "kubeconfigs.path"),
        ({"kubeconfigs": [{"name": "laptop", "path": "{path}", "vault_password_file": "{path}"}]}, "kubeconfigs.path"),
        (
            {"kubeconfigs": [{"name": "laptop", "secret": {"namespace": "ci", "name": "bob"}}]},
            "kubeconfigs.secret",
        ),
    ],
)
def test_asked_for_names_the_option_of_the_place(tmp_path: Path, given: dict[str, Any], option: str) -> None:
    (tmp_path / "file").write_text("hello")
    item: dict[str, Any] = {"tenant": "payments", "name": "bob", "state": "present", "lifetime": "1d", "force": False}
    item |= {"kubeconfig_path": None, "kubeconfigs": [], **_with_path(given, str(tmp_path / "file"))}
    defaults = {"path": None, "secret": None, "vault_password_file": None, "lifetime": None, "force": False}
    item["kubeconfigs"] = [{**defaults, "state": "present", **one} for one in item["kubeconfigs"]]
    labels = naming.labels("user", tenant="payments", user="bob")
    there = {"v1/Namespace": {}, "v1/Secret": {"metadata": {"labels": labels}, "data": {}}}
    hub = SimpleNamespace(get=lambda kind, *_of: there[kind])
    context = SimpleNamespace(hub=hub, module=SimpleNamespace(get_bin_path=lambda *_of, **_by: "ansible-vault"))
    with pytest.raises(TenantryError, match=f"^{re.escape(option)}: .*is not a kubeconfig of a user of tenant"):
        asked_for(context, item, "user bob")  # type: ignore[arg-type]  # as much of it as is used


def _with_path(given: Any, path: str) -> Any:
    if isinstance(given, dict):
        return {key: _with_path(value, path) for key, value in given.items()}
    if isinstance(given, list):
        return [_with_path(value, path) for value in given]
    return given.format(path=path)


def test_a_place_where_no_file_can_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TenantryError, match=r"is a directory. Name a file in it"):
        FileStore(str(tmp_path))
    (tmp_path / "file").write_text("")
    with pytest.raises(TenantryError, match="file is not a directory"):
        FileStore(str(tmp_path / "file" / "below" / "bob.yaml"))
    with pytest.raises(TenantryError, match=r"^kubeconfigs\.path: .* is a directory"):
        FileStore(str(tmp_path), "kubeconfigs.path")


def test_each_file_has_credentials_of_its_own(tmp_path: Path) -> None:
    ids = {FileStore(str(tmp_path / name)).id for name in ("a", "b")}
    assert len(ids) == 2
    assert FileStore(f"{tmp_path}/x/../a").id in ids


class Place:
    """A virtual cluster that issues tokens, with the Secret of an earlier one."""

    context, where, server, ca_data = "payments--dev", "vcluster dev on hub", "https://dev:6443", "Q0E="
    users_namespace, default_namespace, issuer = "tenantry-system", None, None

    def __init__(self) -> None:
        self.revoked: list[dict] = []

    def still_good(self, *_of: object) -> bool:
        return False

    def superseded_secrets(self, *_of: object) -> list[dict]:
        return [{"metadata": {"name": "bob-old", "namespace": self.users_namespace}}]

    def next_secret(self, *_of: object) -> str:
        return "bob-new"

    def issue(self, *_of: object) -> str:
        return "t"

    def revoke(self, secrets: list[dict]) -> None:
        self.revoked += secrets


@pytest.mark.parametrize(
    ("present", "revoked", "actions"),
    [(True, [], [("create", "bob-new")]), (False, ["bob-old"], [("delete", "bob-old")])],
)
def test_kubeconfig_that_cannot_be_stored_is_a_problem_of_its_own(
    tmp_path: Path, present: bool, revoked: list[str], actions: list[tuple[str, str]]
) -> None:
    """What it holds instead stays valid, unless it is to go."""
    file, place = _written(tmp_path / "bob.yaml", "dev"), Place()
    (tmp_path / "bob.yaml").unlink()
    (tmp_path / "bob.yaml").mkdir()
    context = SimpleNamespace(check_mode=False, secret=lambda *_of: None, requester=lambda: "admin")
    owner = Owner("payments", "bob", [place], {place.context}, False)  # type: ignore[list-item]  # a fake
    row = write_kubeconfig(context, owner, RequestedKubeconfig("laptop", present, 60, False, file))  # type: ignore[arg-type]
    assert (row["changed"], row["contexts"], row["expires"]) == (True, [], None)
    assert [(one["action"], one["name"]) for one in row["actions"]] == actions
    assert [one["metadata"]["name"] for one in place.revoked] == revoked
    assert {name: "Is a directory" in text or "is a directory" in text for name, text in row["problems"]} == {
        "": True, "payments--dev": True
    }  # fmt: skip
