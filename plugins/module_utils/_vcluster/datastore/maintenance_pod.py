# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A pod in the place of a stopped server, with its volume, in which its data can be worked on. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import DATA_DIRECTORY, PART_LABEL
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import image_tag

NAME = "workshop"
CONTAINER = "k3s"
# It ends by itself, should nobody end it.
LONGEST_SECONDS = 3600
_WAIT = "trap 'exit 0' TERM; sleep 3600 & wait"
_KEPT = ("imagePullPolicy", "resources", "securityContext")
_LEFT_OUT = ("containers", "initContainers", "volumes", "shareProcessNamespace", "restartPolicy")


def pod(stateful_set: dict, version: str | None = None) -> dict:
    """
    Where the server would run, as whom, and with what the server would take: of its quota there is no more.

    With the image of a release that is known to be there, where that of the server may be what is wrong.
    """
    template = stateful_set["spec"]["template"]
    server = next(one for one in template["spec"]["containers"] if one["name"] == CONTAINER)
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
                    "name": CONTAINER,
                    "image": _image(stateful_set, version),
                    **{key: server[key] for key in _KEPT if key in server},
                    "command": ["/bin/sh", "-c", _WAIT],
                    "volumeMounts": [{"name": "data", "mountPath": DATA_DIRECTORY}],
                }
            ],
            "volumes": [one for one in template["spec"]["volumes"] if one["name"] == "data"],
        },
    }


def scaled(replicas: int) -> dict:
    """A patch of a StatefulSet."""
    return {"spec": {"replicas": replicas}}


def of_version(stateful_set: dict, version: str, annotations: dict[str, str]) -> dict:
    """A patch that has it run another release of k3s, its pods with these annotations."""
    changed = {"name": CONTAINER, "image": _image(stateful_set, version)}
    return {"spec": {"template": {"metadata": {"annotations": annotations}, "spec": {"containers": [changed]}}}}


def _image(stateful_set: dict, version: str | None) -> str:
    containers = stateful_set["spec"]["template"]["spec"]["containers"]
    image = next(one["image"] for one in containers if one["name"] == CONTAINER)
    return f"{image.rpartition(':')[0]}:{image_tag(version)}" if version else image
