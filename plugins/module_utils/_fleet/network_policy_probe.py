# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Test whether a host enforces network policies.

Two pods run for some seconds. Policies deny one of them two of the other's three ports.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import timedelta
from itertools import product

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, moment
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NETWORK_POLICY, NODE, POD
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline, wait_for
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import USER_ID

ANNOTATION = "tenantry.dev/network-policies"  # of the platform's namespace, once it is known
ENFORCED = "enforced"

# Each run appends a suffix.
SERVER, CLIENT = "network-probe-server", "network-probe-client"
LABEL = "tenantry.dev/network-probe"
SECONDS = 60
OPEN, NO_INGRESS, NO_EGRESS = 8001, 8002, 8003
UNREACHED = 2  # the port that is open to all did not answer
DIRECTIONS = {4: "ingress", 8: "egress"}  # exit code of the probing pod, a sum of these
HOPELESS = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "CreateContainerError")

SERVE = """\
import asyncio

async def main():
    for port in PORTS:
        await asyncio.start_server(lambda _, writer: writer.close(), None, port)
    await asyncio.sleep(SECONDS)

asyncio.run(main())
"""
# Enforcement may start some seconds late. Without it, everything passes until the timeout.
CONNECT = """\
import socket, sys, time

def passes(port):
    try:
        socket.create_connection((ADDRESS, port), 2).close()
    except OSError:
        return False
    return True

def until(found, seconds):
    end = time.monotonic() + seconds
    while not found() and time.monotonic() < end:
        time.sleep(0.2)

def left():
    return 4 * passes(NO_INGRESS) + 8 * passes(NO_EGRESS)

until(lambda: passes(OPEN), 20)
until(lambda: not left(), 15)
sys.exit(left() if passes(OPEN) else UNREACHED)
"""


def check_enforcement(context: Context, host: Cluster, image: str | None, known: dict[str, str]) -> dict[str, str]:
    """Probe the host, warn if it does not enforce policies, and return the annotation for the platform's namespace."""
    if known or context.check_mode or not host.list(NODE):
        return known
    if not image:
        context.warn(
            f"network_probe_image: not set, so whether host {host.name} enforces network policies was not tested. Set "
            "it, or tenantry_syncer_image in the inventory, to an image with python3 that the host can pull"
        )
        return {}
    try:
        missing = _open_directions(host, image, Deadline(SECONDS))
    except TenantryError as error:
        context.warn(
            f"could not determine whether host {host.name} enforces network policies, so virtual clusters on it may "
            f"not be isolated: {error}. Set a network_probe_image with python3 that it can pull"
        )
        return {}
    if missing:
        context.warn(
            f"host {host.name} DOES NOT ENFORCE NETWORK POLICIES for {' and '.join(missing)}: its virtual clusters are "
            "not isolated from each other and from the host. Install a network plugin that does, then run again"
        )
        return {}
    return {ANNOTATION: ENFORCED}


def cached_result(namespace: dict | None) -> dict[str, str]:
    """Return the annotation with the result of an earlier run, or an empty dictionary."""
    found = ((namespace or {}).get("metadata", {}).get("annotations") or {}).get(ANNOTATION)
    return {ANNOTATION: found} if found else {}


def _open_directions(host: Cluster, image: str, deadline: Deadline) -> list[str]:
    _remove_old(host)
    run = secrets.token_hex(4)  # so that concurrent runs do not delete each other's probe
    server, client = f"{SERVER}-{run}", f"{CLIENT}-{run}"
    try:
        for policy in _policies(server, client):
            host.apply(policy)
        host.apply(_pod(server, image, SERVE, PORTS=(OPEN, NO_INGRESS, NO_EGRESS), SECONDS=SECONDS))
        address = _when(host, server, _is_running, deadline)["status"]["podIP"]
        ports = {"OPEN": OPEN, "NO_INGRESS": NO_INGRESS, "NO_EGRESS": NO_EGRESS, "UNREACHED": UNREACHED}
        host.apply(_pod(client, image, CONNECT, ADDRESS=address, **ports))
        ended = _when(host, client, _has_ended, deadline)["status"]["containerStatuses"][0]["state"]["terminated"]
    finally:
        for kind, name in product((POD, NETWORK_POLICY), (server, client)):
            _delete(host, kind, name)
    code = ended["exitCode"]
    if code not in (0, *DIRECTIONS, sum(DIRECTIONS)):
        reason = "its pods do not reach each other" if code == UNREACHED else f"the probe ended with code {code}"
        raise TenantryError(f"{reason}, on {host.name}")
    return [direction for bit, direction in DIRECTIONS.items() if code & bit]


def _remove_old(host: Cluster) -> None:
    """Delete what a killed run has left. A younger probe may be that of a concurrent run."""
    end = clock() - timedelta(seconds=2 * SECONDS)
    for kind in (POD, NETWORK_POLICY):
        for obj in host.list(kind, naming.PLATFORM_NAMESPACE, LABEL):
            if moment(obj["metadata"]["creationTimestamp"]) < end:
                _delete(host, kind, obj["metadata"]["name"])


def _delete(host: Cluster, kind: str, name: str) -> None:
    host.delete(kind, name, naming.PLATFORM_NAMESPACE, grace=0)


def _when(host: Cluster, name: str, reached: Callable[[dict], bool], deadline: Deadline) -> dict:
    return wait_for(host, POD, name, naming.PLATFORM_NAMESPACE, reached, deadline, what=f"pod {name} of the probe")


def _is_running(pod: dict) -> bool:
    _refuse_hopeless(pod)
    return pod["status"].get("phase") == "Running" and bool(pod["status"].get("podIP"))


def _has_ended(pod: dict) -> bool:
    _refuse_hopeless(pod)
    return pod["status"].get("phase") in ("Succeeded", "Failed") and bool(pod["status"].get("containerStatuses"))


def _refuse_hopeless(pod: dict) -> None:
    for container in pod["status"].get("containerStatuses") or []:
        waiting = container["state"].get("waiting") or {}
        if waiting.get("reason") in HOPELESS:
            raise TenantryError(f"{waiting['reason']}: {waiting.get('message', container['image'])}")


def _metadata(name: str) -> dict:
    labels = {naming.LABEL_MANAGED_BY: naming.MANAGED_BY, LABEL: name}
    return {"name": name, "namespace": naming.PLATFORM_NAMESPACE, "labels": labels}


def _policies(server: str, client: str) -> list[dict]:
    """Render two policies, each of which allows two of the three ports."""

    def policy(name: str, kind: str, *ports: int) -> dict:
        rule = {"ports": [{"port": port, "protocol": "TCP"} for port in ports]}
        selector = {"matchLabels": {LABEL: name}}
        return {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": _metadata(name),
            "spec": {"podSelector": selector, "policyTypes": [kind], kind.lower(): [rule]},
        }

    return [policy(server, "Ingress", OPEN, NO_EGRESS), policy(client, "Egress", OPEN, NO_INGRESS)]


def _pod(name: str, image: str, program: str, **constants: object) -> dict:
    source = "".join(f"{constant} = {value!r}\n" for constant, value in constants.items()) + program
    container = {
        "name": "probe",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-c", source],
        "resources": {
            "requests": {"cpu": "10m", "memory": "32Mi"},
            "limits": {"cpu": "500m", "memory": "64Mi"},
        },
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": _metadata(name),
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "activeDeadlineSeconds": 2 * SECONDS,  # in case the run is killed
            "terminationGracePeriodSeconds": 0,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": USER_ID,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [container],
        },
    }
