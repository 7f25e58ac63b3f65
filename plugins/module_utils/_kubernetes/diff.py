# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Predict whether applying an object would change it. Pure functions over plain dictionaries.

No apply is needed if all desired fields have their value, and no field that an earlier apply set is missing from the
desired ones. `metadata.managedFields` has the fields of earlier applies as fieldsV1: a tree of `f:NAME` for fields,
`k:{"KEY": …}` for items of a list merged by keys, `v:VALUE` for items of a set. A list without such children is
replaced as a whole.
"""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import FIELD_MANAGER
from ansible_collections.tenantry.kube.plugins.module_utils._core.quantities import same
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.secret_data import encoded

_QUANTITY_MAPS = frozenset({"default", "defaultRequest", "hard", "limits", "max", "min", "requests"})
_QUANTITY_FIELDS = frozenset({"divisor", "sizeLimit"})

# Maps that an apply replaces as a whole, as it does the items of a list without keys.
_ATOMIC_MAPS = frozenset(
    {"labelSelector", "matchLabels", "namespaceSelector", "nodeSelector", "podSelector", "selector"}
)
# Within those, what the server fills in by itself.
_DEFAULTS = {
    "apiGroup": "rbac.authorization.k8s.io",
    "matchPolicy": "Equivalent",
    "protocol": "TCP",
    "scope": "*",
}
# Full of defaults, but immutable.
_IMMUTABLE = frozenset({"volumeClaimTemplates"})

Path = tuple[str, ...]
Fields = dict[str, Any]


def differences(desired: dict[str, Any], live: dict[str, Any]) -> list[str]:
    """Return the paths that applying `desired` would change. Empty: nothing to do."""
    found: list[Path] = []
    _compare(normal(desired), live, owned_fields(live), (), found)
    return [_text(path) for path in found]


def additions(desired: dict[str, Any], live: dict[str, Any]) -> list[str]:
    """Return the paths that `live` has beyond `desired`, without metadata, status and defaults.

    An apply leaves fields of others alone, and such a field can disable a rule.
    """
    found: list[Path] = []
    wanted = normal(desired)
    for key in content_of(live):
        _find_additions(wanted.get(key), live[key], (key,), found)
    return [_text(path) for path in found]


def content_of(obj: dict[str, Any]) -> list[str]:
    """Return the top-level fields with the content of an object."""
    return sorted({*obj} - {"apiVersion", "kind", "metadata", "status"})


def _find_additions(desired: Any, live: Any, path: Path, found: list[Path]) -> None:
    if isinstance(desired, dict) and isinstance(live, dict):
        for key, value in live.items():
            _find_additions(desired.get(key), value, (*path, key), found)
    elif isinstance(desired, list) and isinstance(live, list):
        if len(live) > len(desired):
            found.append(path)
        for index, (want, have) in enumerate(zip(desired, live, strict=False)):
            _find_additions(want, have, (*path, str(index)), found)
    elif desired is None and not _is_default(path[-1], live):
        found.append(path)


def normal(obj: dict[str, Any]) -> dict[str, Any]:
    """Return the object as it is applied: without nulls, and with a Secret's stringData in data."""
    clean = _without_nulls(obj)
    if "stringData" in clean:
        plain = clean.pop("stringData")
        clean["data"] = {**clean.get("data", {}), **{key: encoded(value) for key, value in plain.items()}}
    return clean


def owned_fields(live: dict[str, Any]) -> Fields | None:
    """Return the fields that the platform applied, as a fieldsV1 tree, or None if it never did."""
    for entry in live["metadata"].get("managedFields") or []:
        ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        if ours and not entry.get("subresource"):
            return entry.get("fieldsV1")
    return None


def managed_part(live: dict[str, Any], desired: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of the live object that the platform sets or set before, for a diff."""
    return _part(live, normal(desired), owned_fields(live))


def redacted(
    obj: dict[str, Any] | None, other: dict[str, Any] | None = None, *, mark: str = ""
) -> dict[str, Any] | None:
    """Return the object without a Secret's content. Values that differ from `other` get the `mark`."""
    if obj is None or obj.get("kind") != "Secret":
        return obj
    shown = copy.deepcopy(normal(obj))
    data = shown.get("data") or {}
    others = (normal(other).get("data") or {}) if other else data
    for key, value in data.items():
        size = len(base64.b64decode(value))
        note = f", {mark}" if mark and others.get(key) != value else ""
        data[key] = f"<redacted: {size} bytes{note}>"
    shown["metadata"].get("annotations", {}).pop("kubectl.kubernetes.io/last-applied-configuration", None)
    return shown


def _compare(desired: Any, live: Any, owned: Fields | None, path: Path, found: list[Path]) -> None:
    if isinstance(desired, dict) and isinstance(live, dict):
        _compare_fields(desired, live, owned, path, found)
    elif isinstance(desired, list) and isinstance(live, list):
        _compare_items(desired, live, owned, path, found)
    elif not _equal(desired, live, path):
        found.append(path)


def _compare_fields(desired: dict, live: dict, owned: Fields | None, path: Path, found: list[Path]) -> None:
    for key, value in desired.items():
        have, mine = live.get(key), _below(owned, f"f:{key}")
        if have is not None:
            _compare(value, have, mine, (*path, key), found)
        elif not _dropped(value, mine):
            found.append((*path, key))
    whole = _is_whole(path)
    for key, have in live.items():
        ours = f"f:{key}" in (owned or {})
        if key not in desired and (ours or (whole and not _is_default(key, have))):
            found.append((*path, key))


def _compare_items(desired: list, live: list, owned: Fields | None, path: Path, found: list[Path]) -> None:
    if owned and any(field.startswith("k:") for field in owned):
        _compare_keyed(desired, live, owned, path, found)
    elif owned and any(field.startswith("v:") for field in owned):
        ours = [json.loads(field[2:]) for field in owned if field.startswith("v:")]
        if any(item not in live for item in desired) or any(item not in desired and item in live for item in ours):
            found.append(path)
    elif len(desired) != len(live):
        found.append(path)
    else:
        for index, (want, have) in enumerate(zip(desired, live, strict=True)):
            _compare(want, have, owned, (*path, str(index)), found)


def _compare_keyed(desired: list, live: list, owned: Fields, path: Path, found: list[Path]) -> None:
    """Compare a list merged by keys: items of others stay, and the server decides the order."""
    unknown = list(desired)
    for field, subtree in owned.items():
        if not field.startswith("k:"):
            continue
        keys = json.loads(field[2:])
        # A key that has a default (a port's protocol) may be missing in what we say, never in what is live.
        want = next((i for i in unknown if all(i.get(key, value) == value for key, value in keys.items())), None)
        have = next((i for i in live if all(i.get(key) == value for key, value in keys.items())), None)
        if want is not None:
            unknown.remove(want)
        if want is not None and have is not None:
            _compare(want, have, subtree, (*path, _name(keys)), found)
        elif want is not None or have is not None:
            found.append((*path, _name(keys)))
    found.extend((*path, str(desired.index(item))) for item in unknown)


def _name(keys: dict[str, Any]) -> str:
    return ",".join(str(value) for value in keys.values())


def _below(owned: Fields | None, field: str) -> Fields | None:
    """Return the subtree of a field. Everything below a leaf is the platform's, applied as one value."""
    return owned.get(field) if owned else owned


def _is_whole(path: Path) -> bool:
    """Return whether the map at the path is replaced as a whole, so that other live keys would vanish."""
    in_list = any(part.isdigit() for part in path) and not _IMMUTABLE.intersection(path)
    return in_list or (bool(path) and path[-1] in _ATOMIC_MAPS)


def _is_default(key: str, value: Any) -> bool:
    return not value or _DEFAULTS.get(key) == value


def _equal(desired: Any, live: Any, path: Path) -> bool:
    if isinstance(desired, bool) or isinstance(live, bool):
        return desired is live
    if desired == live:
        return True
    is_quantity = bool(path) and (path[-1] in _QUANTITY_FIELDS or (len(path) > 1 and path[-2] in _QUANTITY_MAPS))
    return is_quantity and same(desired, live)


def _dropped(value: Any, owned: Fields | None) -> bool:
    """Return whether the server may have omitted the value because it is the zero value of its type.

    It may for empty maps and lists. For false, 0 and "", a removed field looks the same, but is then no longer among
    the applied ones.
    """
    if isinstance(value, dict):
        return all(_dropped(item, _below(owned, f"f:{key}")) for key, item in value.items())
    if isinstance(value, list):
        return not value
    return owned is not None and not value


def _part(live: Any, desired: Any, owned: Fields | None) -> Any:
    def ours(key: str, value: Any) -> bool:
        return key in desired or (not _is_default(key, value) if owned == {} else f"f:{key}" in (owned or {}))

    if isinstance(live, dict) and isinstance(desired, dict):
        return {
            key: _part(value, desired.get(key), _below(owned, f"f:{key}"))
            for key, value in live.items()
            if ours(key, value)
        }
    if isinstance(live, list) and isinstance(desired, list) and len(live) == len(desired):
        return [_part(have, want, owned) for have, want in zip(live, desired, strict=True)]
    return live


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value


def _text(path: Path) -> str:
    """Return a path such as `spec.template`, with brackets around keys that contain dots or slashes."""
    text = "".join(f"[{part}]" if "." in part or "/" in part else f".{part}" for part in path)
    return text.removeprefix(".")
