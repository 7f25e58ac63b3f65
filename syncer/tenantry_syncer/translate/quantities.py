"""Quantities of Kubernetes, such as 100m and 128Mi. Pure."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def parse(quantity: str) -> Decimal:
    """Return the number of a quantity: with a suffix, an exponent or neither. Raise a ValueError if it is none."""
    try:
        if power := _BINARY.get(quantity[-2:]):
            return Decimal(quantity[:-2]) * 1024**power
        if exponent := _DECIMAL.get(quantity[-1:]):
            return Decimal(quantity[:-1]).scaleb(exponent)
        return Decimal(quantity)
    except InvalidOperation:
        raise ValueError(f"{quantity} is not a quantity") from None


def text(number: Decimal) -> str:
    """Return a quantity, in milli-units if it is not a whole number, as for CPU."""
    return str(int(number)) if number == int(number) else f"{int(number * 1000)}m"


def larger(one: str, other: str) -> str:
    """Return the larger of two quantities."""
    return one if parse(one) >= parse(other) else other


def smaller(one: str, other: str) -> str:
    """Return the smaller of two quantities."""
    return one if parse(one) <= parse(other) else other
