"""What a pod takes on the host, where a quota wants every limit told. Pure.

What the tenant set stays as it is. What is left open gets the virtual cluster's defaults, or more, so that nothing
contradicts what was set: a limit is never below its request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

Defaults = Mapping[str, Mapping[str, str]]

_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def fill(made: dict, spec: dict, defaults: Defaults) -> None:
    """Complete the host's pod: by container, and for what the pod asks for as a whole, by pod."""
    set_by_pod: dict[str, dict[str, str]] = {}
    if spec.get("resources"):
        set_by_pod = {kind: dict(spec["resources"].get(kind) or {}) for kind in ("limits", "requests")}
        for name in set_by_pod["requests"].keys() & defaults["limits"].keys() - set_by_pod["limits"].keys():
            set_by_pod["limits"][name] = _limit_of_pod(name, set_by_pod["requests"][name], spec, defaults)
        made["resources"] = {kind: amounts for kind, amounts in set_by_pod.items() if amounts}
    for group in ("initContainers", "containers"):
        for one in made.get(group) or []:
            one["resources"] = completed(one.get("resources"), defaults, set_by_pod.get("limits", ()))


def completed(given: dict | None, defaults: Defaults, set_by_pod: Iterable[str] = ()) -> dict:
    """A container's resources; what the pod limits as a whole is not limited again."""
    found = {kind: dict((given or {}).get(kind) or {}) for kind in ("limits", "requests")}
    limits, requests = found["limits"], found["requests"]
    for name in defaults["limits"].keys() - set(set_by_pod):
        limits.setdefault(name, larger(defaults["limits"][name], requests.get(name, "0")))
        requests.setdefault(name, smaller(defaults["requests"][name], limits[name]))
    return {kind: amounts for kind, amounts in found.items() if amounts}


def _limit_of_pod(name: str, request: str, spec: dict, defaults: Defaults) -> str:
    """As much as its containers would have had each for itself."""

    def total(containers: list[dict]) -> Decimal:
        each = (completed(one.get("resources"), defaults)["limits"][name] for one in containers)
        return sum(map(amount, each), Decimal(0))

    first = spec.get("initContainers") or []
    sidecars = [one for one in first if one.get("restartPolicy") == "Always"]
    largest = max((total([*sidecars, one]) for one in first), default=Decimal(0))
    return larger(request, _text(max(total([*sidecars, *spec["containers"]]), largest)))


def larger(one: str, other: str) -> str:
    return one if amount(one) >= amount(other) else other


def smaller(one: str, other: str) -> str:
    return one if amount(one) <= amount(other) else other


def amount(quantity: str) -> Decimal:
    """As an API server writes it: with a unit or an exponent, or neither."""
    for unit, power in _BINARY.items():
        if quantity.endswith(unit):
            return Decimal(quantity.removesuffix(unit)) * 1024**power
    unit = quantity[-1:]
    if unit in _DECIMAL and unit:
        return Decimal(quantity[:-1]).scaleb(_DECIMAL[unit])
    return Decimal(quantity)


def _text(number: Decimal) -> str:
    """In thousandths where it is no whole number: of processors."""
    return str(int(number)) if number == int(number) else f"{int(number * 1000)}m"
