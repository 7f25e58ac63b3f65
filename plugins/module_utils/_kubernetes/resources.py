# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kinds of objects that the collection uses, by what they are called in paths."""

from __future__ import annotations

# The kinds the collection uses: (plural, namespaced). Known here, so no discovery: it would cost a round trip per API
# group in every module call, or a cache file in a place others can write.
KINDS = {
    "v1/ConfigMap": ("configmaps", True),
    "v1/Event": ("events", True),
    "v1/LimitRange": ("limitranges", True),
    "v1/Namespace": ("namespaces", False),
    "v1/Node": ("nodes", False),
    "v1/PersistentVolume": ("persistentvolumes", False),
    "v1/PersistentVolumeClaim": ("persistentvolumeclaims", True),
    "v1/Pod": ("pods", True),
    "v1/ReplicationController": ("replicationcontrollers", True),
    "v1/ResourceQuota": ("resourcequotas", True),
    "v1/Secret": ("secrets", True),
    "v1/Service": ("services", True),
    "v1/ServiceAccount": ("serviceaccounts", True),
    "admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding": ("mutatingadmissionpolicybindings", False),
    "admissionregistration.k8s.io/v1alpha1/MutatingAdmissionPolicyBinding": ("mutatingadmissionpolicybindings", False),
    "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicyBinding": ("mutatingadmissionpolicybindings", False),
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy": ("validatingadmissionpolicies", False),
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding": ("validatingadmissionpolicybindings", False),
    "admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration": ("validatingwebhookconfigurations", False),
    "admissionregistration.k8s.io/v1/MutatingWebhookConfiguration": ("mutatingwebhookconfigurations", False),
    "apiextensions.k8s.io/v1/CustomResourceDefinition": ("customresourcedefinitions", False),
    "apiregistration.k8s.io/v1/APIService": ("apiservices", False),
    "apps/v1/DaemonSet": ("daemonsets", True),
    "apps/v1/Deployment": ("deployments", True),
    "apps/v1/ReplicaSet": ("replicasets", True),
    "apps/v1/StatefulSet": ("statefulsets", True),
    "authentication.k8s.io/v1/SelfSubjectReview": ("selfsubjectreviews", False),
    "authorization.k8s.io/v1/SelfSubjectAccessReview": ("selfsubjectaccessreviews", False),
    "batch/v1/CronJob": ("cronjobs", True),
    "batch/v1/Job": ("jobs", True),
    "certificates.k8s.io/v1/CertificateSigningRequest": ("certificatesigningrequests", False),
    "discovery.k8s.io/v1/EndpointSlice": ("endpointslices", True),
    "flowcontrol.apiserver.k8s.io/v1/FlowSchema": ("flowschemas", False),
    "helm.cattle.io/v1/HelmChart": ("helmcharts", True),
    "helm.cattle.io/v1/HelmChartConfig": ("helmchartconfigs", True),
    "networking.k8s.io/v1/Ingress": ("ingresses", True),
    "networking.k8s.io/v1/NetworkPolicy": ("networkpolicies", True),
    "networking.k8s.io/v1/ServiceCIDR": ("servicecidrs", False),
    "policy/v1/PodDisruptionBudget": ("poddisruptionbudgets", True),
    "rbac.authorization.k8s.io/v1/ClusterRole": ("clusterroles", False),
    "rbac.authorization.k8s.io/v1/ClusterRoleBinding": ("clusterrolebindings", False),
    "rbac.authorization.k8s.io/v1/Role": ("roles", True),
    "rbac.authorization.k8s.io/v1/RoleBinding": ("rolebindings", True),
    "route.openshift.io/v1/Route": ("routes", True),
    "scheduling.k8s.io/v1/PriorityClass": ("priorityclasses", False),
    "storage.k8s.io/v1/StorageClass": ("storageclasses", False),
    "tenantry.dev/v1alpha1/TenantUserRequest": ("tenantuserrequests", True),
    "tenantry.dev/v1alpha1/VirtualClusterRequest": ("virtualclusterrequests", True),
}


STATEFUL_SET = "apps/v1/StatefulSet"


def is_custom(kind: str) -> bool:
    """Whether the kind is one of the platform's, which a strategic merge patch cannot change."""
    return kind.startswith("tenantry.dev/")


def kind_of(obj: dict) -> str:
    return f"{obj['apiVersion']}/{obj['kind']}"


def is_namespaced(kind: str) -> bool:
    return KINDS[kind][1]
