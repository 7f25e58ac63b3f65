# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Kubernetes quantities (`500m`, `2Gi`) and durations (`30d`), exactly, in Decimal."""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, require, shown

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_FACTORS = {**{s: Decimal(10) ** e for s, e in _DECIMAL.items()}, **{s: Decimal(1024) ** e for s, e in _BINARY.items()}}
_QUANTITY = re.compile(r"([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+))(?:([eE][+-]?[0-9]{1,2})|([a-zA-Z]*))", re.ASCII)
# Below it, sums are exact with the 28 digits of Decimal.
_TOO_LARGE = Decimal(10) ** 25
_RULE = "a number with an optional unit, such as 500m, 2, 10G or 10Gi"

_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:[0-9]{1,9}[dhms])+", re.ASCII)


def parse(value: object, field: str) -> Decimal:
    """Return the value in base units (cores, bytes, pieces).

    Raise a TenantryError if it is negative, too large or invalid.
    """
    amount = _amount(value)
    if amount is None:
        raise TenantryError(f"{field}: {shown(value)} is not a quantity{_unit_hint(value)}. Use {_RULE}")
    if amount < 0:
        raise TenantryError(f"{field}: {shown(value)} is negative. Use {_RULE}")
    if amount >= _TOO_LARGE:
        raise TenantryError(f"{field}: {shown(value)} is too large. Use less than {display(_TOO_LARGE)}")
    return amount


def same(one: object, other: object) -> bool:
    """Return whether both are quantities of the same value, such as `1000m` and `1`."""
    amount = _amount(one)
    return amount is not None and amount == _amount(other)


def canonical(value: object, field: str) -> str:
    """Return the shortest exact form in the same family of units, as the API server does."""
    return display(parse(value, field), binary=str(value).endswith("i"))


def display(amount: Decimal, *, binary: bool = False) -> str:
    """Return a quantity with the largest unit that keeps it a whole number, rounded up to thousandths."""
    if binary and amount >= 1024:
        for unit in reversed(_BINARY):
            if amount % _FACTORS[unit] == 0:
                return f"{int(amount / _FACTORS[unit])}{unit}"
    milli = (amount * 1000).to_integral_value(ROUND_CEILING)
    if milli % 1000:
        return f"{int(milli)}m"
    whole = milli / 1000
    for unit in ("E", "P", "T", "G", "M", "k"):
        if whole and whole % _FACTORS[unit] == 0:
            return f"{int(whole / _FACTORS[unit])}{unit}"
    return f"{int(whole)}"


def add(*values: object, field: str = "quantity") -> str:
    """Return the sum as a quantity, in binary units if any value has them."""
    total = sum((parse(value, field) for value in values), Decimal(0))
    return display(total, binary=any(str(value).endswith("i") for value in values))


def milli(value: object, field: str) -> int:
    """Return thousandths (for millicores), rounded up."""
    return int((parse(value, field) * 1000).to_integral_value(ROUND_CEILING))


def seconds(duration: object, field: str, minimum: str | None = None, maximum: str | None = None) -> int:
    """Return the seconds of `30d`, `12h`, `15m`, `90s` or `1d12h`. The bounds are inclusive durations."""
    length = _length(duration)
    if length is None:
        raise TenantryError(
            f"{field}: {shown(duration)} is not a duration. Use whole numbers with d, h, m or s, such as 30d or 12h"
        )
    if minimum is not None and length < require(_length(minimum), "the minimum"):
        raise TenantryError(f"{field}: {duration} is too short. Use {minimum} or more")
    if maximum is not None and length > require(_length(maximum), "the maximum"):
        raise TenantryError(f"{field}: {duration} is too long. Use {maximum} or less")
    return length


def _length(duration: object) -> int | None:
    if not isinstance(duration, str) or not _DURATION.fullmatch(duration):
        return None
    return sum(int(number) * _SECONDS[unit] for number, unit in re.findall(r"([0-9]+)([dhms])", duration))


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        return None
    number, exponent, unit = match.groups()
    if exponent:
        return Decimal(number + exponent)
    return Decimal(number) * _FACTORS[unit] if unit in _FACTORS else None


def _unit_hint(value: object) -> str:
    """Suggest units for `10gb`, `10GB` or `10K`."""
    match = _QUANTITY.fullmatch(str(value).strip())
    if not match or not match.group(3):
        return ""
    letter = match.group(3)[0].upper()
    if letter not in "KMGTPE":
        return ""
    return f" (did you mean {match.group(1)}{'k' if letter == 'K' else letter} or {match.group(1)}{letter}i?)"
