"""Names and labels of a virtual cluster's objects on the host. Pure.

All of them share one namespace on the host with the virtual cluster's own control plane. Every name ends in a hash of
namespace and name, so that no two collide and no tenant can cause a collision with an object of the platform.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping

MANAGED_BY = "app.kubernetes.io/managed-by"
SYNCER = "tenantry-syncer"
COMPONENT = "app.kubernetes.io/component"
NAMESPACE_LABEL = "tenantry.dev/virtual-namespace"
TENANT_LABELS = "x.tenantry.dev/"

NAMESPACE = "tenantry.dev/namespace"
NAME = "tenantry.dev/name"
UID = "tenantry.dev/uid"
# When the tokens in a Secret are due for renewal.
RENEW = "tenantry.dev/renew"
NODE = "tenantry.dev/node"  # the UID of the virtual node that the tokens in a Secret name
BUNDLES = "tenantry.dev/trust-bundles"  # a hash of those in a token Secret

# Maximum length of a label value and of a Service name.
LIMIT = 63
_HASH = 10
# Longer for names than for labels: a user limited to one namespace must not find a collision with another's object.
NAME_HASH = 16
_KEY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")


def digest(text: str, length: int = _HASH) -> str:
    """Return the first characters of the text's SHA-256."""
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def host_name(namespace: str, name: str, uid: str = "") -> str:
    """Return the name on the host: readable, at most 63 characters, unique for each namespace and name.

    With a UID, the name is unique to that object, for use while an earlier object of the same name still exists.
    """
    readable = re.sub(r"[^a-z0-9-]", "-", f"{name}-{namespace}")[: LIMIT - NAME_HASH - 1].rstrip("-")
    whole = f"{namespace}/{name}/{uid}" if uid else f"{namespace}/{name}"
    return f"{readable}-{digest(whole, NAME_HASH)}"


def label_key(key: str) -> str:
    """Return a tenant's label key on the host: under a prefix of its own, which no policy of the host selects on."""
    if _KEY.fullmatch(key):
        return TENANT_LABELS + key
    return f"{TENANT_LABELS}{key.replace('/', '_')[:54]}-{digest(key, 8)}"


def host_labels(labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the tenant's labels as labels on the host, with a prefix."""
    return {label_key(key): value for key, value in (labels or {}).items()}


def pod_labels(namespace: str, labels: Mapping[str, str] | None) -> dict[str, str]:
    """Return the labels of a host pod: the tenant's, and one that identifies the virtual namespace."""
    return {**host_labels(labels), NAMESPACE_LABEL: digest(namespace)}


def host_selector(selector: Mapping | None) -> dict:
    """Translate a label selector to the label keys on the host."""
    selector = selector or {}
    found: dict = {}
    if selector.get("matchLabels"):
        found["matchLabels"] = host_labels(selector["matchLabels"])
    if selector.get("matchExpressions"):
        found["matchExpressions"] = [{**one, "key": label_key(one["key"])} for one in selector["matchExpressions"]]
    return found


def virtual_key(obj: Mapping) -> tuple[str, str] | None:
    """Return namespace and name in the virtual cluster of a host object; None if the syncer does not manage it."""
    metadata = obj["metadata"]
    notes = metadata.get("annotations") or {}
    if (metadata.get("labels") or {}).get(MANAGED_BY) != SYNCER or NAME not in notes:
        return None
    return notes.get(NAMESPACE, ""), notes[NAME]


def virtual_uid(obj: Mapping) -> str | None:
    """Return the UID of the virtual object that a host object was created for."""
    return (obj["metadata"].get("annotations") or {}).get(UID)


def metadata(labels: Mapping[str, str], component: str, virtual: Mapping, name: str | None = None) -> dict:
    """Return the metadata of the host object for a virtual object."""
    given = virtual["metadata"]
    namespace = given.get("namespace", "")
    return {
        "name": name or host_name(namespace, given["name"]),
        "labels": {**labels, MANAGED_BY: SYNCER, COMPONENT: component},
        "annotations": {NAMESPACE: namespace, NAME: given["name"], UID: given["uid"]},
    }


def _always(text: str) -> Callable[[re.Match[str]], str]:
    return lambda _found: text


def replace_names(text: str, new_names: Mapping[str, str]) -> str:
    """Replace whole names in a text: `web` does not match in `web-1`."""
    for old, new in new_names.items():
        text = re.sub(rf"(?<![A-Za-z0-9-]){re.escape(old)}(?![A-Za-z0-9-])", _always(new), text)
    return text
