"""Rewrite /etc/hosts of a pod with a subdomain, so that it has the full name in the virtual cluster. Pure.

The host's kubelet knows only the host's namespace, and the pod's address is known only after the pod can no longer be
changed. So an init container that runs first rewrites the file, and the other containers mount the result.
"""

from __future__ import annotations

import re

from tenantry_syncer import naming
from tenantry_syncer.config import Config

# Name of the container and of the volume. The virtual cluster does not show them.
NAME = "tenantry-hosts"
_FILE = "/etc/hosts"
_DIRECTORY = "/hosts"
_LIMITS = {"cpu": "100m", "memory": "32Mi"}
_REQUESTS = {"cpu": "5m", "memory": "8Mi"}
# Replaces the lines with only the pod's own addresses and host name; lines of host aliases stay.
_SCRIPT = """
import os
full, short, own = os.environ["FULL"], os.environ["SHORT"], os.environ["ADDRESSES"].split(",")
with open("/etc/hosts") as given, open("/hosts/hosts", "w") as made:
    for line in given:
        address, *known = line.split() or [""]
        is_own = address in own and known in ([short], [full], [os.uname().nodename])
        made.write(f"{address}\\t{full}\\t{short}\\n" if is_own else line)
os.chmod("/hosts/hosts", 0o644)
"""


def add(host_pod: dict, pod: dict, config: Config) -> None:
    """Add the container, volume and mounts to the host pod, in place, before resource defaults are set."""
    full = full_name(pod, config)
    if not full or not config.hosts_image:
        return
    for group in ("initContainers", "containers"):
        for one in host_pod.get(group) or []:
            mounts = one.get("volumeMounts") or []
            if all(mount["mountPath"] != _FILE for mount in mounts):
                one["volumeMounts"] = [*mounts, {"name": NAME, "mountPath": _FILE, "subPath": "hosts"}]
    host_pod["volumes"] = [*host_pod["volumes"], {"name": NAME, "emptyDir": {}}]
    host_pod["initContainers"] = [_container(full, pod, config), *host_pod.get("initContainers", [])]


def without_name(text: str) -> str:
    """Remove the name of the container from a message that lists containers."""
    return re.sub(rf"\b{NAME}\b ?", "", text)


def full_name(pod: dict, config: Config) -> str | None:
    """Return the full name of the pod; None without a subdomain, on the host network or on Windows."""
    spec, metadata = pod["spec"], pod["metadata"]
    if not spec.get("subdomain") or spec.get("hostNetwork") or (spec.get("os") or {}).get("name") == "windows":
        return None
    return f"{_short(pod)}.{spec['subdomain']}.{metadata['namespace']}.svc.{config.cluster_domain}"


def _short(pod: dict) -> str:
    return pod["spec"].get("hostname") or pod["metadata"]["name"][: naming.LIMIT].rstrip("-.")


def _container(full: str, pod: dict, config: Config) -> dict:
    whole = pod["spec"].get("resources") or {}
    set_by_pod = {*(whole.get("limits") or {}), *(whole.get("requests") or {})}
    addresses = {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIPs"}}
    return {
        "name": NAME,
        "image": config.hosts_image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-I", "-S", "-c", _SCRIPT],
        "env": [
            {"name": "FULL", "value": full},
            {"name": "SHORT", "value": _short(pod)},
            {"name": "ADDRESSES", "valueFrom": addresses},
        ],
        "resources": {
            kind: {name: amount for name, amount in amounts.items() if name not in set_by_pod}
            for kind, amounts in (("limits", _LIMITS), ("requests", _REQUESTS))
        },
        # Complies with the level restricted, whatever the pod sets.
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": [{"name": NAME, "mountPath": _DIRECTORY}],
    }
