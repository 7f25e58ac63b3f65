"""What of an object is kept in memory: all of a small one, of any other no more than what is needed to know it again.

A tenant decides how large an object is and how many small parts it has. So nothing is parsed before it is known what
that would take, and one that would take too much is known by the beginning of its metadata alone. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from tenantry_syncer import naming

# Bytes of JSON up to which an object is kept whole.
SMALL = 16 * 1024
# What parsing may take, and what an object that is passed on may: the host adds who manages which of its fields.
HEAVIEST = 8 * 1024 * 1024
HEAVIEST_PASSED_ON = 2 * 1024 * 1024

_MARK = "tenantry.dev/reduced"
_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_ANNOTATIONS = (naming.NAMESPACE, naming.NAME, naming.UID, naming.RENEW)
_LABELS = (naming.MANAGED_BY, naming.COMPONENT, "kubernetes.io/service-name")
_SPEC = ("nodeName", "hostNetwork", "type", "clusterIP", "selector")
_STATUS = ("phase", "startTime", "hostIPs", "podIPs")
_LONGEST = 1024
# API servers write an object's fields in this order; none of these values holds a quote.
_HEAD = re.compile(
    rb'"metadata":\{((?:"(?:name|generateName|namespace|selfLink|uid|resourceVersion)":"[^"]*",?'
    rb'|"(?:creationTimestamp|deletionTimestamp)":(?:"[^"]*"|null),?'
    rb'|"(?:generation|deletionGracePeriodSeconds)":\d+,?)+)'
)
_TYPE = re.compile(rb'\{"type":"([A-Z]+)","object":')
_LIST = re.compile(rb'"metadata":(\{[^{}]*\})')
HEAD_BYTES = 8 * 1024


def weight(raw: bytes | bytearray) -> int:
    """About the bytes that parsing this takes at most: each text, list and object has a size of its own."""
    return len(raw) + 32 * raw.count(b'"') + 200 * raw.count(b"{") + 64 * raw.count(b"[")


def is_reduced(obj: Mapping) -> bool:
    return _MARK in obj


def parsed(raw: bytes | bytearray) -> dict:
    """The object without what nobody here reads, or its head."""
    if weight(raw) > HEAVIEST:
        return head(raw)
    obj = json.loads(raw)
    if isinstance(obj, dict):
        without_managers(obj)
    return obj


def without_managers(obj: dict) -> dict:
    """Who manages which field is often the largest part."""
    if isinstance(obj.get("metadata"), dict):
        obj["metadata"].pop("managedFields", None)
    return obj


def head(raw: bytes | bytearray, start: int = 0) -> dict:
    """The beginning of an object's metadata, as far as nobody can make it long. Raises ValueError."""
    found = _HEAD.search(raw, start, start + HEAD_BYTES)
    if not found:
        raise ValueError("an object without metadata")
    return {"metadata": json.loads(b"{%b}" % found[1].rstrip(b",")), "spec": {}, "status": {}, _MARK: True}


def event(raw: bytes, *, heads: bool = False) -> tuple[str, dict]:
    """A line of a watch; with `heads` no more than the head of the object that it tells of."""
    kind = _TYPE.match(raw)
    if kind and kind[1] != b"ERROR" and (heads or weight(raw) > HEAVIEST):
        return kind[1].decode(), head(raw, kind.end())
    given = json.loads(raw)
    return given["type"], without_managers(given["object"])


def page(raw: bytes | bytearray) -> tuple[list[dict], dict]:
    """The objects of a page of a list, and the list's own metadata."""
    if weight(raw) <= HEAVIEST:
        given = json.loads(raw)
        # An empty list of metadata is null.
        return [without_managers(item) for item in given["items"] or []], given["metadata"]
    start = raw.index(b'"items":[')
    found = _LIST.search(raw, 0, start)
    if not found:
        raise ValueError("a list without metadata")
    return [head(raw, start)], json.loads(found[1])


def dumped(obj: dict) -> bytes:
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def lookup_fields(obj: dict) -> dict:
    """What a large object is known by: enough to find it, to delete it, and to see what belongs to it."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    made: dict = {"metadata": _picked(metadata, _METADATA), "spec": _picked(spec, _SPEC), _MARK: True}
    made["status"] = _picked(status, _STATUS)
    for field, always in (("labels", _LABELS), ("annotations", _ANNOTATIONS)):
        given = metadata.get(field) or {}
        made["metadata"][field] = _picked(given, always if field == "annotations" or _is_long(given) else given)
    return made


def _picked(given: Mapping, wanted: Mapping | tuple[str, ...]) -> dict:
    """Of what is long, that it is there."""
    return {key: True if _is_long(given[key]) else given[key] for key in wanted if key in given}


def _is_long(value: object) -> bool:
    return isinstance(value, (str, dict, list)) and len(json.dumps(value)) > _LONGEST
