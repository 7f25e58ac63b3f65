"""Translate the downward API, so that pods see their virtual metadata. Pure.

The kubelet would give name, labels and service account of the host pod. So each referenced field is stored in an
annotation of the host pod, and the reference points to it; the kubelet follows changes of annotations.
"""

from __future__ import annotations

import re

from tenantry_syncer import naming

ANNOTATION = "downward.tenantry.dev/"
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
# Fields whose value on the host is the right one, or the only one.
_HOST_FIELDS = ("spec.nodeName", "status.")
_ESCAPES = {character: f"\\{letter}" for character, letter in zip('\a\b\f\n\r\t\v\\"', 'abfnrtv\\"', strict=True)}


def reference(field_ref: dict) -> dict:
    """Return the field reference on the host: an annotation, for fields that differ there."""
    path = field_ref["fieldPath"]
    if path.startswith(_HOST_FIELDS):
        return field_ref
    return {"apiVersion": "v1", "fieldPath": f"metadata.annotations['{_annotation(path)}']"}


def pod_annotations(pod: dict) -> dict[str, str]:
    """Return the annotations that the pod's translated references point to."""
    paths = {path for path in _paths(pod) if not path.startswith(_HOST_FIELDS)}
    return {_annotation(path): value(pod, path) for path in sorted(paths)}


def value(pod: dict, path: str) -> str:
    """Return the value of a field as a kubelet of the virtual cluster would."""
    metadata = pod["metadata"]
    if match := _SUBSCRIPT.fullmatch(path):
        return (metadata.get(match[1]) or {}).get(match[2], "")
    if path in ("metadata.labels", "metadata.annotations"):
        found = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f"{key}={_quoted(found[key])}" for key in sorted(found))
    if path == "spec.serviceAccountName":
        return pod["spec"].get("serviceAccountName", "")
    return str(metadata.get(path.partition(".")[2], ""))


def _quoted(text: str) -> str:
    """Quote as Go's %q, which the kubelet uses for maps."""
    return f'"{"".join(map(_escaped, text))}"'


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _annotation(path: str) -> str:
    return ANNOTATION + naming.digest(path)


def _paths(pod: dict) -> list[str]:
    spec = pod["spec"]
    holders = [
        env.get("valueFrom") or {}
        for group in ("initContainers", "containers", "ephemeralContainers")
        for one in spec.get(group) or []
        for env in one.get("env") or []
    ]
    for volume in spec.get("volumes") or []:
        holders += (volume.get("downwardAPI") or {}).get("items") or []
        for source in (volume.get("projected") or {}).get("sources") or []:
            holders += (source.get("downwardAPI") or {}).get("items") or []
    return [one["fieldRef"]["fieldPath"] for one in holders if "fieldRef" in one]
