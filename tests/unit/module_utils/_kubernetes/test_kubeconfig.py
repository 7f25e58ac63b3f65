"""Kubeconfigs: what is refused, what comes out, and who may read what is written."""

from __future__ import annotations

import base64
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig

PEM = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n").decode()
TOKEN = "swordfish-0123456789"

Change = Callable[[dict[str, Any]], object]


def _config() -> dict[str, Any]:
    first = kubeconfig.KubeContext("one", "https://127.0.0.1:6443", PEM, "alice", TOKEN, "team")
    second = kubeconfig.KubeContext("two", "https://two.example:6443", PEM, "bob", TOKEN)
    return kubeconfig.build([first, second], "one")


def _cluster(config: dict[str, Any]) -> dict[str, Any]:
    return config["clusters"][0]["cluster"]


def _user(config: dict[str, Any]) -> dict[str, Any]:
    return config["users"][0]["user"]


def _file(path: Path, change: Change | None = None) -> str:
    config = _config()
    if change:
        change(config)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.yaml"


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def test_the_current_context_alone_comes_out(path: Path) -> None:
    config = kubeconfig.load(_file(path))
    assert config["current-context"] == "one"
    assert [len(config[section]) for section in ("contexts", "clusters", "users")] == [1, 1, 1]
    assert _cluster(config) == {"server": "https://127.0.0.1:6443", "certificate-authority-data": PEM}
    assert _user(config) == {"token": TOKEN}
    assert config["contexts"][0]["context"]["namespace"] == "team"


def test_another_context_can_be_chosen(path: Path) -> None:
    assert _cluster(kubeconfig.load(_file(path), "two"))["server"] == "https://two.example:6443"


def test_references_are_read_relative_to_the_file(path: Path) -> None:
    (path.parent / "ca.pem").write_bytes(base64.b64decode(PEM))
    (path.parent / "token").write_text("from-file\n", encoding="utf-8")

    def refer(config: dict[str, Any]) -> None:
        _cluster(config).update({"certificate-authority": "ca.pem"})
        _cluster(config).pop("certificate-authority-data")
        config["users"][0]["user"] = {"tokenFile": "token"}

    config = kubeconfig.load(_file(path, refer))
    assert _cluster(config) == {"server": "https://127.0.0.1:6443", "certificate-authority-data": PEM}
    assert _user(config) == {"token": "from-file"}


@pytest.mark.parametrize("reference", ["certificate-authority", "tokenFile"])
def test_load_of_a_reference_to_a_large_file_is_refused(path: Path, reference: str) -> None:
    """Half of it would be another credential, or a CA file without the CA that is needed."""
    (path.parent / "large").write_bytes(base64.b64decode(PEM) * 20_000)  # 1.1 MiB

    def refer(config: dict[str, Any]) -> None:
        _cluster(config).pop("certificate-authority-data")
        _user(config).clear()
        (_user if reference == "tokenFile" else _cluster)(config).update({reference: "large"})

    assert f"{reference}: large is larger than 1024 KiB. Correct the path" in _refused(_file(path, refer))


def test_a_credential_plugin_is_run(path: Path) -> None:
    answer = '{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {"token": "fresh"}}'
    plugin = {"apiVersion": "client.authentication.k8s.io/v1", "command": "echo", "args": [answer]}
    name = _file(path, lambda c: c["users"][0].update(user={"exec": plugin}))
    assert _user(kubeconfig.load(name)) == {"token": "fresh"}
    with pytest.raises(TenantryError, match=r"runs a program \(exec\)"):
        kubeconfig.load(name, trust="member_kubeconfig_trusted")


def _refused(name: str, *, context: str | None = None, trust: str = "") -> str:
    with pytest.raises(TenantryError) as caught:
        kubeconfig.load(name, context, field="member_kubeconfig", trust=trust)
    text = str(caught.value)
    assert text.startswith("member_kubeconfig: ")
    assert name in text
    assert "\n" not in text
    assert TOKEN not in text
    return text


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda c: _cluster(c).update(server="http://127.0.0.1"), "not an https:// address"),
        (lambda c: _cluster(c).update(server="https://"), "not an https:// address"),
        (lambda c: _cluster(c).update(server="https://h:99999"), "not an https:// address"),
        (lambda c: _cluster(c).pop("server"), "not an https:// address"),
        *(
            (lambda c, address=address: _cluster(c).update(server=address), "server has a user in its address")
            for address in (
                f"https://admin:{TOKEN}@h",
                f"https://{TOKEN}@h:6443",
                f"http://admin:{TOKEN}@h",
                f"admin:{TOKEN}@h",
                f"https://admin:{TOKEN}@[h",
            )
        ),
        (lambda c: _cluster(c).update({"insecure-skip-tls-verify": True}), "insecure-skip-tls-verify"),
        (lambda c: _cluster(c).update({"certificate-authority-data": "%%"}), "not base64 of a PEM block"),
        (lambda c: _user(c).clear(), "neither a token nor a client certificate"),
        (lambda c: _user(c).update({"client-certificate-data": PEM}), "both its certificate and its key"),
        (lambda c: _user(c).update({"client-certificate": "none.pem"}), "cannot read none.pem: No such file"),
        (lambda c: _user(c).update({"auth-provider": {"name": "oidc"}}), "auth-provider"),
        (lambda c: _user(c).update(exec={"command": "/nonexistent", "apiVersion": "v1"}), "credential plugin"),
        (lambda c: _user(c).update(exec="x"), "credential plugin"),
        (
            lambda c: _cluster(c).update({"proxy-url": "socks5://me:hidden@127.0.0.1:1"}),
            "socks5://127.0.0.1 is not an HTTP",
        ),
        (lambda c: _cluster(c).update({"proxy-url": "proxy:3128"}), "is not an HTTP proxy"),
        (lambda c: _user(c).update(token=f"{TOKEN}\nX-Other: header"), "the token is not one line"),
        (lambda c: _user(c).update(token=7), "the token is not one line"),
        (lambda c: c.update({"current-context": "onee"}), r'no context "onee" \(did you mean one\?\)'),
        (lambda c: c.pop("current-context"), "no current-context. Set context to one of: one, two"),
        (lambda c: c.pop("users"), "has no user"),
        (lambda c: c.update(users={}), "has no user"),
        (lambda c: c.update(contexts=[None, 1]), "has no context"),
        (lambda c: c.update(clusters=None), "is not a kubeconfig"),
    ],
)
def test_what_is_refused(path: Path, change: Change, says: str) -> None:
    text = _refused(_file(path, change))
    assert re.search(says, text), text


@pytest.mark.parametrize(
    ("section", "part", "field", "value", "remedy"),
    [
        ("users", "user", "as", "bob", "impersonation is not supported"),
        ("users", "user", "as-uid", "7", "impersonation is not supported"),
        ("users", "user", "as-groups", ["viewers"], "impersonation is not supported"),
        ("users", "user", "as-user-extra", {"a": ["b"]}, "impersonation is not supported"),
        ("users", "user", "username", "bob", "Kubernetes has no passwords"),
        ("users", "user", "password", "secret", "Kubernetes has no passwords"),
        ("users", "user", "anything", "x", "remove it"),
        ("clusters", "cluster", "anything", "x", "remove it"),
        ("contexts", "context", "anything", "x", "remove it"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused(
    path: Path, section: str, part: str, field: str, value: object, remedy: str
) -> None:
    text = _refused(_file(path, lambda c: c[section][0][part].update({field: value})))
    assert f"the {part} has {field}, which is not supported; {remedy}" in text
    assert kubeconfig.load(_file(path, lambda c: c[section][0][part].update({field: ""})))


def test_what_tools_write_is_understood(path: Path) -> None:
    """Base64 in lines, a token with the end of a line, and what extensions leave."""
    wrapped = "\n".join(PEM[start : start + 16] for start in range(0, len(PEM), 16)) + "\n"

    def change(config: dict[str, Any]) -> None:
        _cluster(config).update({"certificate-authority-data": wrapped, "extensions": [{"name": "minikube"}]})
        _user(config).update(token=f"{TOKEN}\n")

    config = kubeconfig.load(_file(path, change))
    assert _cluster(config)["certificate-authority-data"] == PEM
    assert _user(config)["token"] == TOKEN


@pytest.mark.parametrize(
    "change",
    [
        lambda c: _cluster(c).update({"certificate-authority": "/etc/passwd"}),
        lambda c: _user(c).update(tokenFile="/etc/shadow"),
        lambda c: _user(c).update({"client-key": "/etc/shadow"}),
    ],
)
def test_a_foreign_kubeconfig_reads_no_files(path: Path, change: Change) -> None:
    said = _refused(_file(path, change), trust="member_kubeconfig_trusted")
    assert "refers to another file. If the kubeconfig is your own, set member_kubeconfig_trusted: true" in said


def test_an_unknown_context(path: Path) -> None:
    assert "it has: one, two" in _refused(_file(path), context="three")


def test_files_that_are_none(tmp_path: Path) -> None:
    assert "No such file" in _refused(str(tmp_path / "missing"))
    assert "is a directory" in _refused(str(tmp_path))
    assert "File name too long" in _refused(str(tmp_path / ("a" * 300)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"users: [{{token: {TOKEN}".encode(), "is not YAML (line 1"),
        (b"\xff\xfe\x00", "is not"),
        (b"\x00", "is not YAML"),
        (b"", "is not a kubeconfig"),
        (b"just text", "is not a kubeconfig"),
        (b"!!python/object/apply:os.system [id]", "is not YAML"),
        (b"[" * 100_000, "is not YAML"),
        (b"!!bool maybe", "is not YAML"),
        (b"#" * (1024 * 1024 + 1), "larger than 1024 KiB"),
    ],
)
def test_content_that_is_no_kubeconfig(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    assert says in _refused(str(path))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_an_unreadable_file(path: Path) -> None:
    name = _file(path)
    path.chmod(0)
    assert "Permission denied" in _refused(name)


def test_only_the_owner_may_read_what_is_written(tmp_path: Path, umask: int) -> None:
    path = tmp_path / "new" / "deep" / "config.yaml"
    assert kubeconfig.write(str(path), _config())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for folder in (path.parent, path.parent.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert list(path.parent.iterdir()) == [path]
    assert kubeconfig.read_back(str(path)) == _config()


def test_a_second_write_changes_nothing(path: Path) -> None:
    kubeconfig.write(str(path), _config())
    first = path.stat()
    assert not kubeconfig.write(str(path), _config())
    assert path.stat().st_ino == first.st_ino


def test_a_wider_mode_is_repaired(path: Path) -> None:
    kubeconfig.write(str(path), _config())
    path.chmod(0o644)
    assert kubeconfig.write(str(path), _config())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_check_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.yaml"
    assert kubeconfig.write(str(path), _config(), check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_path_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(TenantryError, match="is a directory"):
        kubeconfig.write(str(tmp_path), _config())
    (tmp_path / "file").touch()
    with pytest.raises(TenantryError, match="cannot write"):
        kubeconfig.write(str(tmp_path / "file" / "config.yaml"), _config())
    with pytest.raises(TenantryError, match=r"cannot write .*: File name too long"):
        kubeconfig.write(str(tmp_path / ("a" * 300)), _config())


@pytest.mark.parametrize("content", [None, b"", b"[1]", b"\xff", b"{", b"!!bool maybe"])
def test_what_is_there_is_no_kubeconfig(path: Path, content: bytes | None) -> None:
    if content is not None:
        path.write_bytes(content)
    assert kubeconfig.read_back(str(path)) is None
    assert kubeconfig.write(str(path), _config())


def test_secrets() -> None:
    assert kubeconfig.secrets(_config()) == {TOKEN}
