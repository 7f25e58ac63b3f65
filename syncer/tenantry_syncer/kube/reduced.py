"""Reduce objects to what is kept in memory: small objects whole, of others only the fields for lookups. Pure.

A tenant decides how large an object is and how many small parts it has. So the memory that parsing takes is estimated
first; of an object that would take too much, only the beginning of its metadata is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from tenantry_syncer import naming

# Bytes of JSON up to which an object is cached whole.
SMALL = 16 * 1024
# Bytes that parsing may take, and that an object for the host may take: the host adds managedFields.
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
_ANNOTATIONS = (naming.NAMESPACE, naming.NAME, naming.UID, naming.RENEW, naming.NODE, naming.BUNDLES)
_LABELS = (naming.MANAGED_BY, naming.COMPONENT, "kubernetes.io/service-name")
_SPEC = ("nodeName", "hostNetwork", "type", "clusterIP", "selector")
_STATUS = ("phase", "startTime", "hostIPs", "podIPs")
_LONGEST = 1024
# API servers write an object's fields in this order; none of these values contains a quote.
_HEAD = re.compile(
    rb'"metadata":\{((?:"(?:name|generateName|namespace|selfLink|uid|resourceVersion)":"[^"]*",?'
    rb'|"(?:creationTimestamp|deletionTimestamp)":(?:"[^"]*"|null),?'
    rb'|"(?:generation|deletionGracePeriodSeconds)":\d+,?)+)'
)
_TYPE = re.compile(rb'\{"type":"([A-Z]+)","object":')
_LIST = re.compile(rb'"metadata":(\{[^{}]*\})')
HEAD_BYTES = 8 * 1024


def weight(raw: bytes | bytearray) -> int:
    """Estimate the bytes that parsing takes at most: each string, list and object has an overhead."""
    return len(raw) + 32 * raw.count(b'"') + 200 * raw.count(b"{") + 64 * raw.count(b"[")


def is_reduced(obj: Mapping) -> bool:
    """Return whether only the lookup fields of the object are cached."""
    return _MARK in obj


def parsed(raw: bytes | bytearray) -> dict:
    """Parse an object, without managedFields; return only its head if parsing would take too much memory."""
    if weight(raw) > HEAVIEST:
        return head(raw)
    obj = json.loads(raw)
    if isinstance(obj, dict):
        without_managers(obj)
    return obj


def without_managers(obj: dict) -> dict:
    """Remove managedFields, often the largest part, and return the object."""
    if isinstance(obj.get("metadata"), dict):
        obj["metadata"].pop("managedFields", None)
    return obj


def head(raw: bytes | bytearray, start: int = 0) -> dict:
    """Return the beginning of an object's metadata, whose length a tenant cannot control. Raises ValueError."""
    found = _HEAD.search(raw, start, start + HEAD_BYTES)
    if not found:
        raise ValueError("object without metadata")
    return {"metadata": json.loads(b"{%b}" % found[1].rstrip(b",")), "spec": {}, "status": {}, _MARK: True}


def event(raw: bytes, *, heads: bool = False) -> tuple[str, dict]:
    """Parse a watch event into its type and object; with `heads`, only the object's head."""
    kind = _TYPE.match(raw)
    if kind and kind[1] != b"ERROR" and (heads or weight(raw) > HEAVIEST):
        return kind[1].decode(), head(raw, kind.end())
    given = json.loads(raw)
    return given["type"], without_managers(given["object"])


def page(raw: bytes | bytearray) -> tuple[list[dict], dict]:
    """Parse a page of a list into its objects and the metadata of the list. Raises ValueError."""
    if weight(raw) <= HEAVIEST:
        given = json.loads(raw)
        # In an empty list of metadata, items is null.
        return [without_managers(item) for item in given["items"] or []], given["metadata"]
    start = raw.index(b'"items":[')
    found = _LIST.search(raw, 0, start)
    if not found:
        raise ValueError("list without metadata")
    return [head(raw, start)], json.loads(found[1])


def dumped(obj: dict) -> bytes:
    """Return the object as compact JSON."""
    return json.dumps(obj, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")


def lookup_fields(obj: dict) -> dict:
    """Return the fields of a large object that are needed to find it, delete it and match its virtual object."""
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    result: dict = {"metadata": _picked(metadata, _METADATA), "spec": _picked(spec, _SPEC), _MARK: True}
    result["status"] = _picked(status, _STATUS)
    for field, always in (("labels", _LABELS), ("annotations", _ANNOTATIONS)):
        given = metadata.get(field) or {}
        result["metadata"][field] = _picked(given, always if field == "annotations" or _is_long(given) else given)
    return result


def _picked(given: Mapping, wanted: Mapping | tuple[str, ...]) -> dict:
    """Return the given keys; a long value is replaced by True."""
    return {key: True if _is_long(given[key]) else given[key] for key in wanted if key in given}


def _is_long(value: object) -> bool:
    return isinstance(value, (str, dict, list)) and len(json.dumps(value)) > _LONGEST
