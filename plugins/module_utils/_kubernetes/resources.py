# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kinds of objects that the collection uses, as `group/version/Kind`, with their paths."""

from __future__ import annotations

API_SERVICE = "apiregistration.k8s.io/v1/APIService"
CERTIFICATE_SIGNING_REQUEST = "certificates.k8s.io/v1/CertificateSigningRequest"
CLUSTER_ROLE = "rbac.authorization.k8s.io/v1/ClusterRole"
CLUSTER_ROLE_BINDING = "rbac.authorization.k8s.io/v1/ClusterRoleBinding"
CONFIG_MAP = "v1/ConfigMap"
CRON_JOB = "batch/v1/CronJob"
CUSTOM_RESOURCE_DEFINITION = "apiextensions.k8s.io/v1/CustomResourceDefinition"
DAEMON_SET = "apps/v1/DaemonSet"
DEPLOYMENT = "apps/v1/Deployment"
ENDPOINT_SLICE = "discovery.k8s.io/v1/EndpointSlice"
EVENT = "v1/Event"
FLOW_SCHEMA = "flowcontrol.apiserver.k8s.io/v1/FlowSchema"
HELM_CHART = "helm.cattle.io/v1/HelmChart"
HELM_CHART_CONFIG = "helm.cattle.io/v1/HelmChartConfig"
INGRESS = "networking.k8s.io/v1/Ingress"
INGRESS_CLASS = "networking.k8s.io/v1/IngressClass"
JOB = "batch/v1/Job"
LEASE = "coordination.k8s.io/v1/Lease"
LIMIT_RANGE = "v1/LimitRange"
MUTATING_ADMISSION_POLICY_BINDING = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding"
MUTATING_ADMISSION_POLICY_BINDING_V1ALPHA1 = "admissionregistration.k8s.io/v1alpha1/MutatingAdmissionPolicyBinding"
MUTATING_ADMISSION_POLICY_BINDING_V1BETA1 = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicyBinding"
MUTATING_WEBHOOK_CONFIGURATION = "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration"
NAMESPACE = "v1/Namespace"
NETWORK_POLICY = "networking.k8s.io/v1/NetworkPolicy"
NODE = "v1/Node"
NODE_METRICS = "metrics.k8s.io/v1beta1/NodeMetrics"
PERSISTENT_VOLUME = "v1/PersistentVolume"
POD = "v1/Pod"
POD_METRICS = "metrics.k8s.io/v1beta1/PodMetrics"
POD_DISRUPTION_BUDGET = "policy/v1/PodDisruptionBudget"
PRIORITY_CLASS = "scheduling.k8s.io/v1/PriorityClass"
PVC = "v1/PersistentVolumeClaim"
REPLICATION_CONTROLLER = "v1/ReplicationController"
REPLICA_SET = "apps/v1/ReplicaSet"
RESOURCE_QUOTA = "v1/ResourceQuota"
ROLE = "rbac.authorization.k8s.io/v1/Role"
ROLE_BINDING = "rbac.authorization.k8s.io/v1/RoleBinding"
ROUTE = "route.openshift.io/v1/Route"
SECRET = "v1/Secret"  # noqa: S105 - a kind
SERVICE = "v1/Service"
SERVICE_ACCOUNT = "v1/ServiceAccount"
SERVICE_CIDR = "networking.k8s.io/v1/ServiceCIDR"
STATEFUL_SET = "apps/v1/StatefulSet"
STORAGE_CLASS = "storage.k8s.io/v1/StorageClass"
TENANT_USER_REQUEST = "tenantry.dev/v1alpha1/TenantUserRequest"
VALIDATING_ADMISSION_POLICY = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy"
VALIDATING_ADMISSION_POLICY_BINDING = "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding"
VALIDATING_WEBHOOK_CONFIGURATION = "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration"
VIRTUAL_CLUSTER_REQUEST = "tenantry.dev/v1alpha1/VirtualClusterRequest"

# The kinds the collection uses: (plural, namespaced). Known here, so no discovery: it would cost a round trip per API
# group in every module call, or a cache file in a place others can write.
KINDS = {
    CONFIG_MAP: ("configmaps", True),
    EVENT: ("events", True),
    LIMIT_RANGE: ("limitranges", True),
    NAMESPACE: ("namespaces", False),
    NODE: ("nodes", False),
    PERSISTENT_VOLUME: ("persistentvolumes", False),
    PVC: ("persistentvolumeclaims", True),
    POD: ("pods", True),
    REPLICATION_CONTROLLER: ("replicationcontrollers", True),
    RESOURCE_QUOTA: ("resourcequotas", True),
    SECRET: ("secrets", True),
    SERVICE: ("services", True),
    SERVICE_ACCOUNT: ("serviceaccounts", True),
    MUTATING_ADMISSION_POLICY_BINDING: ("mutatingadmissionpolicybindings", False),
    MUTATING_ADMISSION_POLICY_BINDING_V1ALPHA1: ("mutatingadmissionpolicybindings", False),
    MUTATING_ADMISSION_POLICY_BINDING_V1BETA1: ("mutatingadmissionpolicybindings", False),
    VALIDATING_ADMISSION_POLICY: ("validatingadmissionpolicies", False),
    VALIDATING_ADMISSION_POLICY_BINDING: ("validatingadmissionpolicybindings", False),
    VALIDATING_WEBHOOK_CONFIGURATION: ("validatingwebhookconfigurations", False),
    MUTATING_WEBHOOK_CONFIGURATION: ("mutatingwebhookconfigurations", False),
    CUSTOM_RESOURCE_DEFINITION: ("customresourcedefinitions", False),
    API_SERVICE: ("apiservices", False),
    DAEMON_SET: ("daemonsets", True),
    DEPLOYMENT: ("deployments", True),
    REPLICA_SET: ("replicasets", True),
    STATEFUL_SET: ("statefulsets", True),
    CRON_JOB: ("cronjobs", True),
    JOB: ("jobs", True),
    CERTIFICATE_SIGNING_REQUEST: ("certificatesigningrequests", False),
    ENDPOINT_SLICE: ("endpointslices", True),
    FLOW_SCHEMA: ("flowschemas", False),
    NODE_METRICS: ("nodes", False),
    POD_METRICS: ("pods", True),
    HELM_CHART: ("helmcharts", True),
    HELM_CHART_CONFIG: ("helmchartconfigs", True),
    INGRESS: ("ingresses", True),
    INGRESS_CLASS: ("ingressclasses", False),
    LEASE: ("leases", True),
    NETWORK_POLICY: ("networkpolicies", True),
    SERVICE_CIDR: ("servicecidrs", False),
    POD_DISRUPTION_BUDGET: ("poddisruptionbudgets", True),
    CLUSTER_ROLE: ("clusterroles", False),
    CLUSTER_ROLE_BINDING: ("clusterrolebindings", False),
    ROLE: ("roles", True),
    ROLE_BINDING: ("rolebindings", True),
    ROUTE: ("routes", True),
    PRIORITY_CLASS: ("priorityclasses", False),
    STORAGE_CLASS: ("storageclasses", False),
    TENANT_USER_REQUEST: ("tenantuserrequests", True),
    VIRTUAL_CLUSTER_REQUEST: ("virtualclusterrequests", True),
}

RBAC_KINDS = (CLUSTER_ROLE, CLUSTER_ROLE_BINDING, ROLE, ROLE_BINDING)


def is_custom(kind: str) -> bool:
    """Return whether the kind is a custom resource, which a strategic merge patch cannot change."""
    return kind.startswith("tenantry.dev/")


def kind_of(obj: dict) -> str:
    """Return the kind of an object, such as `apps/v1/StatefulSet`."""
    return f"{obj['apiVersion']}/{obj['kind']}"


def is_namespaced(kind: str) -> bool:
    return KINDS[kind][1]
