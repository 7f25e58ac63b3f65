"""Changes of a running pod, as independent patches of the host pod. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.translate import downward_api, pod_defaults, pod_status
from tenantry_syncer.translate import pod as pod_spec

# A body and optionally a subresource.
Patch = tuple


def patches(pod: dict, host: dict, config: Config) -> Iterator[Patch]:
    if metadata := _metadata(pod, host, config):
        yield ({"metadata": metadata},)
    for group in ("initContainers", "containers"):
        for image in _images(pod, host, group):
            yield ({"spec": {group: [image]}},)
    deadline = pod["spec"].get("activeDeadlineSeconds")
    if deadline and deadline != host["spec"].get("activeDeadlineSeconds"):
        yield ({"spec": {"activeDeadlineSeconds": deadline}},)
    for group in ("initContainers", "containers"):
        for resized in _resized(pod, host, group, config):
            yield {"spec": {group: [resized]}}, "resize"
    if readiness_gates := pod_status.gate_conditions(pod, host):
        yield {"status": {"conditions": readiness_gates}}, "status"


def ephemeral(pod: dict, host: dict) -> list[dict]:
    """Return the ephemeral containers that the host pod lacks."""
    there = {one["name"] for one in host["spec"].get("ephemeralContainers") or []}
    given = pod["spec"].get("ephemeralContainers") or []
    return [one for one in given if one["name"] not in there]


def _metadata(pod: dict, host: dict, config: Config) -> dict:
    wanted = pod_spec.host_metadata(pod, config)
    found: dict = {}
    for field, ours in (("labels", naming.TENANT_LABELS), ("annotations", downward_api.ANNOTATION)):
        there = host["metadata"].get(field) or {}
        patch = {key: value for key, value in wanted[field].items() if there.get(key) != value}
        # Only the syncer's own keys: programs of the host set others.
        patch |= {key: None for key in there if key.startswith(ours) and key not in wanted[field]}
        if patch:
            found[field] = patch
    return found


def _images(pod: dict, host: dict, group: str) -> list[dict]:
    there = {one["name"]: one["image"] for one in host["spec"].get(group) or []}
    given = pod["spec"].get(group) or []
    return [
        {"name": one["name"], "image": one["image"]}
        for one in given
        if there.get(one["name"], one["image"]) != one["image"]
    ]


def _resized(pod: dict, host: dict, group: str, config: Config) -> Iterator[dict]:
    """Yield containers whose resources a user changed; defaults set on the host are no change."""
    there = {one["name"]: one.get("resources") or {} for one in host["spec"].get(group) or []}
    set_by_pod = (host["spec"].get("resources") or {}).get("limits") or ()
    for one in pod["spec"].get(group) or []:
        asked, current = one.get("resources") or {}, there.get(one["name"])
        if current is None or (group == "initContainers" and one.get("restartPolicy") != "Always"):
            continue
        if any(
            amount != (current.get(kind) or {}).get(name)
            for kind in ("requests", "limits")
            for name, amount in (asked.get(kind) or {}).items()
        ):
            yield {
                "name": one["name"],
                "resources": pod_defaults.completed(asked, config.container_defaults, set_by_pod),
            }
