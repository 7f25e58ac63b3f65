"""The status of a pod on the host as that of its pod inside. Pure."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

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
# Of the pod as it was created inside; of the host's own scheduler and its claims of devices, which are refused; and
# what older kubelets said beside the conditions.
NOT_REPORTED = ("qosClass", "nominatedNodeName", "resourceClaimStatuses", "extendedResourceClaimStatus", "resize")
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


def translated(pod: dict, host: dict, to_virtual_message: Translate) -> dict:
    """The status to be shown inside, with the host's messages as `told`."""
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
            if found:  # not only some that the host or the syncer has added
                status[group] = found
    return status


def patch(pod: dict, wanted: dict) -> dict | None:
    """The merge patch that gives the pod this status; None where it has it."""
    current = pod.get("status") or {}
    changed = {key: value for key, value in wanted.items() if _without_nulls(current.get(key)) != _without_nulls(value)}
    kept = ("qosClass", "observedGeneration", *wanted)
    gone = {key: None for key in current if key not in kept}
    return {**changed, **gone} or None


def _without_nulls(value: Any) -> Any:
    """Without what is null, which says the same as nothing."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def readiness_gates(pod: dict) -> list[str]:
    """The conditions without which the pod is not ready, and which somebody inside sets."""
    given = pod["spec"].get("readinessGates") or []
    return [gate["conditionType"] for gate in given if gate["conditionType"] not in _KUBERNETES]


def _conditions(pod: dict, given: dict, to_virtual_message: Translate) -> list[dict]:
    """Kubernetes' own are the host's to tell; all others are said inside by whoever wants to, and stay."""
    own = [one for one in (pod.get("status") or {}).get("conditions") or [] if one["type"] not in _KUBERNETES]
    found = []
    for one in given.get("conditions") or []:
        if one["type"] not in _KUBERNETES:
            continue
        result = {key: value for key, value in one.items() if key != "observedGeneration"}
        if "message" in result:
            result["message"] = to_virtual_message(result["message"])
        found.append(result)
    return found + own


def gate_conditions(pod: dict, host: dict) -> list[dict]:
    """Readiness gates as they are inside, where the host has them differently."""
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
    for state in (result.get("state") or {}, result.get("lastState") or {}):
        for detail in state.values():
            if "message" in detail:
                detail["message"] = to_virtual_message(detail["message"])
        if ended := state.get("terminated"):
            _explain_oom_kill(ended, result, wanted.get("limits") or {})
    return result


def _drop_unrequested(status: dict, asked: dict) -> None:
    """Without what was filled in: kubectl fails over requests that the pod itself does not name.

    Limits are told all of them, because they hold.
    """

    def named(amounts: dict) -> dict:
        return {name: amount for name, amount in amounts.items() if name in asked}

    if "allocatedResources" in status:
        status["allocatedResources"] = named(status["allocatedResources"])
    if (status.get("resources") or {}).get("requests"):
        status["resources"]["requests"] = named(status["resources"]["requests"])


def _explain_oom_kill(ended: dict, status: dict, asked: dict) -> None:
    """A limit that the pod does not name is not found in what `kubectl describe` shows."""
    limit = ((status.get("resources") or {}).get("limits") or {}).get("memory")
    if ended.get("reason") == "OOMKilled" and limit and "memory" not in asked and not ended.get("message"):
        ended["message"] = (
            f"memory limit {limit}: the default of the virtual cluster; set resources.limits.memory of the container"
        )
