# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Read the status of objects: ready, rolled out, ended. Pure."""

from __future__ import annotations


def is_ready(obj: dict) -> bool:
    """Return whether a node or pod has the condition Ready."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_observed(stateful_set: dict) -> bool:
    """Return whether the status is of the current generation."""
    return (stateful_set.get("status") or {}).get("observedGeneration", 0) >= stateful_set["metadata"]["generation"]


def without_controller(pods: list[dict]) -> str:
    """Return the names of pods that no controller recreates, as text; empty if there are none."""
    alone = [pod["metadata"] for pod in pods if not pod["metadata"].get("ownerReferences")]
    return ", ".join(sorted(f"{meta['namespace']}/{meta['name']}" for meta in alone))


def has_ended(pod: dict) -> bool:
    """Return whether the pod succeeded or failed."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_rolled_out(stateful_set: dict) -> bool:
    """Return whether all replicas are ready and of the current revision."""
    wanted, status = stateful_set["spec"]["replicas"], stateful_set.get("status") or {}
    return (
        is_observed(stateful_set)
        and status.get("updateRevision") == status.get("currentRevision", status.get("updateRevision"))
        and status.get("readyReplicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
    )
