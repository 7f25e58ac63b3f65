"""Which resources a pod may request: those that the quota of the host limits. Pure.

A quota limits extended resources by name. It says nothing of one that it does not name, and a pod that requests that
could take all that a node has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenantry_syncer.config import Config

_ALWAYS = ("cpu", "memory", "ephemeral-storage")
_NO_CLAIMS = "dynamic resource allocation is not offered; leave it out"


def problem_of_pod(spec: Mapping[str, Any], config: Config) -> str | None:
    """Why a pod cannot have what it requests apart from its containers."""
    if spec.get("resourceClaims"):
        return f"spec.resourceClaims: {_NO_CLAIMS}"
    return problem(spec.get("resources"), "spec", config)


def problem(resources: Mapping[str, Any] | None, what: str, config: Config) -> str | None:
    """Why these resources cannot be had; None where they can."""
    given = resources or {}
    if given.get("claims"):
        return f"{what}: resources.claims: {_NO_CLAIMS}"
    offered = (*_ALWAYS, *config.extended)
    for kind in ("requests", "limits"):
        for name in given.get(kind) or {}:
            if name not in offered:
                return (
                    f"{what}: resources.{kind}: {name} is not offered; use {', '.join(offered)}, or ask the "
                    "administrators of the platform to offer it"
                )
    return None
