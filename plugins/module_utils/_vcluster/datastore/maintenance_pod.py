# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A maintenance pod, which gives access to the volume of a stopped server."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import Obstacle, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import K3S_CONTAINER, PART_LABEL
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conditions import is_ready
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import POD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    Deadline,
    wait_for,
    wait_gone,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    DATA_DIRECTORY,
    DATA_LOCK,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.quota_return import MAINTENANCE
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.images import of_tag
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import image_tag

NAME = "maintenance"
# Its name before the first release. One of a killed run holds the lock of the data for an hour.
_FORMER_NAME = "workshop"
# It ends by itself if its run was killed.
LONGEST_SECONDS = 3600
# It holds the lock of the data meanwhile: no server starts before it has ended, and it does not start beside one.
_WAIT = f"""\
exec 9>>{DATA_LOCK}
flock -n 9 || {{ echo "a server uses the data: {DATA_LOCK} is locked" >&2; exit 1; }}
trap 'exit 0' TERM
sleep 3600 & wait
"""
_KEPT = ("imagePullPolicy", "resources", "securityContext")
_SMALL = {
    "limits": MAINTENANCE.as_text(),
    "requests": {**MAINTENANCE.as_text(), "cpu": "50m", "memory": "64Mi"},
}
_LEFT_OUT = ("containers", "initContainers", "volumes", "shareProcessNamespace", "restartPolicy")


def pod(stateful_set: dict, version: str | None = None, *, small: bool = False) -> dict:
    """Render the pod with the placement, user and resources of the server, because the quota has no more.

    With the image of `version`, if given: the server's own image may be the problem. If `small`, it takes only what a
    paused virtual cluster keeps of its resources.
    """
    template = stateful_set["spec"]["template"]
    server = next(one for one in template["spec"]["containers"] if one["name"] == K3S_CONTAINER)
    labels = {**template["metadata"]["labels"], PART_LABEL: NAME}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": NAME, "namespace": stateful_set["metadata"]["namespace"], "labels": labels},
        "spec": {
            **{key: value for key, value in template["spec"].items() if key not in _LEFT_OUT},
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": K3S_CONTAINER,
                    "image": _image(stateful_set, version),
                    **{key: server[key] for key in _KEPT if key in server},
                    **({"resources": _SMALL} if small else {}),
                    "command": ["/bin/sh", "-c", _WAIT],
                    "terminationMessagePolicy": "FallbackToLogsOnError",  # why it ends is in its status
                    "volumeMounts": [{"name": "data", "mountPath": DATA_DIRECTORY}],
                }
            ],
            "volumes": [one for one in template["spec"]["volumes"] if one["name"] == "data"],
        },
    }


def scaled(replicas: int) -> dict:
    """Return a patch for the replicas of a StatefulSet."""
    return {"spec": {"replicas": replicas}}


def of_version(stateful_set: dict, version: str, annotations: dict[str, str]) -> dict:
    """Return a patch for the k3s release of a StatefulSet, with annotations for its pods."""
    template: dict = {"metadata": {"annotations": annotations}}
    if any(one["name"] == K3S_CONTAINER for one in stateful_set["spec"]["template"]["spec"]["containers"]):
        template["spec"] = {"containers": [{"name": K3S_CONTAINER, "image": _image(stateful_set, version)}]}
    return {"spec": {"template": template}}


def _image(stateful_set: dict, version: str | None) -> str:
    containers = stateful_set["spec"]["template"]["spec"]["containers"]
    image = next(one["image"] for one in containers if one["name"] == K3S_CONTAINER)
    return of_tag(image, image_tag(version)) if version else image


@contextmanager
def run_maintenance_pod(
    host: Cluster, stateful_set: dict, deadline: Deadline, version: str | None = None, *, small: bool = False
) -> Iterator[pod_exec.Container]:
    """Run the maintenance pod, yield its container, and delete it afterwards. The server must be stopped."""
    made = pod(stateful_set, version, small=small)
    name, namespace = made["metadata"]["name"], made["metadata"]["namespace"]
    what = f"pod {name} in {namespace}"

    def end(name: str) -> None:
        if host.delete(POD, name, namespace, grace=1):
            wait_gone(host, POD, name, namespace, deadline, what=f"pod {name} in {namespace}")

    for former in (_FORMER_NAME, name):  # of a run that was killed
        end(former)
    try:
        host.create(made)
        wait_for(host, POD, name, namespace, lambda found: _is_usable(found, what), deadline, what=what)
        yield pod_exec.Container(host, namespace, name, K3S_CONTAINER)
    finally:
        end(name)


def _is_usable(pod: dict, what: str) -> bool:
    """Return whether the pod is ready. Raise if it ended, such as for a lock that another process holds."""
    status = pod.get("status") or {}
    if status.get("phase") not in ("Failed", "Succeeded"):
        return is_ready(pod)
    ends = [
        state["terminated"] for one in status.get("containerStatuses") or [] if "terminated" in (state := one["state"])
    ]
    reasons = [one.get("message") or one.get("reason") for one in [*ends, status]]
    reason = one_line("; ".join(filter(None, reasons)) or "no reason was reported")
    raise Obstacle(f"{what}: ended before the data could be used: {reason}. Remove the cause, then run again")
