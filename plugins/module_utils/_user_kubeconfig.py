# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kubeconfig file of one user on the controller: one context per virtual cluster the user may enter."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Callable
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils import _kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._errors import TenantryError


class UserKubeconfig:
    def __init__(self, path: str, tenant: str) -> None:
        self._file = Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100 (a link stays a link)
        self.exists = os.path.lexists(self._file)
        self._prefix = f"{tenant}--"
        self._check_parents()
        self._config = _kubeconfig.read_back(self.path) or {}
        self._contexts = {context["name"]: context for context in self._entries("contexts")}
        self.tokens: dict[str, str | None] = {
            entry["name"]: (entry.get("user") or {}).get("token") for entry in self._entries("users")
        }
        if self.exists and not self._is_ours():
            raise TenantryError(
                f"kubeconfig_path: {self.path} exists and is not a kubeconfig of a user of tenant {tenant}; "
                "move it away or choose another path"
            )

    @property
    def path(self) -> str:
        return str(self._file)

    @property
    def id(self) -> str:
        """Tells the credentials in this file from those in the user's other files, here and on other controllers."""
        return hashlib.sha256(f"{platform.node()}:{self.path}".encode()).hexdigest()[:12]

    def content(self, ways: list[_kubeconfig.KubeContext], keep: Callable[[str], bool]) -> dict | None:
        """The kubeconfig with these contexts, and with what `keep` wants of those there are; None if it has none."""
        config = _kubeconfig.build(ways, current="")
        new = {way.name for way in ways}
        kept = {name for name in self._contexts if name not in new and keep(name)}
        for section in ("contexts", "clusters", "users"):
            config[section] += [entry for entry in self._entries(section) if entry["name"] in kept]
            config[section].sort(key=lambda entry: entry["name"])
        if not config["contexts"]:
            return None
        return {**config, "current-context": config["contexts"][0]["name"]}

    def put(self, config: dict | None, *, check: bool) -> bool:
        """Write the file, or remove it where there is nothing to enter; True if that changes anything."""
        if config is not None:
            return _kubeconfig.write(self.path, config, check=check)
        if self.exists and not check:
            self._file.unlink()
        return self.exists

    def action(self, config: dict | None) -> dict:
        """The change as a row of a result."""
        action = "delete" if config is None else "update" if self.exists else "create"
        return {"action": action, "kind": "Kubeconfig", "name": self.path}

    def _entries(self, section: str) -> list[dict]:
        entries = self._config.get(section)
        return [entry for entry in entries if isinstance(entry, dict) and "name" in entry] if entries else []

    def _is_ours(self) -> bool:
        return bool(self._contexts) and all(str(name).startswith(self._prefix) for name in self._contexts)

    def _check_parents(self) -> None:
        if self._file.is_dir():
            raise TenantryError(f"kubeconfig_path: {self.path} is a directory; name a file in it")
        parent = next(parent for parent in self._file.parents if os.path.lexists(parent))
        if not parent.is_dir():
            raise TenantryError(f"kubeconfig_path: {parent} is not a directory; choose another path")
        if not os.access(parent, os.W_OK | os.X_OK):
            raise TenantryError(f"kubeconfig_path: {parent} cannot be written by this user; choose another path")
