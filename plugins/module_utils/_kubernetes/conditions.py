# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the status of an object says: ready, rolled out, ended. Pure."""

from __future__ import annotations


def is_ready(obj: dict) -> bool:
    """Of a node or a pod."""
    conditions = (obj.get("status") or {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_observed(stateful_set: dict) -> bool:
    """Whether its status is about what it says now."""
    return (stateful_set.get("status") or {}).get("observedGeneration", 0) >= stateful_set["metadata"]["generation"]


def without_controller(pods: list[dict]) -> str:
    """Those that nobody makes anew, for people; empty if there are none."""
    alone = [pod["metadata"] for pod in pods if not pod["metadata"].get("ownerReferences")]
    return ", ".join(sorted(f"{meta['namespace']}/{meta['name']}" for meta in alone))


def has_ended(pod: dict) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def is_rolled_out(stateful_set: dict) -> bool:
    wanted, status = stateful_set["spec"]["replicas"], stateful_set.get("status") or {}
    return (
        is_observed(stateful_set)
        and status.get("updateRevision") == status.get("currentRevision", status.get("updateRevision"))
        and status.get("readyReplicas", 0) == wanted
        and status.get("updatedReplicas", 0) == wanted
    )
