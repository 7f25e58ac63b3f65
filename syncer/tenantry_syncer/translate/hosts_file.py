"""/etc/hosts of a pod that has a subdomain: with its full name beside its address, as a kubelet inside would write it.

The host's kubelet knows the name of the host's namespace alone, and the pod's address only when nothing of the pod can
be changed any more. So a container that runs before all others writes the file again, and they get that. Pure.
"""

from __future__ import annotations

from tenantry_syncer import naming
from tenantry_syncer.config import Config

# Of the container and of the volume. Nobody inside sees them.
NAME = "tenantry-hosts"
_FILE = "/etc/hosts"
_DIRECTORY = "/hosts"
_LIMITS = {"cpu": "100m", "memory": "32Mi"}
_REQUESTS = {"cpu": "5m", "memory": "8Mi"}
# Lines that give the pod's own addresses no other name than its host name; those of host aliases stay as they are.
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


def add(made: dict, pod: dict, config: Config) -> None:
    """To the host's pod, before what its containers leave open is filled in."""
    full = full_name(pod, config)
    if not full or not config.hosts_image:
        return
    for group in ("initContainers", "containers"):
        for one in made.get(group) or []:
            mounts = one.get("volumeMounts") or []
            if all(mount["mountPath"] != _FILE for mount in mounts):
                one["volumeMounts"] = [*mounts, {"name": NAME, "mountPath": _FILE, "subPath": "hosts"}]
    made["volumes"] = [*made["volumes"], {"name": NAME, "emptyDir": {}}]
    made["initContainers"] = [_container(full, pod, config), *made.get("initContainers", [])]


def full_name(pod: dict, config: Config) -> str | None:
    """None of a pod that has no more than a host name, or that is not asked for one."""
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
        # As the level restricted wants it, whatever the pod says.
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
