"""Changes of a running pod, as independent patches of the host pod. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.translate import downward_api, pod_defaults, pod_scheduling, pod_status
from tenantry_syncer.translate import pod as pod_spec

# A body and optionally a subresource.
Patch = tuple


def patches(pod: dict, host: dict, config: Config) -> Iterator[Patch]:
    """Yield the patches that bring a running host pod up to date, each with its subresource."""
    if metadata := _metadata(pod, host, config):
        yield ({"metadata": metadata},)
    for group in ("initContainers", "containers"):
        for image in _images(pod, host, group):
            yield ({"spec": {group: [image]}},)
    deadline = pod["spec"].get("activeDeadlineSeconds")
    if deadline and deadline != host["spec"].get("activeDeadlineSeconds"):
        yield ({"spec": {"activeDeadlineSeconds": deadline}},)
    if tolerations := _tolerations(pod, host):
        yield ({"spec": {"tolerations": tolerations}},)
    for resized in _resizes(pod, host, config):
        yield {"spec": resized}, "resize"
    if readiness_gates := pod_status.gate_conditions(pod, host):
        yield {"status": {"conditions": readiness_gates}}, "status"


def ephemeral(pod: dict, host: dict) -> list[dict]:
    """Return the ephemeral containers that the host pod lacks."""
    there = {one["name"] for one in host["spec"].get("ephemeralContainers") or []}
    given = pod["spec"].get("ephemeralContainers") or []
    return [one for one in given if one["name"] not in there]


def _tolerations(pod: dict, host: dict) -> list[dict] | None:
    """Return all tolerations of the host pod with those that were added or have another time; None if there are none.

    The API allows no other changes.
    """
    there = host["spec"].get("tolerations") or []
    wanted = pod_scheduling.tolerations(pod["spec"])
    if all(one in there for one in wanted):
        return None
    replaced = [_without_time(one) for one in wanted]
    return [*(one for one in there if _without_time(one) not in replaced), *wanted]


def _without_time(toleration: dict) -> dict:
    return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}


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


def _resizes(pod: dict, host: dict, config: Config) -> Iterator[dict]:
    """Yield each container by itself, or all with the pod: the API compares their resources with the pod's."""
    set_by_pod = host["spec"].get("resources") or {}
    containers = {
        group: found
        for group in ("initContainers", "containers")
        if (found := list(_resized(pod, host, group, config, set_by_pod.get("limits") or ())))
    }
    if _differs(pod["spec"].get("resources"), set_by_pod):
        yield {"resources": pod_defaults.of_pod(pod["spec"], config.container_defaults), **containers}
        return
    for group, found in containers.items():
        for one in found:
            yield {group: [one]}


def _resized(pod: dict, host: dict, group: str, config: Config, set_by_pod: Iterable[str]) -> Iterator[dict]:
    """Yield containers whose resources a user changed; defaults set on the host are no change."""
    there = {one["name"]: one.get("resources") or {} for one in host["spec"].get(group) or []}
    for one in pod["spec"].get(group) or []:
        current, requested = there.get(one["name"]), pod_spec.requested(one, pod)
        # A pod of an earlier release has what it asked for.
        if current is None or not (_differs(requested, current) and _differs(one.get("resources"), current)):
            continue
        resources = pod_defaults.completed(requested, config.container_defaults, set_by_pod)
        yield {"name": one["name"], "resources": resources}


def _differs(asked: dict | None, current: dict) -> bool:
    """Return whether an amount that was asked for is another one on the host."""
    return any(
        amount != (current.get(kind) or {}).get(name)
        for kind in ("requests", "limits")
        for name, amount in ((asked or {}).get(kind) or {}).items()
    )
