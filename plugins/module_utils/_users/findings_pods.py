# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find workloads in the system namespaces of a virtual cluster, and pods that are root on its nodes. Pure."""

from __future__ import annotations

from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    POD,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
)

# Each before what it makes.
WORKLOADS = (
    DEPLOYMENT,
    DAEMON_SET,
    STATEFUL_SET,
    CRON_JOB,
    REPLICATION_CONTROLLER,
    REPLICA_SET,
    JOB,
    POD,
)
# Of k3s, and what people add most: all other parts of k3s are off in a virtual cluster. They run as the account of
# their name.
_KNOWN = ("coredns", "metrics-server")
_LEVEL = "pod-security.kubernetes.io/enforce"


class Workloads:
    """Checks workloads in the order of WORKLOADS. One that another one owns is not a further finding."""

    def __init__(self) -> None:
        self._accounts: dict[str, str] = {}  # by the UID of what runs as it

    def judge(self, kind: str, found: dict) -> dict[str, str] | None:
        """Return the finding, or None. Pods can use every account of the namespace.

        Which workloads the option `manifests` created is not known here.
        """
        meta, spec = found["metadata"], _pod_spec(kind, found)
        name, account = meta["name"], spec.get("serviceAccountName") or "default"
        owners = [one["uid"] for one in meta.get("ownerReferences") or [] if one.get("controller")]
        # An ephemeral container gives access to its pod, regardless of its owner.
        is_owned = any(self._accounts.get(uid) == account for uid in owners) and not spec.get("ephemeralContainers")
        is_known = kind == WORKLOADS[0] and (meta["namespace"], account) == ("kube-system", name) and name in _KNOWN
        self._accounts[meta["uid"]] = account
        node = _reaches_node(spec)
        if (is_owned or is_known) and not node:
            return None
        if is_owned or is_known:
            return {"why": f"runs in a system namespace with {node}, so its pods are root on their node"}
        return {
            "why": f"runs in a system namespace as account {account} and could use any other account there; "
            f"neither k3s nor the platform created it. If your manifests did, ignore it"
        }


def _pod_spec(kind: str, found: dict) -> dict[str, Any]:
    spec = found.get("spec") or {}
    if kind == POD:
        return spec
    if kind == CRON_JOB:
        spec = (spec.get("jobTemplate") or {}).get("spec") or {}
    return (spec.get("template") or {}).get("spec") or {}


def _reaches_node(spec: dict[str, Any]) -> str:
    """Return what gives a pod root on its node, or an empty string."""
    containers = [
        one for group in ("initContainers", "containers", "ephemeralContainers") for one in spec.get(group) or []
    ]
    if any((one.get("securityContext") or {}).get("privileged") for one in containers):
        return "a privileged container"
    if any("hostPath" in volume for volume in spec.get("volumes") or []):
        return "a path of the host"
    return next((field for field in ("hostPID", "hostIPC") if spec.get(field)), "")


def namespace(found: dict) -> dict[str, str] | None:
    """Return the finding for a namespace that allows privileged pods, or None.

    In mode dedicated, root on a node has the node's credential, and access to the pods there.
    """
    if (found["metadata"].get("labels") or {}).get(_LEVEL) != "privileged":
        return None
    name = found["metadata"]["name"]
    return {
        "why": "allows privileged pods, which are root on a node and have its credentials; if workloads need that, "
        "ignore it",
        "end": f"kubectl label namespace {name} {_LEVEL}-",
    }
