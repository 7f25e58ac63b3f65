"""Restrict the resources that a pod may request to those that the host's quota limits. Pure.

A quota limits extended resources by name. A pod that requests one that the quota does not name could take all that a
node has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tenantry_syncer.config import Config

_ALWAYS = ("cpu", "memory", "ephemeral-storage")
_NO_CLAIMS = "dynamic resource allocation is not supported. Omit it."


def problem_of_pod(spec: Mapping[str, Any], config: Config) -> str | None:
    """Return why a pod cannot have its pod-level resources, claims or group; None if it can."""
    if spec.get("resourceClaims"):
        return f"spec.resourceClaims: {_NO_CLAIMS}"
    if spec.get("schedulingGroup"):
        return "spec.schedulingGroup: scheduling as a group is not supported. Omit it."
    return problem(spec.get("resources"), "spec", config)


def problem(resources: Mapping[str, Any] | None, what: str, config: Config) -> str | None:
    """Return why these resources of `what`, such as `container web`, are rejected; None if they are not."""
    given = resources or {}
    if given.get("claims"):
        return f"{what}: resources.claims: {_NO_CLAIMS}"
    offered = (*_ALWAYS, *config.extended)
    for kind in ("requests", "limits"):
        for name in given.get(kind) or {}:
            if name not in offered:
                return (
                    f"{what}: resources.{kind}: {name} is not offered. Use {', '.join(offered)}, or ask a "
                    "platform administrator to offer it."
                )
    return None
