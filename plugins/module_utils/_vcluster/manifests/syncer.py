# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the syncer of mode shared, which creates the tenant's pods in this namespace. Pure.

Its pod is separate, because it must reach the host's API server, and k3s, which connects where a tenant's administrator
chooses, must not. Its objects have their own label, so that no plan deletes them as leftovers.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import (
    NAMESPACE_LABEL,
    PART_LABEL,
    SERVER,
    SYNCER,
    pods_priority,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import restricted
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import PODS_ACCOUNT, SYNCER_USER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import scheduling
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    CONFIG_HASH,
    JOIN_TOKEN,
    STOP_SECONDS,
    RenderContext,
    as_yaml,
    disruption_budget,
    own_priority,
    resolving,
    secret,
    service_account,
    stamp,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.mode import Shared
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import (
    DISK_HELD,
    DISK_OF_CONTAINER,
    MEBI,
    Resources,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import SYNCER as LIMITS

NAME = rbac.SYNCER_ROLE
CONFIG = "syncer-config"
NETWORKS = "syncer-networks"
CLASSES = "storage-classes.json"
TOKEN = "syncer-token"  # noqa: S105 - a name
DIRECTORY = "/etc/tenantry/syncer"
HOST_CREDENTIAL = "/var/run/secrets/kubernetes.io/serviceaccount"
KUBELET_PORT = 10250
METRICS_PORT = 10251
HEALTH_PORT = 8080

# They have addresses before k3s is configured: one goes into its certificate, one into its pods. At the third, which is
# called SYNCER, it finds the syncer.
KUBERNETES_SERVICE = "kubernetes"
DNS_SERVICE = "dns"
DNS_PORT = 53
CLUSTER_DOMAIN = "cluster.local"
START_SECONDS = 300

TENANTS_LABEL = "x.tenantry.dev/"
# Of the tenant's DNS pods on the host.
DNS_LABELS = {
    naming.LABEL_MANAGED_BY: naming.MANAGED_BY_SYNCER,
    PART_LABEL: "pod",
    NAMESPACE_LABEL: hashlib.sha256(b"kube-system").hexdigest()[:10],
    f"{TENANTS_LABEL}k8s-app": "kube-dns",
}

# What the tenant's objects may fill of the host's datastore and of its service network, platform's own included.
OBJECTS = {
    "count/configmaps": "500",
    "count/endpointslices.discovery.k8s.io": "500",
    "count/ingresses.networking.k8s.io": "100",
    "count/secrets": "1000",
    "persistentvolumeclaims": "100",
    "services": "200",
}
# What an idle one uses, see docs/performance.md.
REQUESTS = Resources(LIMITS.cpu / 50, 44 * MEBI, DISK_HELD)


def services(rendering: RenderContext) -> list[dict]:
    """Render the Services whose addresses pods know: API and DNS. Also the one for kubelet and metrics."""
    api = [_port("https", 443, "TCP", API_PORT)]
    dns = [_port("dns", DNS_PORT, "UDP", DNS_PORT), _port("dns-tcp", DNS_PORT, "TCP", DNS_PORT)]
    kubernetes = _service(rendering, KUBERNETES_SERVICE, rendering.selector(SERVER), api)
    kubernetes["spec"] |= reached(rendering)
    own = [_port(name, port, "TCP", port) for name, port in (("kubelet", KUBELET_PORT), ("metrics", METRICS_PORT))]
    syncer = _service(rendering, SYNCER, rendering.selector(SYNCER), own)
    syncer["spec"] |= reached(rendering)
    return [kubernetes, _service(rendering, DNS_SERVICE, dns_selector(rendering), dns), syncer]


def reached(rendering: RenderContext) -> dict:
    """Render the Service for kubelet and metrics. A single syncer is published before it is ready, to save time."""
    return {"publishNotReadyAddresses": True} if rendering.spec.shared and rendering.spec.servers == 1 else {}


def rights(rendering: RenderContext) -> list[dict]:
    """Render the accounts of the syncer and the tenant's pods, and the syncer's rights."""
    group = rbac.RBAC_GROUP
    role = {"kind": "Role", "rules": rbac.SYNCER}
    binding = {
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": rendering.namespace}],
    }
    return [
        *(service_account(rendering.metadata(name)) for name in (NAME, PODS_ACCOUNT)),
        *({"apiVersion": f"{group}/v1", "metadata": rendering.metadata(NAME), **obj} for obj in (role, binding)),
    ]


def _shared(rendering: RenderContext) -> Shared:
    return require(rendering.spec.shared, "the spec of mode shared")


def config(rendering: RenderContext) -> dict:
    """Return the syncer's config.json. tenantry_syncer.config reads it."""
    spec, shared = rendering.spec, _shared(rendering)
    classes = shared.storage_classes
    return {
        "namespace": rendering.namespace,
        "labels": _tenants_labels(rendering),
        "service_account": PODS_ACCOUNT,
        "priority_class": pods_priority(spec.tier),
        "cluster_domain": CLUSTER_DOMAIN,
        "dns_address": rendering.dns_ip,
        "api_address": rendering.kubernetes_ip,
        "address": rendering.syncer_ip,
        "version": spec.version,
        **({"several": True} if spec.servers > 1 else {}),
        # Tenants' pods never get credentials of the platform.
        "hosts_image": "" if spec.image_credentials else shared.syncer_image,
        "pod_security": shared.pod_security,
        "container_defaults": {
            "limits": replace(shared.container_defaults, disk=DISK_OF_CONTAINER).as_text(),
            "requests": _half(shared.container_defaults).as_text(),
        },
        "storage_classes": None if classes is None else list(classes),
        "ingress_classes": list(shared.ingress_classes),
        "ingress_hosts": list(shared.ingress_hosts),
        "ingress_implementation_specific_paths": shared.ingress_implementation_specific_paths,
        **({"extended": sorted(spec.resources.extended)} if spec.resources.extended else {}),
    }


def _half(limits: Resources) -> Resources:
    memory = limits.memory / 2
    return Resources(limits.cpu / 2, memory - memory % MEBI, DISK_HELD)


def files(rendering: RenderContext) -> dict[str, str]:
    return {"config.json": as_yaml(config(rendering))}


def config_secret(rendering: RenderContext) -> dict:
    return secret(rendering.metadata(CONFIG), files(rendering))


def networks(rendering: RenderContext) -> dict:
    """Return the networks that endpoints must not use, and exceptions."""
    network_options, datastore = rendering.spec.network_options, rendering.spec.datastore
    closed = {*rendering.host.closed, *network_options.egress_deny, *(datastore.addresses if datastore else ())}
    return {"closed": sorted(closed), "open": list(network_options.egress_allow)}


def storage_classes(rendering: RenderContext) -> list[dict]:
    """Return the offered classes, with what claims depend on.

    The default is the host's if it is offered, else the first of the list.
    """
    shared, found = rendering.spec.shared, rendering.storage_classes
    offered = shared.storage_classes if shared else ()
    names = sorted(one["metadata"]["name"] for one in found)
    if offered is not None:
        names = [name for name in offered if name in names]
    defaults = [one for one in found if _is_default(one) and one["metadata"]["name"] in names]
    # The order by which Kubernetes chooses among several default classes.
    newest = max((one["metadata"].get("creationTimestamp") or "" for one in defaults), default="")
    chosen = [one["metadata"]["name"] for one in defaults if (one["metadata"].get("creationTimestamp") or "") == newest]
    default = min(chosen, default=names[0] if names and offered is not None else None)
    by_name = {one["metadata"]["name"]: one for one in found}
    return [_storage_class(by_name[name], is_default=name == default) for name in names]


def _storage_class(found: dict, *, is_default: bool) -> dict:
    return {
        "name": found["metadata"]["name"],
        "default": is_default,
        "allowVolumeExpansion": bool(found.get("allowVolumeExpansion")),
        "reclaimPolicy": found.get("reclaimPolicy") or "Delete",
        "volumeBindingMode": found.get("volumeBindingMode") or "Immediate",
    }


def _is_default(found: dict) -> bool:
    notes = found["metadata"].get("annotations") or {}
    return notes.get("storageclass.kubernetes.io/is-default-class") == "true"


def networks_secret(rendering: RenderContext) -> dict:
    """Render the networks, which change with the host and must not restart the syncer."""
    files: dict[str, dict | list] = {"networks.json": networks(rendering), CLASSES: storage_classes(rendering)}
    return secret(rendering.metadata(NETWORKS), {file: as_yaml(content) for file, content in files.items()})


def identity(rendering: RenderContext) -> str:
    """Return a line for k3s's token file. The syncer acts as scheduler, kubelet and volume controller."""
    return f'{rendering.keys.syncer_token},{SYNCER_USER},{SYNCER_USER},"system:masters"\n'


def objects(rendering: RenderContext) -> list[dict]:
    """Render all objects; none in mode dedicated."""
    if rendering.spec.shared is None:
        return []
    settings = [config_secret(rendering), networks_secret(rendering)]
    found = [*rights(rendering), *settings, stateful_set(rendering)]
    return [*found, disruption_budget(rendering, SYNCER)] if rendering.spec.servers > 1 else found


def stateful_set(rendering: RenderContext) -> dict:
    """Render as many syncers as servers, of which one works at a time.

    A StatefulSet does not start a second one while the first may still run.
    """
    hashed = stamp(rendering.keys.agent_token, [config_secret(rendering)])
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": rendering.metadata(SYNCER, SYNCER),
        "spec": {
            "replicas": rendering.spec.servers,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": rendering.selector(SYNCER)},
            "template": {
                "metadata": {"labels": rendering.selector(SYNCER), "annotations": {CONFIG_HASH: hashed}},
                "spec": _pod(rendering),
            },
        },
    }


def _pod(rendering: RenderContext) -> dict:
    spec = rendering.spec
    placement = scheduling.fields(rendering, SYNCER, spec.server_placement)
    if spec.servers == 1:
        # A virtual cluster with one server depends on one node of the host, not on two.
        placement |= scheduling.beside(rendering.selector(SERVER))
    return {
        "serviceAccountName": NAME,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": own_priority(spec.tier),
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": restricted(),
        **resolving({}),
        **placement,
        "containers": [container(rendering)],
        "volumes": volumes(),
    }


def volumes() -> list[dict]:
    """Render the volumes: settings with the syncer's token, the host's token, and a temporary directory."""
    token = {"secret": {"name": JOIN_TOKEN, "items": [{"key": TOKEN, "path": "token"}]}}
    settings = [{"secret": {"name": name}} for name in (CONFIG, NETWORKS)]
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    host = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]
    return [
        {"name": "syncer", "projected": {"defaultMode": 0o400, "sources": [*settings, token]}},
        {"name": "syncer-host", "projected": {"defaultMode": 0o400, "sources": host}},
        {"name": "syncer-tmp", "emptyDir": {}},
    ]


def container(rendering: RenderContext) -> dict:
    """Render the container of the syncer."""
    return {
        "name": NAME,
        "image": _shared(rendering).syncer_image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in (("kubelet", KUBELET_PORT), ("metrics", METRICS_PORT), ("health", HEALTH_PORT))
        ],
        "resources": {"limits": LIMITS.as_text(), "requests": REQUESTS.as_text()},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        # Every second only until it is ready, for which it may have to wait for a server.
        "startupProbe": {**_probe("/readyz", timeout=2), "periodSeconds": 1, "failureThreshold": START_SECONDS},
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 5, "failureThreshold": 2},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 20, "failureThreshold": 4},
        **rendering.lifecycle,
        "volumeMounts": [
            {"name": "syncer", "mountPath": DIRECTORY, "readOnly": True},
            {"name": "syncer-host", "mountPath": HOST_CREDENTIAL, "readOnly": True},
            {"name": "syncer-tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
        ],
    }


def _service(rendering: RenderContext, name: str, selector: dict[str, str], ports: list[dict]) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": rendering.metadata(name),
        "spec": {"type": "ClusterIP", "selector": selector, "ports": ports},
    }


def _port(name: str, port: int, protocol: str, target: int) -> dict:
    return {"name": name, "port": port, "protocol": protocol, "targetPort": target}


def _tenants_labels(rendering: RenderContext) -> dict[str, str]:
    return {label: rendering.labels[label] for label in (naming.LABEL_TENANT, naming.LABEL_VCLUSTER)}


def dns_selector(rendering: RenderContext) -> dict[str, str]:
    """Return the labels of the tenant's DNS pods on the host."""
    return {**_tenants_labels(rendering), **DNS_LABELS}


def _probe(path: str, timeout: int = 5) -> dict:
    return {"httpGet": {"scheme": "HTTP", "path": path, "port": HEALTH_PORT}, "timeoutSeconds": timeout}
