# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""JMESPath queries of what the platform returns. Pure."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line, shown

try:
    import jmespath
except ImportError:
    jmespath = None  # reported by search(): only a query needs it


def check(expression: str, field: str = "query") -> None:
    """Raise a TenantryError if the expression is invalid for any data, or the package jmespath is missing."""
    _run(expression, field, lambda _compiled: None)


def search(expression: str, data: Any, field: str = "query") -> Any:
    """What the expression selects of `data`, as plain types. Raises a TenantryError if it is invalid."""
    # Ansible tags its strings, and JMESPath's functions take exact types only.
    return _run(expression, field, lambda compiled: compiled.search(_plain(data)))


def _run(expression: str, field: str, use: Callable[[Any], Any]) -> Any:
    if jmespath is None:
        raise TenantryError(
            f"{field}: needs the Python package jmespath, which is missing for {sys.executable}. Install it there"
        )
    try:
        return use(jmespath.compile(_plain(expression)))
    except jmespath.exceptions.JMESPathError as error:
        raise TenantryError(
            f"{field}: {shown(expression)} is not a valid query: {one_line(error)}. Correct it; "
            "https://jmespath.org describes the language"
        ) from None


def select(expression: str, rows: list[dict], key: str, example: str, field: str = "query") -> list[dict]:
    """The rows that the expression selects, by the value of `key`, in their order. `example` shows a right query."""
    found = search(expression, rows, field)
    known = {row[key] for row in rows}
    chosen = {one[key] for one in found if _has_text(one, key)} if isinstance(found, list) else None
    if chosen is None or len(chosen) < len(found) or not chosen <= known:
        raise TenantryError(
            f"{field}: {shown(expression)} does not select rows, but returns {shown(found)}. "
            f"Set a filter such as {example}"
        )
    return [row for row in rows if row[key] in chosen]


def _has_text(item: Any, key: str) -> bool:
    return isinstance(item, dict) and isinstance(item.get(key), str)


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
