# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Mode shared: the syncer, which makes the tenant's pods pods of this namespace, and what it needs. Pure.

It runs beside k3s in the server's pod. What it makes on the host carries SYNCER's label instead of ours, so that no
plan takes it for a leftover.
"""

from __future__ import annotations

import hashlib

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac as _roles
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    JOIN_TOKEN,
    PART_LABEL,
    SERVER,
    Rendering,
    as_yaml,
    secret,
    service_account,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import MEBI, SYNCER, Resources

NAME = _roles.SYNCER_ROLE
USER = "tenantry:syncer"
CONFIG = "syncer-config"
TOKEN = "syncer-token"  # noqa: S105 - a name
DIRECTORY = "/etc/tenantry/syncer"
HOST_CREDENTIAL = "/var/run/secrets/kubernetes.io/serviceaccount"
HEALTH_PORT = 8080
USER_ID = 65533
# The ServiceAccount on the host of all of the tenant's pods. It may do nothing.
PODS_ACCOUNT = "pods"

# Both have an address before k3s is configured: one goes into its certificate, the other into its pods.
KUBERNETES_SERVICE = "kubernetes"
DNS_SERVICE = "dns"
DNS_PORT = 53
CLUSTER_DOMAIN = "cluster.local"

# As the syncer labels what it makes on the host.
NAMESPACE_LABEL = "tenantry.dev/virtual-namespace"
TENANTS_LABEL = "x.tenantry.dev/"

# What the tenant's objects may fill of the host's datastore and of its service network, platform's own included.
OBJECTS = {
    "count/configmaps": "500",
    "count/endpointslices.discovery.k8s.io": "500",
    "count/ingresses.networking.k8s.io": "100",
    "count/secrets": "1000",
    "persistentvolumeclaims": "100",
    "services": "200",
}
REQUESTS = Resources(SYNCER.cpu / 20, 64 * MEBI)


def services(rendering: Rendering) -> list[dict]:
    """The addresses that pods know from inside: of their API, and of their DNS, which is a pod of the tenant."""
    api = [_port("https", 443, "TCP", API_PORT)]
    dns = [_port("dns", DNS_PORT, "UDP", DNS_PORT), _port("dns-tcp", DNS_PORT, "TCP", DNS_PORT)]
    kubernetes = _service(rendering, KUBERNETES_SERVICE, rendering.selector(SERVER), api)
    kubernetes["spec"] |= reached(rendering)
    return [kubernetes, _service(rendering, DNS_SERVICE, dns_selector(rendering), dns)]


def reached(rendering: Rendering) -> dict:
    """A server's pod is ready when both of its containers are. The API of an only one must not go with the syncer."""
    return {"publishNotReadyAddresses": True} if rendering.spec.shared and rendering.spec.servers == 1 else {}


def rights(rendering: Rendering) -> list[dict]:
    """Who the syncer and the tenant's pods are on the host, and what the syncer may do there."""
    group = "rbac.authorization.k8s.io"
    role = {"kind": "Role", "rules": _roles.SYNCER}
    binding = {
        "kind": "RoleBinding",
        "roleRef": {"apiGroup": group, "kind": "Role", "name": NAME},
        "subjects": [{"kind": "ServiceAccount", "name": NAME, "namespace": rendering.namespace}],
    }
    return [
        *(service_account(rendering.metadata(name)) for name in (NAME, PODS_ACCOUNT)),
        *({"apiVersion": f"{group}/v1", "metadata": rendering.metadata(NAME), **obj} for obj in (role, binding)),
    ]


def config(rendering: Rendering) -> dict:
    spec = rendering.spec
    classes = spec.shared.storage_classes
    return {
        "namespace": rendering.namespace,
        "labels": _tenants_labels(rendering),
        "service_account": PODS_ACCOUNT,
        "priority_class": f"tenantry-{spec.tier}",
        "cluster_domain": CLUSTER_DOMAIN,
        "dns_address": rendering.dns_ip,
        "api_address": rendering.kubernetes_ip,
        "version": spec.version,
        **({"several": True} if spec.servers > 1 else {}),
        "pod_security": spec.shared.pod_security,
        "storage_classes": None if classes is None else list(classes),
        "ingress_classes": list(spec.shared.ingress_classes),
        "ingress_hosts": list(spec.shared.ingress_hosts),
    }


def files(rendering: Rendering) -> dict[str, str]:
    return {"config.json": as_yaml(config(rendering))}


def config_secret(rendering: Rendering) -> dict:
    return secret(rendering.metadata(CONFIG), files(rendering))


def identity(rendering: Rendering) -> str:
    """A line for k3s's file of tokens: inside, the syncer is scheduler, kubelet and volume controller in one."""
    return f'{rendering.keys.syncer_token},{USER},{USER},"system:masters"\n'


def volumes() -> list[dict]:
    token = {"secret": {"name": JOIN_TOKEN, "items": [{"key": TOKEN, "path": "token"}]}}
    namespace = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    host = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": namespace}]}},
    ]
    return [
        {"name": "syncer", "projected": {"defaultMode": 0o400, "sources": [{"secret": {"name": CONFIG}}, token]}},
        {"name": "syncer-host", "projected": {"defaultMode": 0o400, "sources": host}},
        {"name": "syncer-tmp", "emptyDir": {}},
    ]


def container(rendering: Rendering) -> dict:
    return {
        "name": NAME,
        "image": rendering.spec.shared.syncer_image,
        "imagePullPolicy": "IfNotPresent",
        "ports": [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "resources": {"limits": SYNCER.as_text(), "requests": REQUESTS.as_text()},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
            # Not k3s's: they share their processes, and neither shall read the other's credentials.
            "runAsUser": USER_ID,
        },
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 1, "failureThreshold": 10},
        "livenessProbe": {**_probe("/livez"), "periodSeconds": 10, "failureThreshold": 8},
        **rendering.lifecycle,
        "volumeMounts": [
            {"name": "syncer", "mountPath": DIRECTORY, "readOnly": True},
            {"name": "syncer-host", "mountPath": HOST_CREDENTIAL, "readOnly": True},
            {"name": "syncer-tmp", "mountPath": "/tmp"},  # noqa: S108 - in the container
        ],
    }


def _service(rendering: Rendering, name: str, selector: dict[str, str], ports: list[dict]) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": rendering.metadata(name),
        "spec": {"type": "ClusterIP", "selector": selector, "ports": ports},
    }


def _port(name: str, port: int, protocol: str, target: int) -> dict:
    return {"name": name, "port": port, "protocol": protocol, "targetPort": target}


def _tenants_labels(rendering: Rendering) -> dict[str, str]:
    return {label: rendering.labels[label] for label in (_names.LABEL_TENANT, _names.LABEL_VCLUSTER)}


def dns_selector(rendering: Rendering) -> dict[str, str]:
    return {
        **_tenants_labels(rendering),
        _names.LABEL_MANAGED_BY: _names.MANAGED_BY_SYNCER,
        PART_LABEL: "pod",
        NAMESPACE_LABEL: hashlib.sha256(b"kube-system").hexdigest()[:10],
        f"{TENANTS_LABEL}k8s-app": "kube-dns",
    }


def _probe(path: str) -> dict:
    return {"httpGet": {"scheme": "HTTP", "path": path, "port": HEALTH_PORT}, "timeoutSeconds": 5}
