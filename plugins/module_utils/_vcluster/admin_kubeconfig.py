# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The administrator's kubeconfig of a virtual cluster, a file of the controller."""

from __future__ import annotations

import time

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens, kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET, SERVICE_ACCOUNT
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    ADMINISTRATOR,
)

# The administrator's kubeconfig, renewed by a run when a third of it is left.
LIFETIME = 30 * 24 * 3600


class AdministratorsKubeconfig:
    """The file of the option kubeconfig_path."""

    def __init__(self, path: str, namespace: str, labels: dict[str, str]) -> None:
        self.path = path
        self._namespace = namespace
        self._labels = labels
        self._there = kubeconfig.read_back(path)

    @property
    def exists(self) -> bool:
        return self._there is not None

    def is_current(self, api: Cluster, url: str | None) -> bool:
        """Return whether the kubeconfig is for this URL, and its token can be kept."""
        if self._there is None or url is None:
            return False
        if kubeconfig.write(self.path, self._content(api, url, self._token), check=True):
            return False
        account = api.get(SERVICE_ACCOUNT, ADMINISTRATOR, naming.PLATFORM_NAMESPACE)
        claims = bound_tokens.claims(self._token)
        if account is None or claims is None or claims.account_uid != account["metadata"]["uid"]:
            return False  # somebody has ended all of its tokens, with the account
        secrets = api.list(SECRET, naming.PLATFORM_NAMESPACE, self._selector)
        return bound_tokens.still_good(self._token, secrets, LIFETIME, time.time())

    def renew(self, api: Cluster, url: str) -> str:
        """Write a new kubeconfig, then revoke what it replaces. Return the new token."""
        before = api.list(SECRET, naming.PLATFORM_NAMESPACE, self._selector)
        name = bound_tokens.secret_name(ADMINISTRATOR, before)
        issued = bound_tokens.issue(api, naming.PLATFORM_NAMESPACE, ADMINISTRATOR, name, self._labels, LIFETIME)
        kubeconfig.write(self.path, self._content(api, url, issued.token))
        mine = bound_tokens.claims(self._token)
        for secret in before:
            if (mine and mine.secret_uid == secret["metadata"]["uid"]) or bound_tokens.outlived(secret, time.time()):
                bound_tokens.revoke(api, secret)
        return issued.token

    def action(self) -> dict:
        """Return the change as a row of a result."""
        return {"action": "update" if self._there else "create", "kind": "Kubeconfig", "name": self.path}

    @property
    def _token(self) -> str:
        try:
            return (self._there or {})["users"][0]["user"]["token"]
        except (KeyError, IndexError, TypeError):
            return ""

    @property
    def _selector(self) -> str:
        return naming.selecting(self._labels)

    def _content(self, api: Cluster, url: str, token: str) -> dict:
        way = kubeconfig.KubeContext(self._namespace, url, api.ca_data, ADMINISTRATOR, token)
        return kubeconfig.build([way], current=self._namespace)
