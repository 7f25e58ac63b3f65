# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Labels, taints and tolerations, as Kubernetes defines them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

OPERATORS = ("Equal", "Exists")
EXISTS = "Exists"
_KEY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)


@dataclass(frozen=True)
class Taint:
    """A taint of a node or of a host, whose effect the context defines."""

    key: str
    value: str = ""

    def __str__(self) -> str:
        return f"{self.key}={self.value}" if self.value else self.key


@dataclass(frozen=True)
class Toleration:
    """A toleration. With the operator Exists, an empty key tolerates every taint."""

    key: str = ""
    operator: str = OPERATORS[0]
    value: str = ""

    @classmethod
    def of(cls, given: Mapping) -> Toleration:
        """Return it for a dictionary with the keys of a pod's toleration."""
        return cls(given.get("key") or "", given.get("operator") or OPERATORS[0], given.get("value") or "")

    def tolerates(self, taint: Taint) -> bool:
        if self.operator == EXISTS:
            return self.key in ("", taint.key)
        return (self.key, self.value) == (taint.key, taint.value)


def untolerated(taints: Iterable[Taint], tolerations: Iterable[Toleration]) -> list[Taint]:
    """Return the taints that no toleration tolerates."""
    tolerations = tuple(tolerations)
    return [taint for taint in taints if not any(one.tolerates(taint) for one in tolerations)]


def is_key(text: object) -> bool:
    """Return whether it is the key of a label or taint, with or without a prefix."""
    return isinstance(text, str) and bool(_KEY.fullmatch(text))


def is_value(text: object) -> bool:
    """Return whether it is the value of a label or taint, which may be empty."""
    return isinstance(text, str) and bool(_VALUE.fullmatch(text))


def check_labels(given: Mapping, field: str) -> dict[str, str]:
    """Return the labels. Raise a TenantryError for a key or value that Kubernetes rejects."""
    for key, value in given.items():
        if not is_key(key) or not is_value(value):
            raise TenantryError(
                f"{field}: {shown({key: value})} is not a label. Set a key such as region or example.com/tier, and a "
                "text of up to 63 letters, digits, -, _ and . (quote numbers and booleans)"
            )
    return dict(given)


def check_key(given: object, field: str) -> str:
    """Return the key of a label or taint. Raise a TenantryError if it is none."""
    if not isinstance(given, str) or not is_key(given):
        raise TenantryError(f"{field}: {shown(given)} is not the key of a label. Use one such as region")
    return given


def check_taints(given: Iterable[Mapping], field: str) -> tuple[Taint, ...]:
    """Return the taints, sorted. Raise a TenantryError for a key or value that Kubernetes rejects."""
    found = set()
    for one in given:
        key, value = check_key(one["key"], f"{field}.key"), one.get("value") or ""
        if not is_value(value):
            raise TenantryError(
                f"{field}.value: {shown(value)} is not the value of a taint. Use up to 63 letters, digits, -, _ and ."
            )
        found.add(Taint(key, value))
    return tuple(sorted(found, key=str))
