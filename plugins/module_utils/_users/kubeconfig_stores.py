# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where a user's kubeconfig is stored: a file, a file encrypted by ansible-vault, or a Secret on the hub."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line, require
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import decoded_value, encoded

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # reported once, by _module.main()

KUBECONFIG_ANNOTATION = "tenantry.dev/kubeconfig"
SECRET_TYPE = "tenantry.dev/kubeconfig"  # noqa: S105
SECRET_KEY = "kubeconfig"  # noqa: S105
# How a file of ansible-vault begins.
VAULT = b"$ANSIBLE_VAULT;"

# A program's arguments and standard input; its exit code, output and errors.
Runner = Callable[[list[str], "str | None"], tuple[int, str, str]]


class Store(Protocol):
    """One place for one kubeconfig."""

    exists: bool
    option: str  # that names the place, for errors

    @property
    def where(self) -> dict[str, Any]:
        """The place as modules return it."""

    @property
    def label(self) -> str:
        """The place for messages, unique among all stores."""

    def read(self) -> dict | None:
        """Return the kubeconfig, or None if there is none or something else."""

    def write(self, config: dict, *, check: bool) -> bool:
        """Write the kubeconfig; only compare if `check`. Return whether anything changes."""

    def remove(self) -> None:
        """Delete the kubeconfig, which exists."""


class FileStore:
    """A file that only its owner can read."""

    def __init__(self, path: str, option: str = "kubeconfig_path") -> None:
        self.option = option
        self._file = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 (a link stays a link)
        self.exists = os.path.lexists(self._file)
        self._check_parents()

    @property
    def where(self) -> dict[str, Any]:
        return {"path": self.label}

    @property
    def label(self) -> str:
        return str(self._file)

    @property
    def id(self) -> str:
        """Name for the kubeconfig, unique for this file on this controller."""
        return hashlib.sha256(f"{platform.node()}:{self._file}".encode()).hexdigest()[:12]

    def read(self) -> dict | None:
        return kubeconfig_files.read_back(self.label)

    def write(self, config: dict, *, check: bool) -> bool:
        return kubeconfig_files.write(self.label, config, check=check, field=self.option)

    def remove(self) -> None:
        kubeconfig_files.remove(self._file, self.option)

    def _check_parents(self) -> None:
        if kubeconfig_files.is_directory(self._file):
            raise TenantryError(f"{self.option}: {self.label} is a directory. Name a file in it")
        parent = next(parent for parent in self._file.parents if os.path.lexists(parent))
        if not parent.is_dir():
            raise TenantryError(f"{self.option}: {parent} is not a directory. Choose another path")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise TenantryError(f"{self.option}: {parent} cannot be written by this user. Choose another path")


class VaultStore(FileStore):
    """A file encrypted by the program ansible-vault. Its decrypted content is compared."""

    def __init__(self, path: str, password_file: str, run: Runner) -> None:
        super().__init__(path, "kubeconfigs.path")
        self._run = run
        self._password_file = str(Path(password_file).expanduser())
        if not Path(self._password_file).is_file():
            raise TenantryError(
                # Not quoted, because it may be the password itself.
                "vault_password_file: names no file. Set the path of the password file of ansible-vault"
            )

    def read(self) -> dict | None:
        if not self._is_encrypted():
            return super().read()  # as somebody else left it, to be refused or to be encrypted now
        return kubeconfig_files.mapping(self._vault("view", self.label))

    def write(self, config: dict, *, check: bool) -> bool:
        """Encrypt the kubeconfig. An unencrypted or readable file is replaced even if its content is current."""
        if self._is_encrypted() and self.read() == config and self._file.stat().st_mode & 0o777 == 0o600:
            return False
        if not check:
            text = self._vault("encrypt", "--output", "-", text=_dumped(config))
            kubeconfig_files.put(self._file, text, self.option)
        return True

    def _is_encrypted(self) -> bool:
        """Whether the file is a vault, not whether it can be decrypted. Raise a TenantryError if it is unreadable."""
        if not self.exists:
            return False
        try:
            with self._file.open("rb") as file:
                return file.read(len(VAULT)) == VAULT
        except OSError as error:
            raise TenantryError(
                f"{self.option}: cannot read {self.label}: {error.strerror}. Choose a path this user may read"
            ) from None

    def _vault(self, action: str, *arguments: str, text: str | None = None) -> str:
        # The plain text goes through a pipe: never into a file, nor into the list of processes.
        code, out, err = self._run(
            ["ansible-vault", action, "--vault-password-file", self._password_file, *arguments], text
        )
        if code:
            raise TenantryError(
                f"vault_password_file: ansible-vault cannot {action} {self.label}: {one_line(err)}. "
                "Set the password that the file has, or remove the file"
            )
        return out


class SecretStore:
    """A Secret on the hub, for programs and for self-service."""

    option = "kubeconfigs.secret"

    def __init__(self, hub: Cluster, namespace: str, name: str, labels: dict[str, str], kubeconfig: str) -> None:
        self._hub = hub
        self._namespace, self._name = namespace, name
        self._metadata: dict[str, Any] = {
            "name": name,
            "namespace": namespace,
            "labels": labels,
            "annotations": {KUBECONFIG_ANNOTATION: kubeconfig},
        }
        self._live = hub.get(SECRET, name, namespace)
        self.exists = self._live is not None
        if self._live and not labels.items() <= (self._live["metadata"].get("labels") or {}).items():
            self._refuse()

    @property
    def where(self) -> dict[str, Any]:
        return {"secret": {"namespace": self._namespace, "name": self._name}}

    @property
    def label(self) -> str:
        return f"Secret {self._namespace}/{self._name}"

    def read(self) -> dict | None:
        """Return the kubeconfig in the Secret, or None if it has none."""
        return content_of(self._live or {})

    def write(self, config: dict, *, check: bool) -> bool:
        """Apply the Secret if its content or the name of the kubeconfig differs."""
        annotation = ((self._live or {}).get("metadata", {}).get("annotations") or {}).get(KUBECONFIG_ANNOTATION)
        if self.read() == config and annotation == self._metadata["annotations"][KUBECONFIG_ANNOTATION]:
            return False
        if not check:
            data = {SECRET_KEY: encoded(_dumped(config))}
            secret = {"apiVersion": "v1", "kind": "Secret", "metadata": self._metadata, "type": SECRET_TYPE}
            self._hub.apply({**secret, "data": data})
        return True

    def remove(self) -> None:
        live = require(self._live, self.label)
        self._hub.delete(SECRET, self._name, self._namespace, uid=live["metadata"]["uid"])

    def _refuse(self) -> None:
        user = self._metadata["labels"][naming.LABEL_USER]
        raise TenantryError(
            f"{self.option}: {self.label} exists and is not a kubeconfig of user {user}. Choose another name"
        )


def kubeconfig_of(secret: dict) -> str | None:
    """Return the name of the kubeconfig in this Secret, or of the one whose token is bound to it."""
    return (secret["metadata"].get("annotations") or {}).get(KUBECONFIG_ANNOTATION)


def content_of(secret: dict) -> dict | None:
    """The kubeconfig in this Secret; None if it holds none."""
    try:
        return kubeconfig_files.mapping(decoded_value(secret["data"][SECRET_KEY]))
    except (KeyError, TypeError, ValueError):
        return None


def _dumped(config: dict) -> str:
    return yaml.safe_dump(config, sort_keys=False)
