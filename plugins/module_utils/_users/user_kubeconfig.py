# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One kubeconfig of one user, wherever it is kept: one context per virtual cluster the user may enter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as _kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import Store


class UserKubeconfig:
    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._prefix = f"{tenant}--"
        self._config = store.read() or {}
        self._contexts = {context["name"]: context for context in self._entries("contexts")}
        self.tokens: dict[str, str | None] = {
            entry["name"]: (entry.get("user") or {}).get("token") for entry in self._entries("users")
        }
        if store.exists and not self._is_ours():
            raise TenantryError(
                f"kubeconfig_path: {self.label} exists and is not a kubeconfig of a user of tenant {tenant}; "
                "move it away or choose another path"
            )

    @property
    def where(self) -> dict[str, Any]:
        return self._store.where

    @property
    def label(self) -> str:
        return self._store.label

    @property
    def exists(self) -> bool:
        return self._store.exists

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
        """Write it, or remove it where there is nothing to enter; True if that changes anything."""
        if config is not None:
            return self._store.write(config, check=check)
        if not self.exists:
            return False
        if not check:
            self._store.remove()
        return True

    def action(self, config: dict | None) -> dict:
        """The change as a row of a result."""
        action = "delete" if config is None else "update" if self.exists else "create"
        return {"action": action, "kind": "Kubeconfig", "name": self.label}

    def _entries(self, section: str) -> list[dict]:
        entries = self._config.get(section)
        return [entry for entry in entries if isinstance(entry, dict) and "name" in entry] if entries else []

    def _is_ours(self) -> bool:
        return bool(self._contexts) and all(str(name).startswith(self._prefix) for name in self._contexts)
