"""What the host says of its objects, in the virtual cluster's words: nobody inside knows the names there. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from tenantry_syncer import naming
from tenantry_syncer.translate import service_variables

# The host's scheduler tells for whom a node is tainted.
_TAINT = re.compile(r" \{[^{}]*\}")
_HASHED = re.compile(rf"(?<![A-Za-z0-9-])[a-z0-9][a-z0-9-]*-[0-9a-f]{{{naming.NAME_HASH}}}(?![A-Za-z0-9])")


def told_inside(text: str, host: Mapping, obj: Mapping | None, namespace: str) -> str:
    """A message about `host`, which stands for `obj` (None: who knows), in the namespace of that name."""
    inside = naming.virtual_key(host)
    if "taint" in text:
        text = _TAINT.sub("", text)
    if inside:
        text = naming.renamed(text, _called(host, inside, namespace))
        if obj and _HASHED.search(text):
            references = _references(obj, namespace)
            text = naming.renamed(text, {name: one for name, one in references.items() if name in text})
    # In quotes it is the namespace that somebody asked for; elsewhere, in whatever longer name, it says nothing inside.
    return text.replace(f'"{namespace}"', f'"{inside[0]}"' if inside else '"host"').replace(namespace, "host")


def renamed_hashed(text: str, name_inside: Callable[[str], str | None]) -> str:
    """With what other objects are called inside, as far as anybody knows that."""
    return _HASHED.sub(lambda found: name_inside(found[0]) or found[0], text)


def _called(host: Mapping, inside: tuple[str, str], namespace: str) -> dict[str, str]:
    name, uid = host["metadata"]["name"], host["metadata"].get("uid")
    found = {
        f"{namespace}/{name}": "/".join(inside),
        f"{name}_{namespace}": f"{inside[1]}_{inside[0]}",  # as kubelets do
        f"{name}-tokens": f"service account token of {inside[1]}",
        name: inside[1],
        **{service_variables.host_name(inside[0], one): "variables of services" for one in service_variables.VARIANTS},
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
        copy = naming.host_name(own, one)
        found |= {f"{namespace}/{copy}": f"{own}/{one}", copy: one}
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
