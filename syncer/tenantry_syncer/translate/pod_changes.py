"""What may change on a pod that lives, as patches of the host's pod that do not depend on each other. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.translate import downward_api, pod_defaults, pod_status
from tenantry_syncer.translate import pod as pod_spec

# A body and, if it is for one, a subresource.
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
    """Containers that were added inside."""
    there = {one["name"] for one in host["spec"].get("ephemeralContainers") or []}
    given = pod["spec"].get("ephemeralContainers") or []
    return [one for one in given if one["name"] not in there]


def _metadata(pod: dict, host: dict, config: Config) -> dict:
    wanted = pod_spec.host_metadata(pod, config)
    found: dict = {}
    for field, ours in (("labels", naming.TENANT_LABELS), ("annotations", downward_api.ANNOTATION)):
        there = host["metadata"].get(field) or {}
        patch = {key: value for key, value in wanted[field].items() if there.get(key) != value}
        # Only what is ours: the host's own programs leave theirs here too.
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
    """Containers whose resources were changed inside; what was filled in on the host alone is no change."""
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
