# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the agents of a virtual cluster: privileged pods that are its nodes. Pure.

A privileged container sees the host's memory, processors and cgroups. START gives the node the size of its pod, below
the pod's cgroup.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, K3S_CONTAINER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import scheduling
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    ACCOUNT,
    API_PORT,
    CONFIG_DIRECTORY,
    CONFIG_HASH,
    DATA_DIRECTORY,
    JOIN_TOKEN,
    K3S,
    STOP_SECONDS,
    TOKEN_DIRECTORY,
    RenderContext,
    as_yaml,
    fingerprint,
    own_priority,
    requirements,
    resolving,
    secret,
    secret_volume,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import added

CONFIG = "agent-config"
# Resources of k3s, kubelet and containerd, which the node does not offer to pods.
OWN_CPU_MILLI = 100
OWN_MEMORY_MEBI = 320
KUBELET_PORT = 10250
# Seconds between two replaced agents: pods need a moment longer than the kubelet to be back.
SETTLING_SECONDS = 10

# Where k3s, containerd and the kubelet keep their state. An overlay cannot lie on the container's own overlay.
STATE = {
    "run": "/run",
    "var-run": "/var/run",
    "cni": "/var/lib/cni",
    "kubelet": "/var/lib/kubelet",
    "k3s": DATA_DIRECTORY,
    "log": "/var/log",
}

# For the shell of the k3s image, which has little else: built-in commands and mount only. A runtime gives a container
# private mounts; for pods with mountPropagation they must be shared, as systemd has them. The kubelet takes the
# machine's size for its own and subtracts what is reserved, so all that is beyond the pod's limits is reserved. With
# version 2 of cgroups, k3s would place itself and its pods at the root of the cgroups it sees, which is the host's:
# cgroup-root keeps them in this container. With version 1, the root a container sees is its own.
START = """\
set -eu
mount --make-rshared / || echo "pods with mountPropagation will not start" >&2
memory=0 cpu=0
while read -r key value _; do
  case $key in MemTotal:) memory=$((value / 1024)) ;; esac
done </proc/meminfo
while read -r key _; do
  case $key in processor) cpu=$((cpu + 1000)) ;; esac
done </proc/cpuinfo
memory=$((memory - LIMIT_MEMORY + OWN_MEMORY))
cpu=$((cpu - LIMIT_CPU + OWN_CPU))
if [ "$memory" -lt "$OWN_MEMORY" ]; then memory=$OWN_MEMORY; fi
if [ "$cpu" -lt "$OWN_CPU" ]; then cpu=$OWN_CPU; fi
set -- --kubelet-arg="system-reserved=cpu=${cpu}m,memory=${memory}Mi"
if [ -e /sys/fs/cgroup/cgroup.controllers ]; then
  while IFS=: read -r _ _ cgroup; do
    set -- "$@" --kubelet-arg="cgroup-root=$cgroup" \\
      --kubelet-arg="kubelet-cgroups=${cgroup%/}/k3s" --kubelet-arg="runtime-cgroups=${cgroup%/}/k3s"
  done </proc/self/cgroup
fi
exec "$K3S" agent "$@"
"""


def config(rendering: RenderContext) -> dict:
    """Return k3s's config.yaml of an agent."""
    own = {
        "server": f"https://{rendering.api_name}:{API_PORT}",
        "token-file": f"{TOKEN_DIRECTORY}/agent-token",
        # The table of connections is the host's and cannot be sized from here.
        "kube-proxy-arg": ["conntrack-max-per-core=0"],
    }
    return added(own, rendering.spec.k3s.agent)


def config_secret(rendering: RenderContext) -> dict:
    """Render the Secret with the agent's configuration."""
    return secret(rendering.metadata(CONFIG), _files(rendering))


def stateful_set(rendering: RenderContext) -> dict:
    """Render the StatefulSet. Its stable names keep agent-0 the same node after its pod was replaced."""
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": rendering.metadata(AGENT, AGENT),
        "spec": {
            "replicas": rendering.spec.agents,
            "podManagementPolicy": "Parallel",
            "minReadySeconds": SETTLING_SECONDS,
            "selector": {"matchLabels": rendering.selector(AGENT)},
            "template": {
                "metadata": {
                    "labels": rendering.selector(AGENT),
                    "annotations": {CONFIG_HASH: fingerprint(rendering.keys.agent_token, _files(rendering))},
                },
                "spec": _pod(rendering),
            },
        },
    }


def _files(rendering: RenderContext) -> dict[str, str]:
    files = {"config.yaml": as_yaml(config(rendering))}
    if rendering.spec.registries:
        files["registries.yaml"] = as_yaml(rendering.spec.registries)
    return files


def _pod(rendering: RenderContext) -> dict:
    return {
        "serviceAccountName": ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": own_priority(rendering.spec.tier),
        "terminationGracePeriodSeconds": STOP_SECONDS,
        # The DNS inside passes on what it does not know to these resolvers.
        **resolving({rendering.api_name: rendering.cluster_ip}),
        **scheduling.fields(rendering, AGENT, rendering.spec.agent_placement),
        "containers": [_container(rendering)],
        "volumes": [
            secret_volume("config", CONFIG),
            secret_volume("token", JOIN_TOKEN, {"agent-token": "agent-token"}),
            # k3s gives a name to a node that knows the password it was first taken with: the replacement of a pod must.
            secret_volume("node", JOIN_TOKEN, {"node-password": "password"}),
            *({"name": name, "emptyDir": {}} for name in STATE),
        ],
    }


def _container(rendering: RenderContext) -> dict:
    spec = rendering.spec
    return {
        "name": K3S_CONTAINER,
        "image": spec.image_reference,
        "imagePullPolicy": "IfNotPresent",
        "command": ["/bin/sh", "-c", START],
        "env": [
            {"name": "K3S", "value": K3S},
            {"name": "OWN_CPU", "value": str(OWN_CPU_MILLI)},
            {"name": "OWN_MEMORY", "value": str(OWN_MEMORY_MEBI)},
            _limit("LIMIT_CPU", "limits.cpu", "1m"),
            _limit("LIMIT_MEMORY", "limits.memory", "1Mi"),
        ],
        "resources": requirements(spec.agent, spec.tier),
        "securityContext": {"privileged": True},
        "readinessProbe": {"tcpSocket": {"port": KUBELET_PORT}, "periodSeconds": 1},
        "volumeMounts": [
            {"name": "config", "mountPath": CONFIG_DIRECTORY, "readOnly": True},
            {"name": "token", "mountPath": TOKEN_DIRECTORY, "readOnly": True},
            {"name": "node", "mountPath": "/etc/rancher/node", "readOnly": True},
            *({"name": name, "mountPath": path} for name, path in STATE.items()),
        ],
    }


def _limit(name: str, resource: str, unit: str) -> dict:
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource, "divisor": unit}}}
