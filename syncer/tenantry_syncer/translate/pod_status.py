"""Translate the status of a host pod to the virtual pod. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from tenantry_syncer.translate import hosts_file

Translate = Callable[[str], str]
_STATUSES = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
PASSED_THROUGH = (
    "phase",
    "reason",
    "hostIP",
    "hostIPs",
    "podIP",
    "podIPs",
    "startTime",
    "allocatedResources",
    "resources",
)
# Lists that a strategic merge patch merges by `ip`.
_MERGED_BY_ADDRESS = ("hostIPs", "podIPs")
_CONTAINERS = {"initContainerStatuses": "initContainers", "containerStatuses": "containers"}
FINISHED = ("Succeeded", "Failed")
# Eviction, in the virtual cluster or on the host, sets it; once set, it stays.
_DISRUPTION = "DisruptionTarget"
# Condition types of Kubernetes itself, which a tenant cannot set on the host.
_KUBERNETES = (
    "AllContainersRestarting",
    "ContainersReady",
    _DISRUPTION,
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


def translated(pod: dict, host: dict, to_virtual_message: Translate) -> dict:
    """Return the status of the virtual pod; `to_virtual_message` translates the host's messages."""
    given = host.get("status") or {}
    status: dict[str, Any] = {name: copy.deepcopy(given[name]) for name in PASSED_THROUGH if name in given}
    if "message" in given:
        status["message"] = to_virtual_message(given["message"])
    status["conditions"] = _conditions(pod, given, to_virtual_message)
    generation = pod["metadata"].get("generation")
    if generation and given.get("observedGeneration") == host["metadata"].get("generation"):
        status["observedGeneration"] = generation
    for group in _STATUSES:
        if given.get(group):
            asked = {one["name"]: one for one in pod["spec"].get(_CONTAINERS.get(group, "ephemeralContainers")) or []}
            found = [
                _container(one, asked[one["name"]], to_virtual_message) for one in given[group] if one["name"] in asked
            ]
            if found:  # empty if the host or the syncer added them all
                status[group] = found
    return status


def patch(pod: dict, wanted: dict) -> dict | None:
    """Return the strategic merge patch to this status; None if it is current.

    Others may change the pod's own conditions at the same time, so only conditions that differ are in it.
    """
    current = pod.get("status") or {}
    changed = {
        key: _replacing(key, current.get(key), value)
        for key, value in wanted.items()
        if _without_nulls(current.get(key)) != _without_nulls(value)
    }
    kept = ("qosClass", "observedGeneration", *wanted)
    gone = {key: None for key in current if key not in kept}
    return {**changed, **gone} or None


def _replacing(key: str, current: Any, value: Any) -> Any:
    """Return what a strategic merge patch needs to replace a field, also one that it would merge."""
    if key == "conditions":
        there, wanted = _by_type(current), _by_type(value)
        changed = [_replacing("", there.get(kind), one) for kind, one in wanted.items() if one != there.get(kind)]
        return [*changed, *({"$patch": "delete", "type": kind} for kind in there if kind not in wanted)]
    if key in _MERGED_BY_ADDRESS:
        return [{"$patch": "replace"}, *value]
    if isinstance(value, dict):
        there = current if isinstance(current, dict) else {}
        return {**dict.fromkeys(there), **{name: _replacing("", there.get(name), one) for name, one in value.items()}}
    return value


def _by_type(conditions: list[dict] | None) -> dict[str, dict]:
    return {one["type"]: _without_nulls(one) for one in conditions or []}


def _without_nulls(value: Any) -> Any:
    """Return the value without null fields, which are the same as missing ones."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def readiness_gates(pod: dict) -> list[str]:
    """Return the condition types of the pod's readiness gates that are set in the virtual cluster."""
    given = pod["spec"].get("readinessGates") or []
    return [gate["conditionType"] for gate in given if gate["conditionType"] not in _KUBERNETES]


def _conditions(pod: dict, given: dict, to_virtual_message: Translate) -> list[dict]:
    """Return Kubernetes' own conditions from the host, and all others from the virtual pod."""
    kinds = {one["type"] for one in given.get("conditions") or []}
    from_host = [kind for kind in _KUBERNETES if kind != _DISRUPTION or kind in kinds]
    own = [one for one in (pod.get("status") or {}).get("conditions") or [] if one["type"] not in from_host]
    found = []
    for one in given.get("conditions") or []:
        if one["type"] not in _KUBERNETES:
            continue
        result = {key: value for key, value in one.items() if key != "observedGeneration"}
        if "message" in result:
            result["message"] = hosts_file.without_name(to_virtual_message(result["message"]))
        found.append(result)
    return found + own


def gate_conditions(pod: dict, host: dict) -> list[dict]:
    """Return the conditions of readiness gates that differ on the host."""
    wanted = readiness_gates(pod)

    def of(obj: dict) -> dict[str, dict]:
        conditions = (obj.get("status") or {}).get("conditions") or []
        return {one["type"]: {key: one[key] for key in _CONDITION if key in one} for one in conditions}

    there = of(host)
    return [
        one for kind, one in of(pod).items() if kind in wanted and one["status"] != there.get(kind, {}).get("status")
    ]


def _container(status: dict, asked: dict, to_virtual_message: Translate) -> dict:
    result = copy.deepcopy(status)
    wanted = asked.get("resources") or {}
    _drop_unrequested(result, wanted.get("requests") or {})
    if "volumeMounts" in result:
        mounted = {one["name"] for one in asked.get("volumeMounts") or []}
        result["volumeMounts"] = [one for one in result["volumeMounts"] if one["name"] in mounted]
    for state in (result.get("state") or {}, result.get("lastState") or {}):
        for detail in state.values():
            if "message" in detail:
                detail["message"] = to_virtual_message(detail["message"])
        if ended := state.get("terminated"):
            _explain_oom_kill(ended, result, wanted.get("limits") or {})
    return result


def _drop_unrequested(status: dict, asked: dict) -> None:
    """Remove requests that the syncer added: kubectl fails if the pod's spec lacks them. All limits stay."""

    def named(amounts: dict) -> dict:
        return {name: amount for name, amount in amounts.items() if name in asked}

    if "allocatedResources" in status:
        status["allocatedResources"] = named(status["allocatedResources"])
    if (status.get("resources") or {}).get("requests"):
        status["resources"]["requests"] = named(status["resources"]["requests"])


def _explain_oom_kill(ended: dict, status: dict, asked: dict) -> None:
    """Add a message if a default memory limit, which `kubectl describe` does not show, caused an OOM kill."""
    limit = ((status.get("resources") or {}).get("limits") or {}).get("memory")
    if ended.get("reason") == "OOMKilled" and limit and "memory" not in asked and not ended.get("message"):
        ended["message"] = (
            f"memory limit {limit}: the default of the virtual cluster. Set resources.limits.memory of the container."
        )
