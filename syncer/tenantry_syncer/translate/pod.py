"""Translate a pod of the virtual cluster to a pod on the host. Pure.

Only the fields listed here are passed on. Fields of a later Kubernetes are not, until they are added here; an event
reports them (`left_out`). Fields for Pod Security are passed on unchanged, for the host to reject.
docs/shared-mode.md has the same lists.

The pod has passed admission in the virtual cluster. What admission added counts as set by the tenant and is not applied
again on the host: see the fields below and pod_scheduling.py.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry_syncer import naming
from tenantry_syncer.config import Config
from tenantry_syncer.kube.resources import POD
from tenantry_syncer.translate import (
    downward_api,
    hosts_file,
    pod_defaults,
    pod_dns,
    pod_resources,
    pod_scheduling,
    pod_status,
    pod_volumes,
    service_variables,
)
from tenantry_syncer.translate.rejection import RejectedSpec

# Passed on unchanged. A node selector may stem from a runtime class, which itself is not passed on (DECIDED).
PASSED = (
    "activeDeadlineSeconds",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "nodeSelector",
    "os",
    "restartPolicy",
    "securityContext",
    "shareProcessNamespace",
)
# Translated to the host.
TRANSLATED = (
    "affinity",
    "containers",
    "dnsConfig",
    "dnsPolicy",
    "enableServiceLinks",  # off on the host: service_variables.py sets the variables
    "ephemeralContainers",
    "hostname",
    "hostnameOverride",
    "imagePullSecrets",  # including those of the service account
    "initContainers",
    "nodeName",
    "readinessGates",
    "resources",
    "schedulingGates",  # the host pod is created once they are removed
    "setHostnameAsFQDN",
    "subdomain",  # a name in the virtual DNS
    "terminationGracePeriodSeconds",
    "tolerations",  # those that admission adds are for node conditions
    "topologySpreadConstraints",
    "volumes",  # including the service account token
)
# Decided by the platform. Admission sets most of them from objects that exist only in the virtual cluster: priority
# classes, runtime classes, service accounts.
DECIDED = (
    "automountServiceAccountToken",
    "evictionResponders",  # on the host, the drain of a node waits for nobody but the pod's grace period
    "overhead",
    "preemptionPolicy",
    "priority",
    "priorityClassName",
    "runtimeClassName",
    "schedulerName",
    "serviceAccount",
    "serviceAccountName",
)
# Devices and groups of pods, by objects that only the host has.
REJECTED = ("resourceClaims", "schedulingGroup")
CONTAINER = (
    "args",
    "command",
    "env",
    "envFrom",
    "image",
    "imagePullPolicy",
    "lifecycle",
    "livenessProbe",
    "name",
    "ports",
    "readinessProbe",
    "resizePolicy",
    "resources",
    "restartPolicy",
    "restartPolicyRules",
    "securityContext",
    "startupProbe",
    "stdin",
    "stdinOnce",
    "targetContainerName",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tty",
    "volumeDevices",
    "volumeMounts",
    "workingDir",
)
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
CONTAINERS = ("initContainers", "containers", "ephemeralContainers")
# In k3s's manifest, for a cluster of any size; and what the DNS of one of few pods uses.
DNS_REQUESTS = {"cpu": "100m", "memory": "70Mi"}
IDLE_DNS_REQUESTS = {"cpu": "10m", "memory": "20Mi"}
# Seconds that a pod may delay the drain of a host node.
LONGEST_GRACE = 3600
# Kubernetes versions that fields require, where they are known. Older hosts drop fields silently.
NEEDS = {"hostnameOverride": "1.35", "resources": "1.34"}


@dataclass(frozen=True)
class PodContext:
    """Configuration and objects of the virtual cluster that the translation of a pod depends on."""

    config: Config
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name to labels
    # Service environment variables of the namespace, if the pod's own variables contain references.
    variables: Mapping[str, str] = field(default_factory=dict)


def host_pod(pod: dict, context: PodContext, name: str = "") -> dict:
    """Return the host pod, with this name if one is given. Raises RejectedSpec."""
    config, spec = context.config, pod["spec"]
    namespace = pod["metadata"]["namespace"]
    metadata = host_metadata(pod, config)
    metadata["name"] = name or metadata["name"]
    if problem := pod_resources.problem_of_pod(spec, config):
        raise RejectedSpec(problem)
    result: dict[str, Any] = {name: copy.deepcopy(spec[name]) for name in PASSED if name in spec}
    result.update(
        serviceAccountName=config.service_account,
        automountServiceAccountToken=False,
        enableServiceLinks=False,
        priorityClassName=config.priority_class,
        terminationGracePeriodSeconds=min(spec.get("terminationGracePeriodSeconds", 30), LONGEST_GRACE),
        hostname=pod_dns.hostname(pod),
        dnsPolicy="None" if pod_dns.uses_cluster_dns(spec) else spec.get("dnsPolicy", "Default"),
        tolerations=pod_scheduling.tolerations(spec),
        volumes=[pod_volumes.host_volume(volume, pod, metadata["name"]) for volume in spec.get("volumes") or []],
    )
    result |= _if_any(
        hostnameOverride=pod_dns.full_hostname(pod, config),
        dnsConfig=pod_dns.dns(spec, namespace, config),
        readinessGates=[{"conditionType": kind} for kind in pod_status.readiness_gates(pod)],
        imagePullSecrets=_pull_secrets(namespace, spec),
        affinity=pod_scheduling.affinity(pod, context.namespaces),
        topologySpreadConstraints=[
            pod_scheduling.spread(one, pod) for one in spec.get("topologySpreadConstraints") or []
        ],
        initContainers=[container(one, pod, context) for one in spec.get("initContainers") or []],
        containers=[container(one, pod, context) for one in spec["containers"]],
    )
    hosts_file.add(result, pod, config)
    pod_defaults.fill(result, spec, config.container_defaults)
    if config.pod_security == "restricted" and _is_dns(pod):
        _restrict_dns(result)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": result}


def _pull_secrets(namespace: str, spec: dict) -> list[dict]:
    names = [one["name"] for one in spec.get("imagePullSecrets") or [] if one.get("name")]
    return [{"name": naming.host_name(namespace, name)} for name in names]


def _if_any(**fields: Any) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value}


def left_out(pod: dict) -> list[str]:
    """Return the fields of the pod that the syncer does not know."""
    spec = pod["spec"]
    found = [f"spec.{name}" for name in spec if name not in (*PASSED, *TRANSLATED, *DECIDED, *REJECTED)]
    for group in CONTAINERS:
        for index, one in enumerate(spec.get(group) or []):
            found += [f"spec.{group}[{index}].{name}" for name in one if name not in CONTAINER]
    return found + pod_scheduling.left_out(spec)


def dropped(desired: Any, created: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields of the desired spec that the created one lacks, because the host does not know them."""
    if isinstance(desired, Mapping) and isinstance(created, Mapping):
        for name, value in desired.items():
            where = f"{path}.{name}" if path else name
            if name in created:
                yield from dropped(value, created[name], where)
            elif value:  # API servers omit empty fields
                yield where, value
    elif isinstance(desired, list) and isinstance(created, list) and len(desired) == len(created):
        for index, (one, other) in enumerate(zip(desired, created, strict=True)):
            yield from dropped(one, other, f"{path}[{index}]")


def host_metadata(pod: dict, config: Config) -> dict:
    """Return the metadata of the host pod."""
    given = pod["metadata"]
    metadata = naming.metadata(config.labels, POD.component, pod)
    metadata["labels"].update(naming.pod_labels(given["namespace"], given.get("labels")))
    metadata["annotations"].update(downward_api.pod_annotations(pod))
    return metadata


def container(given: dict, pod: dict, context: PodContext) -> dict:
    """Translate a container of any type. Raises RejectedSpec."""
    namespace = pod["metadata"]["namespace"]
    result = {key: copy.deepcopy(given[key]) for key in CONTAINER if key in given}
    if resources := requested(given, pod):
        result["resources"] = resources
    _reject_other_hosts(result)
    if problem := pod_resources.problem(result.get("resources"), f"container {given['name']}", context.config):
        raise RejectedSpec(problem)
    result["env"] = _environment(service_variables.expanded(result.get("env") or [], context.variables), namespace)
    for source in result.get("envFrom") or []:
        for reference in ("configMapRef", "secretRef"):
            if reference in source:
                source[reference]["name"] = naming.host_name(namespace, source[reference]["name"])
    result["envFrom"] = [service_variables.source(pod), *(result.get("envFrom") or [])]
    return result


def _reject_other_hosts(given: dict) -> None:
    """Reject probes and hooks of other hosts, which the kubelet would call from the node's network.

    Pod Security checks them only from Kubernetes 1.34 on.
    """
    handlers = [(name, given.get(name) or {}) for name in _PROBES]
    handlers += [(f"lifecycle {name}", one or {}) for name, one in (given.get("lifecycle") or {}).items()]
    for name, handler in handlers:
        if not isinstance(handler, dict):
            continue
        for kind in ("httpGet", "tcpSocket"):
            if (handler.get(kind) or {}).get("host"):
                what = name if name.startswith("lifecycle") else f"probe {name}"
                raise RejectedSpec(f"container {given['name']}: {what}: {kind}.host is not supported. Omit it.")


def _environment(given: list[dict], namespace: str) -> list[dict]:
    for one in given:
        source = one.get("valueFrom") or {}
        for reference in ("configMapKeyRef", "secretKeyRef"):
            if reference in source:
                source[reference]["name"] = naming.host_name(namespace, source[reference]["name"])
        if "fieldRef" in source:
            source["fieldRef"] = downward_api.reference(source["fieldRef"])
    return given


def _is_dns(pod: dict) -> bool:
    metadata = pod["metadata"]
    return metadata["namespace"] == "kube-system" and (metadata.get("labels") or {}).get("k8s-app") == "kube-dns"


def requested(given: dict, pod: dict) -> dict:
    """Return the resources of a container for the host: as set, but less for k3s's own CoreDNS."""
    resources = given.get("resources") or {}
    if _is_dns(pod) and resources.get("requests") == DNS_REQUESTS:
        return {**resources, "requests": IDLE_DNS_REQUESTS}
    return resources


def _restrict_dns(result: dict) -> None:
    """Make k3s's own CoreDNS comply with the level restricted, since the virtual cluster needs DNS."""
    result["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
        # Allows port 53 without root; not every runtime sets it by default.
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    }
    for one in result["containers"]:
        one["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def named(pod: dict) -> Iterable[dict]:
    """Return all containers of a pod."""
    return (one for group in CONTAINERS for one in pod["spec"].get(group) or [])
