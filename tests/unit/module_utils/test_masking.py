"""A kubeconfig as a dictionary in the output of a module, and in the system log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import PASS_VARS
from ansible_collections.tenantry.kube.plugins.module_utils import _module
from ansible_collections.tenantry.kube.plugins.modules import awx_configuration, tenant_user
from module_args import patch_module_args

TOKEN = "swordfish-0123456789"
CONFIG = {
    "current-context": "hub",
    "contexts": [{"name": "hub", "context": {"cluster": "hub", "user": "hub"}}],
    "clusters": [{"name": "hub", "cluster": {"server": "http://hub.example"}}],
    "users": [{"name": "hub", "user": {"token": TOKEN}}],
}
# ansible-core before 2.19 returns the arguments without being asked.
INVOCATION = {"_ansible_inject_invocation": True} if "inject_invocation" in PASS_VARS else {}
AWX = {
    "controller_host": "https://awx.example",
    "controller_oauthtoken": "token-of-the-controller",
    "project_url": "https://git.example/tenants.git",
    "execution_environment_image": "registry.example/ee",
    "tenants": [],
    **INVOCATION,
}
ITEM: dict[str, Any] = {"name": {"type": "str"}, "size": {"type": "int", "default": 1}}


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(AnsibleModule, "log", lambda _self, msg, log_args=None: lines.append(f"{msg} {log_args}"))
    return lines


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({}, "is not an https:// address"),
        ({"size": "big"}, "size"),
        ({"context": "other"}, 'kubeconfig has no context "other"'),
        ({"kubeconfig": json.dumps(CONFIG, indent=1)}, "kubeconfig: is neither a path nor a dictionary"),
    ],
)
def test_dictionary_is_masked_wherever_a_module_fails(
    capsys: pytest.CaptureFixture[str], logged: list[str], more: dict[str, Any], message: str
) -> None:
    arguments = {"name": "a", "kubeconfig": CONFIG, **INVOCATION, **more}
    spec = _module.argument_spec(**ITEM)
    with patch_module_args(arguments), pytest.raises(SystemExit):
        _module.main(spec, lambda context, items: [context.hub.version()], item_options=ITEM, key="name")
    result = json.loads(capsys.readouterr().out)
    new = result.pop("_ansible_new_secrets", None)  # from ansible-core 2.22 on, masked by the controller
    assert message in result["msg"]
    assert result["invocation"]["module_args"]["name"] == "a"
    shown = json.dumps(result) + "".join(logged)
    assert TOKEN not in shown or TOKEN in (new or ())
    assert ("hub.example" in shown) is isinstance(arguments["kubeconfig"], dict)


def test_dictionary_is_masked_in_the_result(capsys: pytest.CaptureFixture[str], logged: list[str]) -> None:
    arguments = {"name": "a", "kubeconfig": CONFIG, **INVOCATION}
    with patch_module_args(arguments), pytest.raises(SystemExit) as caught:
        _module.main(
            _module.argument_spec(**ITEM),
            lambda context, items: [{"name": "a", "changed": False, "actions": [], "note": TOKEN}],
            item_options=ITEM,
            key="name",
        )
    assert caught.value.code == 0
    result = json.loads(capsys.readouterr().out)
    new = result.pop("_ansible_new_secrets", None)
    assert logged
    assert TOKEN not in json.dumps(result) + "".join(logged) or TOKEN in (new or ())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (CONFIG, "ttls: is empty"),
        (yaml.safe_dump(CONFIG), "hub_kubeconfig: is neither a path nor a dictionary"),
        (json.dumps(CONFIG), "hub_kubeconfig: is neither a path nor a dictionary"),
        ("/nonexistent/hub.yaml", "hub_kubeconfig: cannot read /nonexistent/hub.yaml: No such file"),
    ],
)
def test_kubeconfig_for_awx_is_masked_where_the_module_fails(
    capsys: pytest.CaptureFixture[str], logged: list[str], given: Any, message: str
) -> None:
    with patch_module_args({**AWX, "hub_kubeconfig": given, "ttls": []}), pytest.raises(SystemExit):
        awx_configuration.main()
    assert message in _failure(capsys, logged)["msg"]


@pytest.mark.parametrize(
    ("option", "address", "message"),
    [
        ("controller_host", f"https://me:{TOKEN}@awx.example", "controller_host: has a user in the address"),
        ("controller_host", f"https://me:{TOKEN}@[awx", "controller_host: has a user in the address"),
        ("controller_host", "https://[awx", 'controller_host: "https://[awx" is not an https:// address'),
        ("hub_host", f"https://{TOKEN}@hub.example", "hub_host: has a user in the address"),
        ("project_url", f"https://me:{TOKEN}@git.example/tenants.git", "ttls: is empty"),
        ("ca_path", f"-----BEGIN CERTIFICATE-----\n{TOKEN}\n", "ca_path: is no path, but a text or a dictionary"),
        ("ca_path", {"key": TOKEN}, "ca_path: is no path, but a text or a dictionary"),
    ],
)
def test_secret_in_an_address_or_in_place_of_a_path_is_masked(
    capsys: pytest.CaptureFixture[str], logged: list[str], option: str, address: Any, message: str
) -> None:
    arguments = {**AWX, "hub_host": "https://hub.example", "hub_token": "token-of-the-hub", "ttls": [], option: address}
    with patch_module_args(arguments), pytest.raises(SystemExit):
        awx_configuration.main()
    assert message in _failure(capsys, logged)["msg"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (TOKEN, "vault_password_file: names no file"),
        ({"password": TOKEN}, "vault_password_file: is no path, but a text or a dictionary"),
        (f"$ANSIBLE_VAULT;1.1;AES256\n{TOKEN}\n", "vault_password_file: is no path, but a text or a dictionary"),
    ],
)
def test_vault_password_in_place_of_its_file_is_masked(
    capsys: pytest.CaptureFixture[str], logged: list[str], tmp_path: Path, given: Any, message: str
) -> None:
    file = {"name": "laptop", "path": str(tmp_path / "config"), "vault_password_file": given}
    item = {"tenant": "payments", "name": "alice", "role": "admin", "kubeconfigs": [file]}
    with patch_module_args({"users": [item], **INVOCATION}), pytest.raises(SystemExit):
        tenant_user.main()
    assert message in _failure(capsys, logged)["msg"]


def _failure(capsys: pytest.CaptureFixture[str], logged: list[str]) -> dict[str, Any]:
    """Return the result of a module that failed, in which the token is masked, as in the log."""
    result = json.loads(capsys.readouterr().out)
    new = result.pop("_ansible_new_secrets", None)
    assert result["failed"]
    assert result["invocation"]
    assert "\n" not in result["msg"]
    assert logged
    assert TOKEN not in json.dumps(result) + "".join(logged) or TOKEN in (new or ())
    return result
