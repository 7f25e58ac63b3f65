"""ISO-8: what Pod Security forbids is refused by the host, whatever the tenant, an administrator inside, does there.

payments--dev of the demo is held to the level baseline, payments--stage to restricted.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from .space import WAIT, Space, made_space

VCLUSTERS = ("payments--dev", "payments--stage")
HARMLESS = {
    "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "web",
            "image": "docker.io/lab/web:1",
            "args": ["sleep"],
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
    ],
}

# What is put into the pod or its container, and the words of the host's refusal.
BASELINE = {
    "hostProcess": ({"securityContext": {"windowsOptions": {"hostProcess": True}}, "hostNetwork": True}, "hostProcess"),
    "hostNetwork": ({"hostNetwork": True}, "host namespaces"),
    "hostPID": ({"hostPID": True}, "host namespaces"),
    "hostIPC": ({"hostIPC": True}, "host namespaces"),
    "privileged": (
        {"container": {"securityContext": {"privileged": True, "allowPrivilegeEscalation": True}}},
        "privileged",
    ),
    "capabilities": (
        {"container": {"securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}},
        "capabilities",
    ),
    "hostPath": ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "hostPath"),
    "hostPorts": ({"container": {"ports": [{"containerPort": 80, "hostPort": 80}]}}, "hostPort"),
    "appArmor": ({"container": {"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}}, "AppArmor"),
    "seLinux": ({"container": {"securityContext": {"seLinuxOptions": {"user": "root"}}}}, "seLinux"),
    "seccomp": ({"container": {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}}, "seccomp"),
    "sysctls": (
        {"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}},
        "sysctl",
    ),
    "hostProbes": (
        {"container": {"livenessProbe": {"httpGet": {"host": "10.0.0.1", "port": 80}}}},
        "probe",
    ),
}
RESTRICTED = {
    # From Kubernetes 1.35 on, baseline allows it in a user namespace, and nothing else allows it at all.
    "procMount": ({"hostUsers": False, "container": {"securityContext": {"procMount": "Unmasked"}}}, "procMount"),
    "volumeTypes": ({"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "restricted volume types"),
    "privilegeEscalation": (
        {"container": {"securityContext": {"allowPrivilegeEscalation": True}}},
        "allowPrivilegeEscalation",
    ),
    "runAsNonRoot": ({"securityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
    "runAsUser": ({"container": {"securityContext": {"runAsUser": 0}}}, "runAsUser=0"),
    "seccomp": ({"securityContext": {"seccompProfile": None}}, "seccompProfile"),
    "capabilities": (
        {"container": {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}}},
        "capabilities",
    ),
    "drop": ({"container": {"securityContext": {"capabilities": {"drop": ["CHOWN"]}}}}, "capabilities"),
}
CASES = [
    *(("payments--dev", name, *case) for name, case in BASELINE.items()),
    *(("payments--stage", name, *case) for name, case in RESTRICTED.items()),
]


def merged(base: dict, change: dict) -> dict:
    made = copy.deepcopy(base)
    for key, value in change.items():
        made[key] = merged(made[key], value) if isinstance(value, dict) and isinstance(made.get(key), dict) else value
    return made


def pod(name: str, violation: dict, group: str = "containers") -> dict:
    """A pod that is harmless but for one thing, in its container or in an init container."""
    spec = merged(HARMLESS, {key: value for key, value in violation.items() if key != "container"})
    if "container" in violation:
        guilty = merged(HARMLESS["containers"][0], violation["container"])
        if group == "containers":
            spec["containers"] = [guilty]
        else:
            spec[group] = [{**guilty, "name": "first", "args": ["print", "done"]}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def named(check: str, group: str) -> str:
    return f"{check.lower()}-{group[:4].lower()}"


def groups(check: str, violation: dict) -> tuple[str, ...]:
    """Where it can be violated. Init containers have no probes."""
    both = "container" in violation and check != "hostProbes"
    return ("containers", "initContainers") if both else ("containers",)


@pytest.fixture(scope="module")
def spaces(site: object) -> Iterator[dict[str, Space]]:
    """One in each virtual cluster, as privileged inside as can be, with all the pods that break a rule."""
    with contextlib.ExitStack() as stack:
        found = {vcluster: stack.enter_context(made_space(vcluster, "security")) for vcluster in VCLUSTERS}
        for vcluster, space in found.items():
            space("label", "namespace", space.name, "pod-security.kubernetes.io/enforce=privileged")
            space.create(
                *(
                    pod(named(check, group), violation, group)
                    for where, check, violation, _words in CASES
                    for group in groups(check, violation)
                    if where == vcluster
                )
            )
        yield found


@pytest.mark.parametrize(("vcluster", "check", "violation", "words"), CASES, ids=[f"{c[0]}-{c[1]}" for c in CASES])
def test_violating_pod_is_refused(
    hub: Path, spaces: dict[str, Space], vcluster: str, check: str, violation: dict, words: str
) -> None:
    for group in groups(check, violation):
        name = named(check, group)
        message = spaces[vcluster].warning(name)
        # Hosts before Kubernetes 1.34 do not judge probes; the syncer refuses them on all.
        assert ("violates PodSecurity" in message) == (check != "hostProbes")
        assert words.lower() in message.lower()
        assert not spaces[vcluster].copy_of(hub, "pods", name)


@pytest.mark.parametrize("vcluster", VCLUSTERS)
def test_harmless_pod_runs(hub: Path, spaces: dict[str, Space], vcluster: str) -> None:
    """The positive control, and an ephemeral container that breaks a rule in it."""
    space = spaces[vcluster]
    space.create(pod("harmless", {}))
    space("wait", "--for=condition=Ready", "pod/harmless", WAIT)
    assert space.copy_of(hub, "pods", "harmless")
    guilty = {"name": "guilty", "image": "docker.io/lab/web:1", "args": ["sleep"]}
    guilty["securityContext"] = {"privileged": True}
    body = {"spec": {"ephemeralContainers": [guilty]}}
    space("patch", "pod", "harmless", "--subresource=ephemeralcontainers", "-p", json.dumps(body))
    assert "violates PodSecurity" in space.warning("harmless")
    space("delete", "pod", "harmless", "--wait=false", "--grace-period=1")
