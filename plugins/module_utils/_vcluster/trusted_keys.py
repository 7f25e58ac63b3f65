# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""By which CAs and keys the API server of a virtual cluster knows its clients, and whether these are those of before.

k3s lets a client replace them whose certificate has the group k3s:server, and an administrator inside can have one
signed. Nothing ends what that one signs from then on, but it can be seen. What is noted is out of reach from inside.
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
    """Fingerprints, without that of the platform's own CA (PEM), and the names of keys."""
    published = (api.get(*PUBLISHED) or {}).get("data") or {}
    mine = set(_fingerprints(own or ""))
    found = {key: sorted(set(_fingerprints(published.get(key) or "")) - mine) for key in _CAS}
    return {**found, _KEYS: sorted(key["kid"] for key in json.loads(api.text(_JWKS))["keys"])}


def is_whole(found: Trusted) -> bool:
    """A server publishes the CAs of k3s some moments after its start."""
    return all(found.values())


def noted(secret: dict | None) -> Trusted | None:
    text = ((secret or {}).get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    return json.loads(text) if text else None


def note(host: Cluster, namespace: str, found: Trusted | None) -> None:
    text = found and json.dumps(found, sort_keys=True)
    host.merge(SECRET, CLIENT_CA, namespace, {"metadata": {"annotations": {ANNOTATION: text}}})


def keep(host: Cluster, api: Cluster, namespace: str) -> None:
    """Once, before anybody but the platform was there."""
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
    """What is trusted now and was not when it was noted. Empty where nothing was."""
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
