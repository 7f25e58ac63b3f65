"""What the host says of its objects, in the virtual cluster's words: nobody inside knows the names there. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from tenantry_syncer import naming
from tenantry_syncer.translate import service_variables

# The host's scheduler tells for whom a node is tainted.
_TAINT = re.compile(r" \{[^{}]*\}")
_HASHED = re.compile(rf"(?<![A-Za-z0-9-])[a-z0-9][a-z0-9-]*-[0-9a-f]{{{naming.NAME_HASH}}}(?![A-Za-z0-9])")


def to_virtual(text: str, host: Mapping, obj: Mapping | None, namespace: str) -> str:
    """A message about `host`, which stands for `obj` (None: who knows), in the namespace of that name."""
    key = naming.virtual_key(host)
    if "taint" in text:
        text = _TAINT.sub("", text)
    if key:
        text = naming.replace_names(text, _called(host, key, namespace))
        if obj and _HASHED.search(text):
            references = _references(obj, namespace)
            text = naming.replace_names(text, {name: one for name, one in references.items() if name in text})
    # In quotes it is the namespace that somebody asked for; elsewhere, in whatever longer name, it says nothing inside.
    return text.replace(f'"{namespace}"', f'"{key[0]}"' if key else '"host"').replace(namespace, "host")


def replace_hashed_names(text: str, virtual_name: Callable[[str], str | None]) -> str:
    """With what other objects are called inside, as far as anybody knows that."""
    return _HASHED.sub(lambda found: virtual_name(found[0]) or found[0], text)


def _called(host: Mapping, key: tuple[str, str], namespace: str) -> dict[str, str]:
    name, uid = host["metadata"]["name"], host["metadata"].get("uid")
    found = {
        f"{namespace}/{name}": "/".join(key),
        f"{name}_{namespace}": f"{key[1]}_{key[0]}",  # as kubelets do
        f"{name}-tokens": f"service account token of {key[1]}",
        name: key[1],
        **{service_variables.host_name(key[0], one): "variables of services" for one in service_variables.VARIANTS},
    }
    if uid and (virtual := naming.virtual_uid(host)):
        found[uid] = virtual
    return found


def _references(obj: Mapping, namespace: str) -> dict[str, str]:
    """By their names on the host: all that the object may name, and the claims of its ephemeral volumes."""
    own, name = obj["metadata"].get("namespace", ""), obj["metadata"]["name"]
    spec = obj.get("spec") or {}
    mentioned = set(_strings(spec)) | {f"{name}-{one['name']}" for one in spec.get("volumes") or [] if "name" in one}
    found: dict[str, str] = {}
    for one in mentioned:
        host_name = naming.host_name(own, one)
        found |= {f"{namespace}/{host_name}": f"{own}/{one}", host_name: one}
    return found


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from _strings(one)
    elif isinstance(value, str) and len(value) <= 253:
        yield value
