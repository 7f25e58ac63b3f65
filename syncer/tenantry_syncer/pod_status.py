"""The status of a pod on the host as that of its pod inside. Pure."""

from __future__ import annotations

import copy
from typing import Any

from tenantry_syncer import names

_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
_SAME = ("phase", "reason", "hostIP", "hostIPs", "podIP", "podIPs", "startTime", "allocatedResources", "resources")
_CONTAINERS = {"initContainerStatuses": "initContainers", "containerStatuses": "containers"}
FINISHED = ("Succeeded", "Failed")
# What Kubernetes itself says of a pod is not a tenant's to say on the host.
_KUBERNETES = (
    "AllContainersRestarting",
    "ContainersReady",
    "DisruptionTarget",
    "Initialized",
    "PodReadyToStartContainers",
    "PodResizeInProgress",
    "PodResizePending",
    "PodScheduled",
    "Ready",
)
_CONDITION = ("type", "status", "reason", "message", "lastProbeTime", "lastTransitionTime")


def is_finished(pod: dict) -> bool:
    return (pod.get("status") or {}).get("phase") in FINISHED


def translated(pod: dict, host: dict, namespace: str) -> dict:
    """The status to be shown inside."""
    given = host.get("status") or {}

    def told(text: str) -> str:
        return names.told_inside(text, host, namespace)

    status: dict[str, Any] = {name: copy.deepcopy(given[name]) for name in _SAME if name in given}
    if "message" in given:
        status["message"] = told(given["message"])
    status["conditions"] = _conditions(pod, given, told)
    generation = pod["metadata"].get("generation")
    if generation and given.get("observedGeneration") == host["metadata"].get("generation"):
        status["observedGeneration"] = generation
    for group in _STATUSES:
        if given.get(group):
            asked = {one["name"]: one for one in pod["spec"].get(_CONTAINERS.get(group, "ephemeralContainers")) or []}
            status[group] = [_container(one, asked[one["name"]], told) for one in given[group] if one["name"] in asked]
    return status


def patch(pod: dict, wanted: dict) -> dict | None:
    """The merge patch that gives the pod this status; None where it has it."""
    current = pod.get("status") or {}
    changed = {key: value for key, value in wanted.items() if _said(current.get(key)) != _said(value)}
    kept = ("qosClass", "observedGeneration", *wanted)
    gone = {key: None for key in current if key not in kept}
    return {**changed, **gone} or None


def _said(value: Any) -> Any:
    """Without what is null, which says the same as nothing."""
    if isinstance(value, dict):
        return {key: _said(one) for key, one in value.items() if one is not None}
    return [_said(one) for one in value] if isinstance(value, list) else value


def gates(pod: dict) -> list[str]:
    """The conditions without which the pod is not ready, and which somebody inside sets."""
    given = pod["spec"].get("readinessGates") or []
    return [gate["conditionType"] for gate in given if gate["conditionType"] not in _KUBERNETES]


def _conditions(pod: dict, given: dict, told: Any) -> list[dict]:
    """Kubernetes' own are the host's to tell; all others are said inside by whoever wants to, and stay."""
    own = [one for one in (pod.get("status") or {}).get("conditions") or [] if one["type"] not in _KUBERNETES]
    found = []
    for one in given.get("conditions") or []:
        if one["type"] not in _KUBERNETES:
            continue
        made = {key: value for key, value in one.items() if key != "observedGeneration"}
        if "message" in made:
            made["message"] = told(made["message"])
        found.append(made)
    return found + own


def gate_conditions(pod: dict, host: dict) -> list[dict]:
    """Readiness gates as they are inside, where the host has them differently."""
    wanted = gates(pod)

    def of(obj: dict) -> dict[str, dict]:
        conditions = (obj.get("status") or {}).get("conditions") or []
        return {one["type"]: {key: one[key] for key in _CONDITION if key in one} for one in conditions}

    there = of(host)
    return [
        one for kind, one in of(pod).items() if kind in wanted and one["status"] != there.get(kind, {}).get("status")
    ]


def _container(status: dict, asked: dict, told: Any) -> dict:
    made = copy.deepcopy(status)
    _only_asked_resources(made, asked.get("resources") or {})
    for state in (made.get("state") or {}, made.get("lastState") or {}):
        for detail in state.values():
            if "message" in detail:
                detail["message"] = told(detail["message"])
    return made


def _only_asked_resources(status: dict, asked: dict) -> None:
    """Without what the host's limit range added: kubectl fails over resources that the pod itself does not name."""

    def named(amounts: dict, kind: str) -> dict:
        return {name: amount for name, amount in amounts.items() if name in (asked.get(kind) or {})}

    if "allocatedResources" in status:
        status["allocatedResources"] = named(status["allocatedResources"], "requests")
    if status.get("resources"):
        kinds = {kind: status["resources"].get(kind) or {} for kind in ("limits", "requests")}
        status["resources"] = {kind: some for kind, amounts in kinds.items() if (some := named(amounts, kind))}
