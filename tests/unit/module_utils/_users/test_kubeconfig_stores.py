"""The places of a user's kubeconfig: what is read there, and what an error may say about it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import (
    FileStore,
    VaultStore,
    content_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfigs import UserKubeconfig

SECRET = "s3cret"
# Texts that PyYAML answers with errors of different types, each of which quotes the secret.
NOT_YAML = [f"password: hunter2: {SECRET}", f"!!bool {SECRET}", f"!!int {SECRET}"]


@pytest.fixture
def vault(tmp_path: Path) -> Callable[[str], VaultStore]:
    """Return a store whose file holds a text, for an ansible-vault that decrypts by giving it out."""
    (tmp_path / "password").write_text("p")
    path = tmp_path / "bob.vault.yaml"

    def store(text: str) -> VaultStore:
        path.write_text("$ANSIBLE_VAULT;1.1;AES256\n")
        return VaultStore(str(path), str(tmp_path / "password"), lambda _command, _text: (0, text, ""))

    return store


@pytest.mark.parametrize("text", NOT_YAML)
def test_vault_without_yaml_is_refused_and_not_quoted(vault: Callable[[str], VaultStore], text: str) -> None:
    with pytest.raises(TenantryError, match="is not a kubeconfig of a user of tenant payments") as refused:
        UserKubeconfig(vault(text), "payments")
    assert SECRET not in f"{refused.value} {refused.value.__context__}"


def test_vault_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("p")
    path = tmp_path / "bob.vault.yaml"
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(
        TenantryError, match=f"^kubeconfigs.path: cannot read {path}: No such file or directory. Choose"
    ):
        VaultStore(str(path), str(tmp_path / "password"), lambda _command, _text: (0, "", "")).read()


def test_vault_that_cannot_be_written_is_named(vault: Callable[[str], VaultStore], tmp_path: Path) -> None:
    store = vault("")
    (tmp_path / "bob.vault.yaml").unlink()
    (tmp_path / "bob.vault.yaml").mkdir()
    store.exists = False
    with pytest.raises(
        TenantryError, match=r"^kubeconfigs.path: cannot write .*bob.vault.yaml: Is a directory. Choose"
    ):
        store.write({"a": "b"}, check=False)


@pytest.mark.parametrize("text", [*NOT_YAML, "just text"])
def test_secret_without_kubeconfig_has_no_content(text: str) -> None:
    assert content_of({"data": {"kubeconfig": base64.b64encode(text.encode()).decode()}}) is None


def test_file_that_cannot_be_deleted_is_named(tmp_path: Path) -> None:
    store = FileStore(str(tmp_path / "bob.yaml"), "kubeconfigs.path")
    (tmp_path / "bob.yaml").mkdir()
    with pytest.raises(TenantryError, match=r"^kubeconfigs.path: cannot delete .*bob.yaml: Is a directory. Delete"):
        store.remove()
