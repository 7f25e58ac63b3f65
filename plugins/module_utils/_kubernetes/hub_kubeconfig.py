# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kubeconfig of the hub: from the option, the environment, or where other tools find theirs.

The order is that of kubernetes.core, but for an option that is set: it wins over the environment.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import HUB, HUB_SERVER_VARIABLE
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig_option import Given, Source, source

HOST, VERIFY = "K8S_AUTH_HOST", "K8S_AUTH_VERIFY_SSL"
# Variables as AWX's credential for a Kubernetes API sets them, by the fields of a kubeconfig.
_CLUSTER = {"server": HOST, "certificate-authority": "K8S_AUTH_SSL_CA_CERT", "proxy-url": "K8S_AUTH_PROXY"}
_USER = {
    "token": "K8S_AUTH_API_KEY",
    "client-certificate": "K8S_AUTH_CERT_FILE",
    "client-key": "K8S_AUTH_KEY_FILE",
}
DEFAULT = "~/.kube/config"
# What Kubernetes gives to a pod.
ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def load(given: Given | None, context: str | None) -> dict[str, Any]:
    """Return the chosen context as a kubeconfig with one cluster, one user and inline credentials."""
    found = find(given)
    return kubeconfig.resolve(found.config, context, found.where, found.folder)


def server(given: Given | None, context: str | None) -> str:
    """Return the address of the chosen context. Runs no program and reads no credential."""
    found = find(given)
    return kubeconfig.server(found.config, context, found.where)


def server_for_users(hub_server: str) -> str:
    """Return the address for users' kubeconfigs. The reconciler itself reaches the hub by one inside of it."""
    return os.environ.get(HUB_SERVER_VARIABLE) or hub_server


def find(given: Given | None) -> Source:
    """Return the first that there is. Raise a TenantryError if there is none."""
    environment = os.environ
    if given := given or environment.get("K8S_AUTH_KUBECONFIG"):
        return source(given, "kubeconfig")
    if environment.get(HOST):
        return _of_variables()
    if path := environment.get("KUBECONFIG"):
        if os.pathsep in path:
            raise TenantryError("KUBECONFIG: has several files. Set the option kubeconfig to the one of the hub")
        return source(path, "KUBECONFIG")
    with suppress(RuntimeError):  # a container's user may have no home directory
        if Path(DEFAULT).expanduser().exists():
            return source(DEFAULT, "kubeconfig")
    if environment.get("KUBERNETES_SERVICE_HOST") and (ACCOUNT / "token").exists():
        return _of_pod()
    raise TenantryError(
        "kubeconfig: no kubeconfig of the hub was given or found. Set the option, K8S_AUTH_KUBECONFIG, or "
        f"{HOST} and {_USER['token']} (in AWX, add the credential to the job template)"
    )


def _of_variables() -> Source:
    if not boolean(os.environ.get(VERIFY) or True, strict=False):
        raise TenantryError(
            f"{VERIFY}: is off, but certificates are always verified. Set it to true, and K8S_AUTH_SSL_CA_CERT to a "
            "file with the CA (in AWX: Verify SSL and Certificate Authority data of the credential)"
        )
    token, certificate, key = _USER.values()
    if not os.environ.get(token) and not os.environ.get(certificate):
        raise TenantryError(f"{token}: is missing for {HOST}. Set it, or {certificate} and {key}")
    cluster, user = ({key: os.environ.get(name) for key, name in names.items()} for names in (_CLUSTER, _USER))
    return Source(_built(cluster, user), HOST, Path.cwd())


def _of_pod() -> Source:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    cluster = {"server": f"https://{address}:{port}", "certificate-authority": "ca.crt"}
    return Source(_built(cluster, {"tokenFile": "token"}), f"service account of this pod ({ACCOUNT})", ACCOUNT)


def _built(cluster: dict[str, Any], user: dict[str, Any]) -> dict[str, Any]:
    """A kubeconfig of the fields that are set."""
    parts = {"cluster": cluster, "user": user, "context": {"cluster": HUB, "user": HUB}}
    sections = {
        f"{part}s": [{"name": HUB, part: {key: value for key, value in fields.items() if value}}]
        for part, fields in parts.items()
    }
    return {"current-context": HUB, **sections}
