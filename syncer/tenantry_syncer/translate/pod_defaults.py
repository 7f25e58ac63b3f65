"""Set default limits and requests, because the host's quota requires limits. Pure.

Values that the tenant set stay. Others get the virtual cluster's defaults, adjusted so that no limit is below its
request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from tenantry_syncer.translate import quantities

Defaults = Mapping[str, Mapping[str, str]]


def fill(made: dict, spec: dict, defaults: Defaults) -> None:
    """Complete the resources of the host pod, for containers and at pod level where the pod sets `resources`."""
    whole = of_pod(spec, defaults)
    if whole:
        made["resources"] = whole
    for group in ("initContainers", "containers"):
        for one in made.get(group) or []:
            one["resources"] = completed(one.get("resources"), defaults, whole.get("limits", ()))


def of_pod(spec: dict, defaults: Defaults) -> dict[str, dict[str, str]]:
    """Return the pod-level resources on the host; empty if the pod sets none."""
    given = spec.get("resources") or {}
    found = {kind: dict(given.get(kind) or {}) for kind in ("limits", "requests")}
    for name in found["requests"].keys() & defaults["limits"].keys() - found["limits"].keys():
        found["limits"][name] = _limit_of_pod(name, found["requests"][name], spec, defaults)
    return {kind: amounts for kind, amounts in found.items() if amounts}


def completed(given: dict | None, defaults: Defaults, set_by_pod: Iterable[str] = ()) -> dict:
    """Return a container's resources with defaults, except for resources limited at pod level."""
    found = {kind: dict((given or {}).get(kind) or {}) for kind in ("limits", "requests")}
    limits, requests = found["limits"], found["requests"]
    for name in defaults["limits"].keys() - set(set_by_pod):
        limits.setdefault(name, quantities.larger(defaults["limits"][name], requests.get(name, "0")))
        requests.setdefault(name, quantities.smaller(defaults["requests"][name], limits[name]))
    return {kind: amounts for kind, amounts in found.items() if amounts}


def _limit_of_pod(name: str, request: str, spec: dict, defaults: Defaults) -> str:
    """Return the pod-level limit: the request, or the sum of the containers' default limits if larger."""

    def total(containers: list[dict]) -> Decimal:
        each = (completed(one.get("resources"), defaults)["limits"][name] for one in containers)
        return sum(map(quantities.parse, each), Decimal(0))

    first = spec.get("initContainers") or []
    sidecars = [one for one in first if one.get("restartPolicy") == "Always"]
    largest = max((total([*sidecars, one]) for one in first), default=Decimal(0))
    return quantities.larger(request, quantities.text(max(total([*sidecars, *spec["containers"]]), largest)))
