"""Kubeconfigs as options give them: a path or a dictionary, and what of it is masked."""

from __future__ import annotations

import base64
import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import (
    hub_kubeconfig,
    kubeconfig,
    kubeconfig_option,
)

PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").decode()
TOKEN = "swordfish-0123456789"
TRUST = "member_kubeconfig_trusted"


def config(**user: Any) -> dict[str, Any]:
    found = kubeconfig.build([kubeconfig.KubeContext("one", "https://one.example:6443", PEM, "alice", TOKEN)], "one")
    if user:
        found["users"][0]["user"] = user
    return found


def masked(**user: Any) -> set[str]:
    return kubeconfig_option.secrets({"kubeconfig": config(**user)})


def test_load_dictionary_is_as_its_file(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(config()))
    given = config()
    before = copy.deepcopy(given)
    assert kubeconfig_option.load(given, None) == kubeconfig_option.load(str(file), None) == kubeconfig.load(str(file))
    assert hub_kubeconfig.load(given, None) == kubeconfig.load(str(file))
    assert hub_kubeconfig.server(given, None) == "https://one.example:6443"
    assert given == before


def test_load_path_with_variable_and_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("FOLDER", str(tmp_path))
    for path in ("~/config.yaml", "$FOLDER/config.yaml"):
        assert kubeconfig_option.load(path, None)["current-context"] == "one"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, r"^member_kubeconfig: the dictionary is not a kubeconfig \(it has no list of clusters\)\. "),
        ({"clusters": {}}, r"^member_kubeconfig: the dictionary is not a kubeconfig"),
        ({"clusters": []}, r"^member_kubeconfig has no current-context\. Set context to one of: none"),
        ([], r"^member_kubeconfig: is neither a path nor a dictionary\. "),
        (7, r"^member_kubeconfig: is neither a path nor a dictionary\. "),
        (json.dumps(config()), r"^member_kubeconfig: is neither a path"),
        (yaml.safe_dump(config()), r"^member_kubeconfig: is neither a path .* with from_yaml$"),
        ({**config(), "users": []}, r'^member_kubeconfig has no user "one" .*; it has: none'),
    ],
)
def test_load_invalid_is_one_line_without_content(given: Any, message: str) -> None:
    with pytest.raises(TenantryError, match=message) as caught:
        kubeconfig_option.load(given, None, field="member_kubeconfig")
    assert TOKEN not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "user", [{"exec": {"command": "/usr/bin/false"}}, {"tokenFile": "token"}, {"client-key": "key", "token": "x"}]
)
def test_load_foreign_dictionary_runs_and_reads_nothing(user: dict[str, Any]) -> None:
    with pytest.raises(TenantryError, match=rf"^member_kubeconfig: .* set {TRUST}: true"):
        kubeconfig_option.load(config(**user), None, field="member_kubeconfig", trust=TRUST)


def test_load_own_dictionary_runs_its_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "login"
    program.write_text(
        """#!/bin/sh
echo '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}'
"""
    )
    program.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "./login", "interactiveMode": "Never"}
    assert kubeconfig_option.load(config(exec=plugin), None)["users"][0]["user"] == {"token": "fresh"}
    Path("token").write_text("from a file\n".replace(" ", "-"))
    assert kubeconfig_option.load(config(tokenFile="token"), None)["users"][0]["user"] == {"token": "from-a-file"}


@pytest.mark.parametrize(
    ("user", "secret"),
    [
        ({"token": TOKEN}, TOKEN),
        ({"token": 123456789}, "123456789"),
        ({"client-certificate-data": PEM, "client-key-data": "a2V5"}, "a2V5"),
        ({"username": "alice", "password": "open sesame"}, "open sesame"),
        ({"auth-provider": {"name": "oidc", "config": {"refresh-token": "refresh"}}}, "refresh"),
        ({"exec": {"command": "login", "args": ["--client-secret=hidden", "get-token"]}}, "hidden"),
        ({"exec": {"command": "login", "args": ["login", "--token", "hidden"]}}, "hidden"),
        ({"exec": {"command": "login", "env": [{"name": "AWS_SECRET_ACCESS_KEY", "value": "hidden"}]}}, "hidden"),
        ({"of a later Kubernetes": ["hidden"]}, "hidden"),
        *(
            ({"exec": {"command": "login", "args": arguments}}, "hidden")
            for arguments in (
                ["--proxy=http://me:hidden@proxy.example:1"],
                ["--proxy", "http://hidden@proxy.example:1"],
                ["--proxy", "http://me:hidden@proxy.example:1/a@b"],
                ["-p", "hidden"],
                ["-u", "hidden"],
                ["-u", "me:hidden"],
                ["-H", "Authorization: Bearer hidden"],
                ["--header=Cookie: hidden"],
                ["--github-pat", "hidden"],
                ["client_credential=hidden"],
                ["-c", "curl -H 'Authorization: Bearer hidden' https://vault.example | jq ."],
                ["-c", "it's --token hidden"],
            )
        ),
        *(
            ({"exec": {"command": "login", "env": [{"name": name, "value": value}]}}, "hidden")
            for name, value in {
                "HTTPS_PROXY": "http://me:hidden@proxy.example:1",
                "http_proxy": "me:hidden@proxy.example:1",
                "NPM_REGISTRY": "https://hidden@npm.example",
                "GITHUB_PAT": "hidden",
                "VAULT_AUTH": "hidden",
                "BEARER": "hidden",
                "SESSION_COOKIE": "hidden",
                "EXTRA_HEADERS": "Authorization: Bearer hidden",
                "LOGIN_OPTIONS": "--password=hidden",
            }.items()
        ),
    ],
)
def test_secrets_every_credential_is_one(user: dict[str, Any], secret: str) -> None:
    assert masked(**user) == {secret}


def test_secrets_of_a_document_in_a_variable() -> None:
    text = json.dumps({"auths": {"registry.example": {"auth": "aGlkZGVu"}}})
    variable = {"name": "DOCKER_AUTH_CONFIG", "value": text}
    assert {text, "aGlkZGVu"} <= masked(exec={"command": "login", "env": [variable]})


@pytest.mark.parametrize(
    ("field", "address", "secret"),
    [
        ("proxy-url", "http://me:hidden@proxy.example:3128", "hidden"),
        ("proxy-url", "me:hidden@proxy.example:3128", "hidden"),
        ("proxy-url", "http://me:hid/den@proxy.example:3128", "hid/den"),
        ("server", "https://admin:hidden@one.example", "hidden"),
        ("server", "https://hidden@one.example", "hidden"),
        ("server", "https://admin:hidden@[one", "hidden"),
    ],
)
def test_secrets_of_an_address_are_its_password_or_lone_user(field: str, address: str, secret: str) -> None:
    given = config()
    given["clusters"][0]["cluster"][field] = address
    assert kubeconfig_option.secrets({"kubeconfig": given}) == {TOKEN, secret}


def test_secrets_as_the_log_escapes_them() -> None:
    assert {"a\\b\"'c", "a\\\\b\"\\'c"} <= masked(password="a\\b\"'c")
    assert "hidden" in masked(exec={"args": ["-c", "TOKEN=hidden login"]})
    assert {"p@ss", "p%40ss"} <= masked(exec={"args": ["https://me:p%40ss@one.example"]})


def test_secrets_of_a_malformed_kubeconfig() -> None:
    assert kubeconfig_option.secrets({"kubeconfig": {"users": {"one": {"token": TOKEN}}}}) == {TOKEN}
    assert kubeconfig_option.secrets({"kubeconfig": [TOKEN]}) == {TOKEN}


def test_secrets_words_of_other_output_are_none() -> None:
    given = config()
    given["clusters"][0]["cluster"] |= {"insecure-skip-tls-verify": True, "extensions": [{"name": "hub"}]}
    assert kubeconfig_option.secrets({"kubeconfig": given}) == {TOKEN}
    arguments = ["eks", "get-token", "--region", "eu", "--token-only", "--cached-tokens=true", "--token-hours=12", "-v"]
    variables = {"AWS_PROFILE": "prod", "AZURE_AUTHORITY_HOST": "https://login.example/", "CACHE_TOKENS": "true"}
    program = {"apiVersion": "v1", "command": "aws", "args": [*arguments, "--url=https://one.example:1/a"]}
    env = [{"name": name, "value": value} for name, value in variables.items()]
    assert masked(exec={**program, "env": [*env, {"name": "NO_TOKEN"}]}) == set()
    assert kubeconfig_option.secrets({"kubeconfig": "/etc/hub.yaml", "name": "hub", "timeout": 30}) == set()


def test_secrets_of_items_are_found() -> None:
    items = [{"name": "a", "member_kubeconfig": config()}, {"name": "b", "member_kubeconfig": None}]
    assert kubeconfig_option.secrets({"members": items, "kubeconfig": None}) == {TOKEN}


def test_secrets_of_web_addresses_are_found() -> None:
    params = {"url": "https://me:hidden@git.example", "bucket": {"endpoint": "http://other@s3.example"}}
    assert kubeconfig_option.secrets(params) == {"hidden", "other"}
    assert kubeconfig_option.secrets({"url": "ssh://git@git.example/a.git", "image": "r.example/a@sha256:0"}) == set()


def test_secrets_text_is_masked_whole_and_by_line() -> None:
    for text in (yaml.safe_dump(config()), json.dumps(config())):
        assert {text, TOKEN} <= kubeconfig_option.secrets({"kubeconfig": text})
    wrapped = "QUFBQUFBQUE\nQkJCQkJCQkI\n"
    assert masked(**{"client-key-data": wrapped}) == {
        wrapped, wrapped.strip(), repr(wrapped.strip())[1:-1], "QUFBQUFBQUE", "QkJCQkJCQkI"}  # fmt: skip
