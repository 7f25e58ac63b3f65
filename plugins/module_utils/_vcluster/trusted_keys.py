# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""CAs and keys by which a virtual API server authenticates clients, and whether they changed.

k3s lets a client with a certificate of the group k3s:server replace them, which an administrator can have signed. What
they sign cannot be revoked, but the change is visible: the recorded values are on the host, out of reach.
"""

from __future__ import annotations

import hashlib
import json

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import one_line
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.client_ca_renewal import (
    PUBLISHED,
    certificate,
    find,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import CLIENT_CA

# On the Secret with the platform's CA for clients.
ANNOTATION = "tenantry.dev/trusted"
# What the API server publishes of the CAs that it trusts: for clients, and for those who may name another one.
_CAS = ("client-ca-file", "requestheader-client-ca-file")
_KEYS, _JWKS = "tokens", "/openid/v1/jwks"
_BEGIN, _END = (f"-----{word} CERTIFICATE-----" for word in ("BEGIN", "END"))
_WHAT = {
    "client-ca-file": "client certificates of a CA",
    "requestheader-client-ca-file": "a CA for clients that act for others",
    _KEYS: "tokens signed by a key",
}

Trusted = dict[str, list[str]]


def now(api: Cluster, own: str | None) -> Trusted:
    """Return fingerprints of the CAs, without the platform's own (PEM), and the names of keys."""
    published = (api.get(*PUBLISHED) or {}).get("data") or {}
    mine = set(_fingerprints(own or ""))
    found = {key: sorted(set(_fingerprints(published.get(key) or "")) - mine) for key in _CAS}
    return {**found, _KEYS: sorted(key["kid"] for key in json.loads(api.text(_JWKS))["keys"])}


def is_whole(found: Trusted) -> bool:
    """Return whether all are known. A server publishes k3s's CAs some moments after its start."""
    return all(found.values())


def noted(secret: dict | None) -> Trusted | None:
    """Return the recorded values, or None."""
    text = ((secret or {}).get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    return json.loads(text) if text else None


def note(host: Cluster, namespace: str, found: Trusted | None) -> None:
    """Record the values on the Secret of the client CA."""
    text = found and json.dumps(found, sort_keys=True)
    host.merge(SECRET, CLIENT_CA, namespace, {"metadata": {"annotations": {ANNOTATION: text}}})


def keep(host: Cluster, api: Cluster, namespace: str) -> None:
    """Record the values once, before anybody but the platform has access."""
    secret = find(host, namespace)
    if secret is None or noted(secret):
        return
    found = now(api, certificate(secret))
    if is_whole(found):
        note(host, namespace, found)


def replaced(host: Cluster, namespace: str, *, clients: str, request_headers: str) -> None:
    """k3s has other CAs (PEM), which the platform made. The keys of tokens stay as they were noted."""
    if before := noted(find(host, namespace)):
        cas = {key: _fingerprints(pem) for key, pem in zip(_CAS, (clients, request_headers), strict=True)}
        note(host, namespace, {**before, **cas})


def findings(api: Cluster, secret: dict | None, own: str | None) -> list[dict[str, str | None]]:
    """Return what is trusted now and was not when recorded. Empty without a record."""
    before = noted(secret)
    if before is None:
        return []
    more = {key: sorted({*values} - {*before.get(key, [])}) for key, values in now(api, own).items()}
    kind, name, namespace = PUBLISHED
    return [
        {
            "kind": "Key" if key == _KEYS else kind.rpartition("/")[2],
            "namespace": None if key == _KEYS else namespace,
            "name": one_line(value) if key == _KEYS else name,
            "why": f"the API server accepts {_WHAT[key]} that it did not accept before: {one_line(value)}",
            "expires": None,
            "end": "tenantry.kube cannot revoke what it signs. Unless you renewed the CAs and keys of k3s, create a "
            f"new virtual cluster. If you did, remove the annotation {ANNOTATION} from the Secret {CLIENT_CA} on the "
            "host and run tenantry.kube.vcluster",
        }
        for key, values in more.items()
        for value in values
    ]


def _fingerprints(bundle: str) -> list[str]:
    """An administrator inside can write what is published, and as much as fits: time grows with its length only."""
    parts = (part.partition(_END) for part in bundle.split(_BEGIN)[1:])
    found = ("".join(body.split()) for body, end, _rest in parts if end)
    return [hashlib.sha256(body.encode()).hexdigest()[:16] for body in found]
