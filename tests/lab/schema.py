"""Objects made of the API's own schema: each field of it, with one value and with another."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from .harness import ran

Path_ = tuple[str, ...]


def schemas(kubeconfig: Path, group: str) -> dict[str, dict]:
    """By their short names, such as `PodSpec`; `group` is such as `api/v1`."""
    found = json.loads(ran(kubeconfig, "get", "--raw", f"/openapi/v3/{group}"))["components"]["schemas"]
    return {name.rpartition(".")[2]: schema for name, schema in found.items()}


def leaves(known: Mapping[str, dict], name: str, path: Path_ = ()) -> Iterator[str]:
    """The fields that have no fields of their own, such as `rules.http.paths.path`: lists are left out."""
    for field, schema in known[name]["properties"].items():
        inner = _object(known, schema)
        if inner:
            yield from leaves(known, inner, (*path, field))
        else:
            yield ".".join((*path, field))


def required(known: Mapping[str, dict], name: str, path: Path_ = ()) -> Iterator[str]:
    """Those of them that an object must have where it is there at all."""
    for field, schema in known[name]["properties"].items():
        if inner := _object(known, schema):
            yield from required(known, inner, (*path, field))
        elif field in known[name].get("required", ()):
            yield ".".join((*path, field))


def sample(
    known: Mapping[str, dict],
    name: str,
    values: Mapping[str, tuple[Any, Any]],
    number: int,
    without: Collection[str] = (),
    path: Path_ = (),
) -> dict:
    """An object with all fields, with their first (0) or second (1) values. Each list has one item.

    `values` are by leaf, or by the end of one. `without` are leaves, or objects.
    """
    made = {}
    for field, schema in known[name]["properties"].items():
        dotted = ".".join((*path, field))
        if dotted in without:
            continue
        inner = _object(known, schema)
        if inner:
            value = sample(known, inner, values, number, without, (*path, field))
            if value:
                made[field] = [value] if schema.get("type") == "array" else value
        else:
            made[field] = _value(known, dotted, schema, values, number)
    return made


def _value(known: Mapping, dotted: str, schema: dict, values: Mapping[str, tuple[Any, Any]], number: int) -> Any:
    ends = (dotted.split(".", at)[-1] for at in range(dotted.count(".") + 1))
    for end in ends:
        if end in values:
            return values[end][number]
    if "additionalProperties" in schema:
        is_amount = "Quantity" in json.dumps(schema)
        return {"cpu": f"{number + 1}m"} if is_amount else {"key": f"value-{number}"}
    if schema.get("type") == "array":
        return [f"value-{number}"]
    referred = next(iter(_references(schema)), None)
    schema = {**schema, **known[referred]} if referred else schema
    if schema.get("format") == "date-time":
        return f"2026-01-0{number + 1}T00:00:00Z"
    return {"integer": number + 1, "boolean": number == 0}.get(schema.get("type"), f"value-{number}")


def _object(known: Mapping[str, dict], schema: dict) -> str | None:
    """The object that a field is, or that it is a list of."""
    referred = next(iter(_references(schema)), None)
    return referred if referred and "properties" in known[referred] else None


def _references(schema: Any) -> Iterator[str]:
    if "$ref" in schema:
        yield schema["$ref"].rpartition("/")[2].rpartition(".")[2]
    for one in schema.get("allOf", ()):
        yield from _references(one)
    if "items" in schema:
        yield from _references(schema["items"])
