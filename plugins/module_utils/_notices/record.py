# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The ledger of a target, in a ConfigMap on the hub that several runs may change."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import CONFIG_MAP
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, retry
from ansible_collections.tenantry.kube.plugins.module_utils._notices.ledger import Ledger

COMPONENT = "notices"
CONFLICT_SECONDS = 30  # for a record that other runs change meanwhile
_KEY = "ledger"


class Record:
    """The record of one target. What it was sent is known by the target's name."""

    def __init__(self, hub: Cluster, target: str) -> None:
        self._hub = hub
        self._name = f"{COMPONENT}-{target}"

    def read(self) -> Ledger:
        return self._parsed(self._hub.get(CONFIG_MAP, self._name, naming.PLATFORM_NAMESPACE))

    def change(self, update: Callable[[Ledger], Ledger]) -> Ledger:
        """Replace the ledger by `update` of it, which is called again if another run was faster."""
        return retry(lambda: self._change(update), lambda error: error.status == 409, Deadline(CONFLICT_SECONDS))

    def _change(self, update: Callable[[Ledger], Ledger]) -> Ledger:
        """Raise an ApiError with status 409 if the record is changed at the same time."""
        live = self._hub.get(CONFIG_MAP, self._name, naming.PLATFORM_NAMESPACE)
        before = self._parsed(live)
        after = update(before)
        if after == before:
            return after
        data = {_KEY: after.as_text()}
        if live is None:
            meta = {"name": self._name, "namespace": naming.PLATFORM_NAMESPACE, "labels": naming.labels(COMPONENT)}
            self._hub.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})
        else:
            version = {"resourceVersion": live["metadata"]["resourceVersion"]}
            self._hub.merge(CONFIG_MAP, self._name, naming.PLATFORM_NAMESPACE, {"metadata": version, "data": data})
        return after

    def _parsed(self, live: dict | None) -> Ledger:
        if live is None:
            return Ledger()
        try:
            return Ledger.of((live.get("data") or {}).get(_KEY) or "")
        except TenantryError as error:
            where = f"ConfigMap {self._name} of {naming.PLATFORM_NAMESPACE} on the hub"
            raise TenantryError(f"{error} ({where}). Delete it to send everything that is due once more") from None
