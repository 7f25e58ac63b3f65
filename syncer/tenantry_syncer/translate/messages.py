"""Translate messages of the host to the names of the virtual cluster. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from tenantry_syncer import naming
from tenantry_syncer.translate import service_variables

# Keys and values of taints in messages of the host's scheduler.
_TAINT = re.compile(r" \{[^{}]*\}")
_HASHED = re.compile(rf"(?<![A-Za-z0-9-])[a-z0-9][a-z0-9-]*-[0-9a-f]{{{naming.NAME_HASH}}}(?![A-Za-z0-9])")


def to_virtual(text: str, host: Mapping, obj: Mapping | None, namespace: str) -> str:
    """Translate a message about the host object `host` of `obj` (None: unknown) in the host namespace `namespace`."""
    key = naming.virtual_key(host)
    if "taint" in text:
        text = _TAINT.sub("", text)
    if key:
        text = naming.replace_names(text, _called(host, key, namespace))
        if obj and _HASHED.search(text):
            references = _references(obj, namespace)
            text = naming.replace_names(text, {name: one for name, one in references.items() if name in text})
    # In quotes, it is the namespace of the object; elsewhere, it is part of a name that means nothing to the tenant.
    return text.replace(f'"{namespace}"', f'"{key[0]}"' if key else '"host"').replace(namespace, "host")


def replace_hashed_names(text: str, virtual_name: Callable[[str], str | None]) -> str:
    """Replace host names of other objects by their virtual names, as far as known."""
    return _HASHED.sub(lambda found: virtual_name(found[0]) or found[0], text)


def _called(host: Mapping, key: tuple[str, str], namespace: str) -> dict[str, str]:
    name, uid = host["metadata"]["name"], host["metadata"].get("uid")
    found = {
        f"{namespace}/{name}": "/".join(key),
        f"{name}_{namespace}": f"{key[1]}_{key[0]}",  # as kubelets write it
        f"{name}-tokens": f"service account token of {key[1]}",
        name: key[1],
        **{service_variables.host_name(key[0], one): "variables of services" for one in service_variables.VARIANTS},
    }
    if uid and (virtual := naming.virtual_uid(host)):
        found[uid] = virtual
    return found


def _references(obj: Mapping, namespace: str) -> dict[str, str]:
    """Map host names to virtual names of all that the object may reference, including claims of ephemeral volumes."""
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
