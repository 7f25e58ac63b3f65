# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the maintenance pods of stopped etcd members, each of which creates a member from a snapshot. Pure.

etcd's image has no shell, so a container with k3s's image receives the snapshot.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import ETCD, K3S_CONTAINER, PART_LABEL
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.maintenance_pod import LONGEST_SECONDS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.etcd import DATA, DATA_DIRECTORY, NAMES

RECEIVE = "receive"
FILE = "restore.db"
BEFORE = "data.before-restore"
RECEIVED = ".received"
# So far beyond what any client can have seen that all of them list again.
BUMP = 1_000_000_000

_WAIT = f"trap 'exit 1' TERM; until [ -e {DATA_DIRECTORY}/{RECEIVED} ]; do sleep 0.2; done"
_TIDY = f"rm -f {DATA_DIRECTORY}/{FILE} {DATA_DIRECTORY}/{RECEIVED}"
_LEFT_OUT = ("containers", "volumes")
_KEPT = ("imagePullPolicy", "securityContext", "resources")
# Arguments of a member that a restore takes too.
_SAME = ("initial-cluster", "initial-advertise-peer-urls", "name")


def pods(etcd: dict, k3s_image: str, token: str) -> list[dict]:
    """Render the pods from the StatefulSet of etcd. The new `token` keeps them apart from the previous etcd."""
    return [_pod(etcd, k3s_image, token, name) for name in NAMES]


def _pod(etcd: dict, k3s_image: str, token: str, name: str) -> dict:
    template = etcd["spec"]["template"]
    (member,) = template["spec"]["containers"]
    own = {key: member[key] for key in _KEPT if key in member}
    mount = {"volumeMounts": [{"name": "data", "mountPath": DATA_DIRECTORY}]}

    def shell(container: str, script: str) -> dict:
        return {"name": container, "image": k3s_image, **own, "command": ["/bin/sh", "-c", script], **mount}

    restore = _restore_command(member, token, name)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"restore-{name}",
            "namespace": etcd["metadata"]["namespace"],
            "labels": {**template["metadata"]["labels"], PART_LABEL: "maintenance"},
        },
        "spec": {
            **{key: value for key, value in template["spec"].items() if key not in _LEFT_OUT},
            "activeDeadlineSeconds": LONGEST_SECONDS,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 1,
            "initContainers": [
                shell(RECEIVE, _WAIT),
                {"name": ETCD, "image": member["image"], **own, "command": restore, **mount},
            ],
            "containers": [shell(K3S_CONTAINER, _TIDY)],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": f"data-{name}"}}],
        },
    }


def _restore_command(member: dict, token: str, name: str) -> list[str]:
    given = (word for word in member["command"] if word.removeprefix("--").partition("=")[0] in _SAME)
    return [
        "/usr/local/bin/etcdutl",
        "snapshot",
        "restore",
        f"{DATA_DIRECTORY}/{FILE}",
        *(word.replace("$(POD_NAME)", name) for word in given),
        f"--initial-cluster-token={token}",
        f"--data-dir={DATA_DIRECTORY}/{DATA}",
        f"--bump-revision={BUMP}",
        "--mark-compacted",
    ]
