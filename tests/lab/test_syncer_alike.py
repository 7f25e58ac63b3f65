"""Pods of many kinds, as users report them: the host's copy has what the pod has, but for what is translated."""

from __future__ import annotations

import copy
from typing import Any

from .harness import until
from .space import COPY, name_inside, note
from .syncer_pair import Pair, PairSpace
from .test_syncer_pods import container

SELECTOR = {"matchLabels": {"app": "web"}}
DATA = [{"name": "data", "mountPath": "/data"}]


def projected(*sources: dict, **fields: Any) -> dict:
    return {"volumes": [{"name": "data", "projected": {"sources": list(sources), **fields}}]}


def field(path: str) -> dict:
    return {"name": path.partition("[")[0].replace(".", "_").upper(), "valueFrom": {"fieldRef": {"fieldPath": path}}}


OF_THE_HOST = ("spec.nodeName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs")
IN_PLACE = [{"resourceName": name, "restartPolicy": "NotRequired"} for name in ("cpu", "memory")]
CPU = {"path": "cpu", "resourceFieldRef": {"containerName": "a", "resource": "requests.cpu"}}
MEMORY = {"name": "A", "valueFrom": {"resourceFieldRef": {"resource": "limits.memory", "divisor": "1Mi"}}}
FROM_FILE = {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "data", "path": "f", "key": "A"}}}
PODS: dict[str, dict] = {
    "probes": {
        "containers": [
            container(
                ports=[{"name": "web", "containerPort": 8080}, {"name": "dns", "containerPort": 53, "protocol": "UDP"}],
                startupProbe={"httpGet": {"path": "/s", "port": "web", "httpHeaders": [{"name": "A", "value": "b"}]}},
                readinessProbe={"grpc": {"port": 8080, "service": "x"}, "successThreshold": 2},
                livenessProbe={"exec": {"command": ["true"]}, "terminationGracePeriodSeconds": 3, "periodSeconds": 7},
            )
        ]
    },
    "hooks": {
        "terminationGracePeriodSeconds": 20,
        "containers": [
            container(
                lifecycle={"preStop": {"sleep": {"seconds": 5}}, "postStart": {"exec": {"command": ["true"]}}},
                terminationMessagePath="/dev/last-words",
                terminationMessagePolicy="FallbackToLogsOnError",
            )
        ],
    },
    "stops": {
        "os": {"name": "linux"},
        "containers": [container(lifecycle={"stopSignal": "SIGUSR1"})],
    },
    "sidecar": {
        "restartPolicy": "Never",
        "initContainers": [
            container(name="proxy", restartPolicy="Always", startupProbe={"tcpSocket": {"port": 15000}}),
            container(name="wait", command=["sh", "-c", "$(A)"], workingDir="/data"),
        ],
    },
    "rules": {
        "restartPolicy": "Never",
        "containers": [
            container(
                restartPolicy="Never",
                restartPolicyRules=[{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
            )
        ],
    },
    "terminal": {"containers": [container(stdin=True, stdinOnce=True, tty=True, args=["sh"])]},
    "shared": {"shareProcessNamespace": True, "containers": [container(), container(name="b")]},
    "aliases": {"hostAliases": [{"ip": "192.0.2.1", "hostnames": ["db", "db.example.com"]}]},
    "deadline": {"activeDeadlineSeconds": 30, "restartPolicy": "OnFailure"},
    "security": {
        "securityContext": {
            **{"fsGroup": 2000, "fsGroupChangePolicy": "OnRootMismatch", "runAsGroup": 3000, "runAsNonRoot": True},
            **{"runAsUser": 1000, "supplementalGroups": [4000], "supplementalGroupsPolicy": "Strict"},
            "seccompProfile": {"type": "RuntimeDefault"},
            "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
        },
        "containers": [
            container(
                securityContext={
                    **{"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "runAsUser": 1001},
                    "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
                }
            )
        ],
    },
    "users": {"hostUsers": False},
    "arch": {
        "nodeSelector": {"kubernetes.io/arch": "amd64"},
        "affinity": {
            "nodeAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {"weight": 1, "preference": {"matchExpressions": [{"key": "disk", "operator": "Exists"}]}}
                ]
            }
        },
    },
    "resizable": {"containers": [container(resizePolicy=IN_PLACE)]},
    "scratch": {
        "volumes": [{"name": "data", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}}],
        "containers": [
            container(
                env=[{"name": "A", "value": "x"}, {"name": "B", "value": "$(A)-$$(A)-$(NONE)"}],
                volumeMounts=[{"name": "data", "mountPath": "/data", "subPathExpr": "$(A)"}],
            )
        ],
    },
    "mounts": {
        "volumes": [{"name": "data", "emptyDir": {}}],
        "containers": [
            container(
                volumeMounts=[
                    {"name": "data", "mountPath": "/a", "subPath": "a", "mountPropagation": "HostToContainer"},
                    {"name": "data", "mountPath": "/b", "readOnly": True, "recursiveReadOnly": "IfPossible"},
                ]
            )
        ],
    },
    "image": {
        "volumes": [{"name": "data", "image": {"reference": "docker.io/lab/web:1", "pullPolicy": "IfNotPresent"}}],
    },
    "who": {"containers": [container(env=[*map(field, OF_THE_HOST)])]},
    "file": {"volumes": [{"name": "data", "emptyDir": {}}], "containers": [container(env=[FROM_FILE])]},
    "amounts": {
        "containers": [container(env=[MEMORY])],
        **projected({"downwardAPI": {"items": [CPU]}}, defaultMode=0o440),
    },
    "whole": {"resources": {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}}},
    "named": {"hostname": "db-0"},
}  # fmt: skip
# Parts with names, and what is filled in.
TRANSLATED = ("envFrom", "resources")
OF_POD = ("volumes", "resources", "affinity", "tolerations", "containers", "initContainers", "hostname")


def test_what_a_pod_has_is_on_the_host(pair: Pair) -> None:
    with pair.space("alike") as space:
        for name, given in PODS.items():
            spec = {"containers": [container(volumeMounts=DATA if "volumes" in given else [])], **copy.deepcopy(given)}
            made = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}
            space.api.create(made, space.name)
        copies = until(lambda: (found := _copies(pair, space)) and set(found) == set(PODS) and found, 60)
        wrong = [found for name in PODS for found in _differences(name, space.get("pods", name)["spec"], copies[name])]
        assert wrong == []
        events = [one for one in space.api.list("events", space.name) if one["type"] == "Warning"]
        assert [one["message"] for one in events if one["source"].get("component") == "tenantry-syncer"] == []


def _copies(pair: Pair, space: PairSpace) -> dict[str, dict]:
    found = pair.host_api.list("pods", pair.namespace, labelSelector=COPY)
    return {name_inside(one): one["spec"] for one in found if note(one, "namespace") == space.name}


def _differences(name: str, inside: dict, there: dict) -> list[tuple[str, str, Any, Any]]:
    decided = {
        "serviceAccount",
        "serviceAccountName",
        "enableServiceLinks",
        "dnsPolicy",
        "priority",
        "preemptionPolicy",
    }
    fields = [key for key in PODS[name] if key not in (*OF_POD, *decided)]
    found = [(name, key, inside.get(key), there.get(key)) for key in fields if inside.get(key) != there.get(key)]
    wanted_affinity = (inside.get("affinity") or {}).get("nodeAffinity")
    if (there.get("affinity") or {}).get("nodeAffinity") != wanted_affinity:
        found.append((name, "affinity", wanted_affinity, there.get("affinity")))
    for group in ("initContainers", "containers"):
        for one, other in zip(inside.get(group) or [], there.get(group) or [], strict=True):
            keys = {*one, *other} - set(TRANSLATED)
            found += [(name, key, one.get(key), other.get(key)) for key in keys if one.get(key) != other.get(key)]
    return found
