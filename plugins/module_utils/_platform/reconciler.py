# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the reconciler: a Deployment on the hub that runs the playbooks in a loop, and its rights. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform import confinement, manifests, rbac

NAME = "reconciler"
LEASE_NAME = NAME
ROLE = "tenantry:reconciler"
HEALTH_PORT = 8080
DIRECTORY = "/etc/tenantry/reconciler"
INVENTORY = "inventory.yml"
CREDENTIAL = "/var/run/secrets/kubernetes.io/serviceaccount"
TEMPORARY = "/tmp"  # noqa: S108 - in the container
METRICS = f"{TEMPORARY}/metrics/tenantry.prom"
MODULE = "ansible_collections.tenantry.kube.plugins.module_utils._reconciler"
# Where an execution environment has collections.
COLLECTIONS = "/usr/share/ansible/collections"
# Ten playbooks for single tenants (_reconciler.playbook_runs) and three for all fit into it at a time.
RESOURCES = {
    "requests": {"cpu": "50m", "memory": "128Mi", "ephemeral-storage": "64Mi"},
    "limits": {"memory": "2304Mi", "ephemeral-storage": "512Mi"},
}
# Addresses of a node's own services, among them the credentials that a cloud gives it.
LINK_LOCAL = {"0.0.0.0/0": ["169.254.0.0/16"], "::/0": ["fe80::/10"]}


@dataclass(frozen=True)
class ReconcilerSpec:
    """What administrators choose."""

    image: str
    schedule: Mapping[str, int]  # seconds by playbook
    inventory: str = field(repr=False)
    pull_secrets: tuple[str, ...] = ()  # names in the platform's namespace
    dedicated: bool = False  # whether it creates virtual clusters of that mode on the hub
    hub_server: str = ""  # address of the hub that users reach
    metrics_namespace: str = ""  # whose pods may read /metrics, which is served to no others


def objects(spec: ReconcilerSpec) -> list[dict]:
    """Render all objects of the reconciler."""
    return [
        _account(),
        *_rights(),
        *confinement.policy("platform", tenants=True, dedicated=spec.dedicated),
        _inventory(spec),
        _network_policy(spec),
        _deployment(spec),
    ]


def lease(namespace: str, spec: dict) -> dict:
    """Render the Lease, which the reconciler itself creates."""
    metadata = {**_metadata(LEASE_NAME), "namespace": namespace}
    return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def binding_in(space: dict) -> dict | None:
    """Render the right of the platform's account in a namespace of a tenant or a virtual cluster. None in others."""
    labels, name = space["metadata"]["labels"], space["metadata"]["name"]
    roles = {"tenant": rbac.TENANT_MANAGER_ROLE, "vcluster": rbac.MANAGER_ROLE}
    component = labels.get(naming.LABEL_COMPONENT)
    role = roles.get(component)
    if role is None:
        return None
    marks = naming.labels("platform")  # it goes with the reconciler
    if component == "vcluster":  # as the virtual cluster's own plan renders it
        marks = {label: labels[label] for label in (naming.LABEL_TENANT, naming.LABEL_VCLUSTER) if label in labels}
        recommended = {naming.LABEL_NAME: "tenantry-vcluster", naming.LABEL_INSTANCE: name}
        marks |= {**recommended, **naming.labels("vcluster")}
    metadata = {"name": rbac.PLATFORM_ACCOUNT, "namespace": name, "labels": marks}
    return rbac.platform_binding("RoleBinding", metadata, role)


def _metadata(name: str) -> dict:
    recommended = {naming.LABEL_NAME: "tenantry-reconciler", naming.LABEL_INSTANCE: naming.PLATFORM_NAMESPACE}
    return {
        "name": name,
        "namespace": naming.PLATFORM_NAMESPACE,
        "labels": {**recommended, **naming.labels("platform")},
    }


def _selector() -> dict[str, str]:
    return {naming.LABEL_MANAGED_BY: naming.MANAGED_BY, naming.PART_LABEL: NAME}


def _account() -> dict:
    metadata = _metadata(rbac.PLATFORM_ACCOUNT)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}
    return {**account, "automountServiceAccountToken": False}


def _rights() -> list[dict]:
    here = _metadata(NAME)
    role = {"apiVersion": f"{rbac.RBAC_GROUP}/v1", "kind": "Role", "metadata": here, "rules": rbac.RECONCILER_HERE}
    everywhere = {"name": ROLE, "labels": naming.labels("platform")}
    return [
        rbac.cluster_role(ROLE, rbac.RECONCILER, "platform"),
        rbac.cluster_role(rbac.TENANT_MANAGER_ROLE, rbac.TENANT_MANAGER, "platform"),
        rbac.platform_binding("ClusterRoleBinding", everywhere, ROLE),
        role,
        rbac.platform_binding("RoleBinding", here, NAME, "Role"),
    ]


def _inventory(spec: ReconcilerSpec) -> dict:
    """Render the inventory as a Secret, because variables may have credentials, such as those of a datastore."""
    data = {INVENTORY: base64.b64encode(spec.inventory.encode()).decode()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": _metadata(NAME), "type": "Opaque", "data": data}


def _network_policy(spec: ReconcilerSpec) -> dict:
    """Render what the pod may reach: API servers and virtual clusters, at any address and port, by TCP, and DNS.

    Only the namespace of Prometheus may reach it, which also reaches /healthz. The kubelet always may.
    """
    prometheus = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": spec.metrics_namespace}}}
    ingress = [{"from": [prometheus], "ports": [{"protocol": "TCP", "port": HEALTH_PORT}]}]
    tcp = [{"ipBlock": {"cidr": block, "except": closed}} for block, closed in LINK_LOCAL.items()]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(NAME),
        "spec": {
            "podSelector": {"matchLabels": _selector()},
            "policyTypes": ["Ingress", "Egress"],
            **({"ingress": ingress} if spec.metrics_namespace else {}),
            "egress": [
                {"to": tcp, "ports": [{"protocol": "TCP"}]},
                {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
            ],
        },
    }


def _deployment(spec: ReconcilerSpec) -> dict:
    """Render the Deployment. Recreate: a second pod would only wait for the Lease."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(NAME),
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": _selector()},
            "template": {"metadata": _pod_metadata(spec), "spec": _pod(spec)},
        },
    }


def _pod_metadata(spec: ReconcilerSpec) -> dict:
    """Return the labels, and the annotations by which many configurations of Prometheus find pods."""
    found = {"scrape": "true", "port": str(HEALTH_PORT), "path": "/metrics"}
    annotations = {f"prometheus.io/{key}": value for key, value in found.items()}
    return {"labels": _selector(), **({"annotations": annotations} if spec.metrics_namespace else {})}


def _pod(spec: ReconcilerSpec) -> dict:
    return {
        "serviceAccountName": rbac.PLATFORM_ACCOUNT,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": manifests.restricted(),
        **({"imagePullSecrets": [{"name": name} for name in spec.pull_secrets]} if spec.pull_secrets else {}),
        "containers": [_container(spec)],
        "volumes": _volumes(),
    }


def _container(spec: ReconcilerSpec) -> dict:
    return {
        "name": NAME,
        "image": spec.image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python3", "-m", MODULE],
        "args": [
            f"--inventory={DIRECTORY}/{INVENTORY}",
            "--holder=$(POD_NAME)",
            f"--health-port={HEALTH_PORT}",
            *([f"--metrics={METRICS}"] if spec.metrics_namespace else []),
            *(f"--run={playbook}={seconds}" for playbook, seconds in spec.schedule.items()),
        ],
        "env": _environment(spec),
        "ports": [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
        "resources": RESOURCES,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "readinessProbe": {**_probe("/readyz"), "periodSeconds": 2},
        "livenessProbe": {**_probe("/healthz"), "periodSeconds": 10, "initialDelaySeconds": 10},
        "volumeMounts": [
            {"name": "inventory", "mountPath": DIRECTORY, "readOnly": True},
            {"name": "credential", "mountPath": CREDENTIAL, "readOnly": True},
            {"name": "tmp", "mountPath": TEMPORARY},
        ],
    }


def _environment(spec: ReconcilerSpec) -> list[dict]:
    field_of_pod = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}
    values = {
        "ANSIBLE_REMOTE_TEMP": TEMPORARY,
        "HOME": TEMPORARY,
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": COLLECTIONS,
        "PYTHONUNBUFFERED": "1",
        "USER": NAME,  # the image has no user of this ID
        naming.HUB_SERVER_VARIABLE: spec.hub_server,
    }
    return [
        {"name": "POD_NAME", "valueFrom": field_of_pod},
        *({"name": name, "value": value} for name, value in values.items()),
    ]


def _volumes() -> list[dict]:
    inventory = {"secret": {"name": NAME, "items": [{"key": INVENTORY, "path": INVENTORY}]}}
    ca = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    credential = [{"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}}, {"configMap": ca}]
    return [
        {"name": "inventory", "projected": {"defaultMode": 0o400, "sources": [inventory]}},
        {"name": "credential", "projected": {"defaultMode": 0o400, "sources": credential}},
        {"name": "tmp", "emptyDir": {"sizeLimit": "256Mi"}},
    ]


def _probe(path: str) -> dict:
    return {"httpGet": {"scheme": "HTTP", "path": path, "port": HEALTH_PORT}, "timeoutSeconds": 5}
