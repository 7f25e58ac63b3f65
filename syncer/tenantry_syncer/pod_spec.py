"""A pod of the virtual cluster as a pod of its namespace on the host. Pure.

Of the pod's own fields only those listed here are taken over: what is new in Kubernetes stays inside until somebody has
thought about it. What the Pod Security of the host judges is passed on as it is, for the host to refuse.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tenantry_syncer import downward, names, pod_status
from tenantry_syncer.config import Config
from tenantry_syncer.kinds import POD

# As they are.
_SAME = (
    "activeDeadlineSeconds",
    "hostAliases",
    "hostIPC",
    "hostNetwork",
    "hostPID",
    "hostUsers",
    "nodeSelector",
    "os",
    "resources",
    "restartPolicy",
    "securityContext",
    "shareProcessNamespace",
)
_CONTAINER = (
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
# Others could read what lies in the namespace on the host, or reach what the host's nodes reach.
_VOLUMES = ("configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret")
# Taints that say how a node is. What else it may be tainted for, being cordoned too, is the host's own.
_TOLERATIONS = tuple(
    f"node.kubernetes.io/{state}"
    for state in ("not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "network-unavailable")
)
# Nobody keeps a node of the host from being drained for longer.
LONGEST_GRACE = 3600
# Of an API server; a kubelet leaves out what is more.
_NAMESERVERS, _SEARCHES = 3, 32


class Refused(Exception):
    """What the platform does not let a tenant ask for."""


@dataclass(frozen=True)
class Surroundings:
    """What else in the virtual cluster a pod depends on."""

    config: Config
    services: list[dict] = field(default_factory=list)  # of the pod's namespace
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # name to labels
    # By "configMapRef" or "secretRef" and name: the keys of a config map or secret of the pod's namespace.
    keys: Callable[[str, str], Iterable[str]] = lambda _reference, _name: ()


def token_secret(namespace: str, pod: str) -> str:
    return f"{names.host_name(namespace, pod)}-tokens"


def token_sources(pod: dict) -> list[tuple[str, dict]]:
    """Where the pod wants tokens: the key in the Secret that holds them, and the source as it was asked for."""
    return [
        (f"{volume['name']}.{index}", source["serviceAccountToken"])
        for volume in pod["spec"].get("volumes") or []
        for index, source in enumerate((volume.get("projected") or {}).get("sources") or [])
        if "serviceAccountToken" in source
    ]


def host_pod(pod: dict, around: Surroundings) -> dict:
    """The pod to make on the host, or Refused."""
    config, spec = around.config, pod["spec"]
    namespace = pod["metadata"]["namespace"]
    made: dict[str, Any] = {name: copy.deepcopy(spec[name]) for name in _SAME if name in spec}
    made.update(
        serviceAccountName=config.service_account,
        automountServiceAccountToken=False,
        enableServiceLinks=False,
        priorityClassName=config.priority_class,
        terminationGracePeriodSeconds=min(spec.get("terminationGracePeriodSeconds", 30), LONGEST_GRACE),
        hostname=spec.get("hostname") or pod["metadata"]["name"].replace(".", "-")[: names.LIMIT].rstrip("-"),
        dnsPolicy="None" if _uses_cluster_dns(spec) else spec.get("dnsPolicy", "Default"),
        tolerations=[one for one in spec.get("tolerations") or [] if one.get("key") in _TOLERATIONS],
        volumes=[_volume(volume, pod) for volume in spec.get("volumes") or []],
    )
    if dns := _dns(spec, namespace, config):
        made["dnsConfig"] = dns
    if gates := pod_status.gates(pod):
        made["readinessGates"] = [{"conditionType": kind} for kind in gates]
    if spec.get("imagePullSecrets"):
        made["imagePullSecrets"] = [
            {"name": names.host_name(namespace, one["name"])} for one in spec["imagePullSecrets"] if one.get("name")
        ]
    if affinity := _affinity(spec, namespace, around):
        made["affinity"] = affinity
    if spec.get("topologySpreadConstraints"):
        made["topologySpreadConstraints"] = [_spread(one, namespace) for one in spec["topologySpreadConstraints"]]
    for group in ("initContainers", "containers"):
        if spec.get(group):
            made[group] = [container(one, pod, around) for one in spec[group]]
    if config.pod_security == "restricted" and _is_dns(pod):
        _restrict_dns(made)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": host_metadata(pod, config), "spec": made}


def host_metadata(pod: dict, config: Config) -> dict:
    inside = pod["metadata"]
    metadata = names.metadata(config.labels, POD.component, pod)
    metadata["labels"].update(names.pod_labels(inside["namespace"], inside.get("labels")))
    metadata["annotations"].update(downward.annotations(pod))
    return metadata


def container(given: dict, pod: dict, around: Surroundings) -> dict:
    """A container of any sort, with its environment in the terms of the host, or Refused."""
    namespace = pod["metadata"]["namespace"]
    made = {key: copy.deepcopy(given[key]) for key in _CONTAINER if key in given}
    _refuse_other_hosts(made)
    made["env"] = _environment(made.get("env") or [], set(_taken_over(given, around)), pod, around)
    for source in made.get("envFrom") or []:
        for reference in ("configMapRef", "secretRef"):
            if reference in source:
                source[reference]["name"] = names.host_name(namespace, source[reference]["name"])
    return made


def _refuse_other_hosts(given: dict) -> None:
    """The kubelet would ask them from the node's own network. Pod Security judges it from Kubernetes 1.34 on only."""
    handlers = [(name, given.get(name) or {}) for name in _PROBES]
    handlers += [(f"lifecycle {name}", one or {}) for name, one in (given.get("lifecycle") or {}).items()]
    for name, handler in handlers:
        if not isinstance(handler, dict):
            continue
        for kind in ("httpGet", "tcpSocket"):
            if (handler.get(kind) or {}).get("host"):
                what = name if name.startswith("lifecycle") else f"probe {name}"
                raise Refused(f"container {given['name']}: {what}: {kind}.host is not offered; leave it out")


def _taken_over(given: dict, around: Surroundings) -> Iterator[str]:
    """The variables that a container takes from config maps and secrets as a whole."""
    for source in given.get("envFrom") or []:
        for reference in ("configMapRef", "secretRef"):
            if reference in source:
                for key in around.keys(reference, source[reference]["name"]):
                    yield source.get("prefix", "") + key


def _environment(given: list[dict], taken_over: set[str], pod: dict, around: Surroundings) -> list[dict]:
    """Services come first and give way to all that the pod says itself: on the host they are variables like others."""
    namespace = pod["metadata"]["namespace"]
    links = pod["spec"].get("enableServiceLinks", True)
    own = {one["name"] for one in given} | taken_over
    found = [
        {"name": name, "value": value}
        for name, value in service_variables(around, links=links).items()
        if name not in own
    ]
    for one in given:
        source = one.get("valueFrom") or {}
        for reference in ("configMapKeyRef", "secretKeyRef"):
            if reference in source:
                source[reference]["name"] = names.host_name(namespace, source[reference]["name"])
        if "fieldRef" in source:
            source["fieldRef"] = downward.reference(source["fieldRef"])
    return found + given


def service_variables(around: Surroundings, *, links: bool) -> dict[str, str]:
    """What the kubelet would set of the services of the pod's namespace, and always of the API server."""
    found = _links("kubernetes", around.config.api_address, [{"name": "https", "port": 443, "protocol": "TCP"}])
    for service in around.services if links else ():
        address = service["spec"].get("clusterIP")
        if address and address != "None":
            found.update(_links(service["metadata"]["name"], address, service["spec"].get("ports") or []))
    return found


def _links(name: str, address: str, ports: list[dict]) -> dict[str, str]:
    if not ports:
        return {}
    prefix = name.upper().replace("-", "_")
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for index, one in enumerate(ports):
        number, protocol = str(one["port"]), one.get("protocol", "TCP")
        url = f"{protocol.lower()}://{address}:{number}"
        if one.get("name"):
            found[f"{prefix}_SERVICE_PORT_{one['name'].upper().replace('-', '_')}"] = number
        if index == 0:
            found[f"{prefix}_PORT"] = url
        key = f"{prefix}_PORT_{number}_{protocol}"
        found |= {key: url, f"{key}_PROTO": protocol.lower(), f"{key}_PORT": number, f"{key}_ADDR": address}
    return found


def _volume(volume: dict, pod: dict) -> dict:
    namespace, name = pod["metadata"]["namespace"], volume["name"]
    made = copy.deepcopy(volume)
    if "ephemeral" in made:
        claim = f"{pod['metadata']['name']}-{name}"
        return {"name": name, "persistentVolumeClaim": {"claimName": names.host_name(namespace, claim)}}
    kinds = [key for key in made if key != "name"] or ["emptyDir"]
    for kind in kinds:
        if kind not in _VOLUMES or len(kinds) > 1:
            raise Refused(
                f"volume {name}: volumes of type {kind} are not offered; use {', '.join(_VOLUMES[:3])} or a claim"
            )
    kind = kinds[0]
    if kind == "persistentVolumeClaim":
        made[kind]["claimName"] = names.host_name(namespace, made[kind]["claimName"])
    elif kind == "projected":
        sources = made[kind].get("sources") or []
        made[kind]["sources"] = [_projection(one, f"{name}.{at}", pod) for at, one in enumerate(sources)]
    else:
        _rename(made, kind, namespace)
    return made


def _projection(source: dict, key: str, pod: dict) -> dict:
    namespace = pod["metadata"]["namespace"]
    if "serviceAccountToken" in source:
        items = [{"key": key, "path": source["serviceAccountToken"]["path"]}]
        return {"secret": {"name": token_secret(namespace, pod["metadata"]["name"]), "items": items}}
    for kind in source:
        if kind not in ("configMap", "downwardAPI", "secret"):
            raise Refused(f"a projected volume of {kind} is not offered")
        _rename(source, kind, namespace)
    return source


def _rename(holder: dict, kind: str, namespace: str) -> None:
    """Names of config maps and secrets, and references to the pod's own fields."""
    source = holder[kind]
    if kind == "configMap":
        source["name"] = names.host_name(namespace, source["name"])
    elif kind == "secret":
        # A volume calls it so, a projection otherwise. Never leave one of the two as it was.
        for field_name in ("secretName", "name"):
            if field_name in source:
                source[field_name] = names.host_name(namespace, source[field_name])
    elif kind == "downwardAPI":
        for item in source.get("items") or []:
            if "fieldRef" in item:
                item["fieldRef"] = downward.reference(item["fieldRef"])


def _is_dns(pod: dict) -> bool:
    metadata = pod["metadata"]
    return metadata["namespace"] == "kube-system" and (metadata.get("labels") or {}).get("k8s-app") == "kube-dns"


def _restrict_dns(made: dict) -> None:
    """k3s's own CoreDNS lacks little of what the level restricted wants, and without it nothing would find anything."""
    made["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
        # For port 53 without being root: not every runtime lets go of it by itself.
        "sysctls": [{"name": "net.ipv4.ip_unprivileged_port_start", "value": "0"}],
    }
    for one in made["containers"]:
        one["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def _uses_cluster_dns(spec: dict) -> bool:
    policy = spec.get("dnsPolicy", "ClusterFirst")
    return policy in ("None", "ClusterFirstWithHostNet") or (policy == "ClusterFirst" and not spec.get("hostNetwork"))


def _dns(spec: dict, namespace: str, config: Config) -> dict:
    given = copy.deepcopy(spec.get("dnsConfig") or {})
    if spec.get("dnsPolicy") == "None" or not _uses_cluster_dns(spec):
        return given
    domain = config.cluster_domain
    searches = [f"{namespace}.svc.{domain}", f"svc.{domain}", domain]
    options = given.get("options") or []
    if not any(one["name"] == "ndots" for one in options):
        options = [*options, {"name": "ndots", "value": "5"}]
    return {
        "nameservers": [config.dns_address, *(given.get("nameservers") or [])][:_NAMESERVERS],
        "searches": (searches + [one for one in given.get("searches") or [] if one not in searches])[:_SEARCHES],
        "options": options,
    }


def _affinity(spec: dict, namespace: str, around: Surroundings) -> dict:
    made = copy.deepcopy(spec.get("affinity") or {})
    for kind in ("podAffinity", "podAntiAffinity"):
        for term in (made.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []:
            _confine(term, namespace, around)
        for weighted in (made.get(kind) or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or []:
            _confine(weighted["podAffinityTerm"], namespace, around)
    if spec.get("nodeName"):
        _require_node(made, spec["nodeName"])
    return made


def _confine(term: dict, namespace: str, around: Surroundings) -> None:
    """All namespaces inside are one on the host: which are meant is said by label."""
    chosen = set(term.pop("namespaces", None) or [])
    by_labels = term.pop("namespaceSelector", None)
    if by_labels is not None:
        chosen |= {name for name, labels in around.namespaces.items() if matches(by_labels, labels)}
    elif not chosen:
        chosen = {namespace}
    selector = names.host_selector(term.get("labelSelector"))
    among = {"key": names.NAMESPACE_LABEL, "operator": "In", "values": sorted(map(names.digest, chosen)) or ["-"]}
    selector["matchExpressions"] = [*selector.get("matchExpressions", []), among]
    term["labelSelector"] = selector
    _map_keys(term)


def _spread(constraint: dict, namespace: str) -> dict:
    made = copy.deepcopy(constraint)
    selector = names.host_selector(made.get("labelSelector"))
    selector.setdefault("matchLabels", {})[names.NAMESPACE_LABEL] = names.digest(namespace)
    made["labelSelector"] = selector
    _map_keys(made)
    return made


def _map_keys(term: dict) -> None:
    for keys in ("matchLabelKeys", "mismatchLabelKeys"):
        if term.get(keys):
            term[keys] = [names.label_key(key) for key in term[keys]]


def _require_node(affinity: dict, node: str) -> None:
    """By the host's scheduler, not past it: whoever names a node himself is asked neither for taints nor for room."""
    required = affinity.setdefault("nodeAffinity", {}).setdefault("requiredDuringSchedulingIgnoredDuringExecution", {})
    wanted = {"key": "metadata.name", "operator": "In", "values": [node]}
    for term in required.setdefault("nodeSelectorTerms", [{}]):
        fields = [one for one in term.get("matchFields") or [] if one["key"] != "metadata.name"]
        term["matchFields"] = [*fields, wanted]


def matches(selector: Mapping, labels: Mapping[str, str]) -> bool:
    """Whether a label selector chooses these labels."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(one, labels) for one in selector.get("matchExpressions") or [])


def _holds(expression: Mapping, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or []
    return {
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }[expression["operator"]]


def named(pod: dict) -> Iterable[dict]:
    """All containers of a pod."""
    return (one for group in CONTAINERS for one in pod["spec"].get(group) or [])
