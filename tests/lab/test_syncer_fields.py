"""Each field that the API server knows of what is copied is passed on, translated, decided or refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from . import schema
from .harness import ROOT
from .syncer_pair import Pair

sys.path.insert(0, str(ROOT / "syncer"))
from tenantry_syncer.controllers import endpoint_slices, persistent_volume_claims, services
from tenantry_syncer.translate import ingress, pod, pod_scheduling, pod_status, pod_volumes

GROUPS = ("api/v1", "apis/networking.k8s.io/v1", "apis/discovery.k8s.io/v1")
OBJECT = ("apiVersion", "kind", "metadata")
# Set at the creation of the virtual pod; by the host's scheduler; for rejected device claims; by older kubelets in
# addition to conditions; and by storage drivers, which are the host's.
STATUS_NOT_REPORTED = (
    "qosClass",
    "nominatedNodeName",
    "resourceClaimStatuses",
    "extendedResourceClaimStatus",
    "nodeAllocatableResourceClaimStatuses",
    "resize",
    "volumeHealth",
)
# The types of volumes up to Kubernetes 1.37 that are rejected, as later ones are.
PROJECTED_REJECTED = ("podCertificate",)
VOLUMES_REJECTED = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)
# For the DNS and clients of the virtual cluster only.
ENDPOINT_VIRTUAL_ONLY = ("hostname", "targetRef", "deprecatedTopology")
# It names a volume of the host, which does not belong to the tenant.
CLAIM_IGNORED = ("volumeName",)
# Of volumeAttributesClassName, which is not supported; and of storage drivers, which are the host's.
CLAIM_NOT_REPORTED = ("currentVolumeAttributesClassName", "modifyVolumeStatus", "healthStatus")


@pytest.fixture(scope="module")
def schemas(pair: Pair) -> dict[str, dict]:
    found: dict[str, dict] = {}
    for group in GROUPS:
        found |= schema.schemas(pair.virtual, group)
    return found


# Only what the syncer takes apart is here; within the rest, all is passed on.
KNOWN = {
    "PodSpec": (*pod.PASSED, *pod.TRANSLATED, *pod.DECIDED, *pod.REJECTED),
    "PodStatus": (
        *(*pod_status.PASSED_THROUGH, *pod_status._STATUSES, *STATUS_NOT_REPORTED),
        *("conditions", "message", "observedGeneration"),
    ),
    "PodDNSConfig": ("nameservers", "options", "searches"),
    "PodReadinessGate": ("conditionType",),
    "LocalObjectReference": ("name",),
    "Container": pod.CONTAINER,
    "EphemeralContainer": pod.CONTAINER,
    "Affinity": pod_scheduling.AFFINITY,
    "PodAffinity": pod_scheduling.MODES,
    "PodAntiAffinity": pod_scheduling.MODES,
    "WeightedPodAffinityTerm": ("podAffinityTerm", "weight"),
    "LabelSelector": ("matchExpressions", "matchLabels"),
    "PodAffinityTerm": pod_scheduling.TERM,
    "TopologySpreadConstraint": pod_scheduling.SPREAD,
    "ResourceRequirements": ("limits", "requests", "claims"),
    "VolumeProjection": (*pod_volumes.PROJECTED, *pod_volumes.IN_TOKEN_SECRET, *PROJECTED_REJECTED),
    "Volume": ("name", "ephemeral", *pod_volumes.KINDS, *VOLUMES_REJECTED),
    "EnvVarSource": ("configMapKeyRef", "fieldRef", "fileKeyRef", "resourceFieldRef", "secretKeyRef"),
    "EnvFromSource": ("configMapRef", "prefix", "secretRef"),
    # Those of a service that are in none of its lists are told by an event (services.left_out).
    "ServiceSpec": (
        *("selector", "ports", *services.PASSED_THROUGH, *services._EXPOSURE, *services._SET_BY_API_SERVER),
        *("externalIPs", "ipFamilyPolicy", "loadBalancerClass", "loadBalancerIP"),
    ),
    "ServicePort": services._PORT_WITH_NODE_PORT,
    "ServiceStatus": ("conditions", "loadBalancer"),
    # All others of an ingress are refused, with an event.
    "IngressSpec": ingress._SPEC,
    "IngressRule": ("host", "http"),
    "HTTPIngressRuleValue": ("paths",),
    "HTTPIngressPath": ("backend", "path", "pathType"),
    "IngressBackend": ("service", "resource"),
    "IngressServiceBackend": ("name", "port"),
    "ServiceBackendPort": ("name", "number"),
    "IngressTLS": ("hosts", "secretName"),
    "IngressStatus": ("loadBalancer",),
    "EndpointSlice": (*OBJECT, *endpoint_slices.PASSED_THROUGH, "endpoints"),
    "Endpoint": (*endpoint_slices.ENDPOINT, *ENDPOINT_VIRTUAL_ONLY),
    "PersistentVolumeClaimSpec": (
        *persistent_volume_claims.PASSED_THROUGH,
        *persistent_volume_claims.REJECTED,
        *CLAIM_IGNORED,
    ),
    "PersistentVolumeClaimStatus": (*persistent_volume_claims.STATUS, *CLAIM_NOT_REPORTED),
    # That neither changes is seen to inside.
    "ConfigMap": (*OBJECT, "binaryData", "data", "immutable"),
    "Secret": (*OBJECT, "data", "immutable", "stringData", "type"),
}


@pytest.mark.parametrize("kind", KNOWN)
def test_every_field_of_the_api_is_known(schemas: dict[str, dict], kind: str) -> None:
    assert set(schemas[kind]["properties"]) - set(KNOWN[kind]) == set()


def test_the_documentation_has_every_field_of_a_pod() -> None:
    text = (Path(ROOT) / "docs/shared-mode.md").read_text()
    table = text.split("<!-- fields of a pod -->")[1].split("<!-- end -->")[0]
    rows = dict(
        line.strip("| \n").split(" | ", 1) for line in table.splitlines() if line.startswith("| ") and "`" in line
    )
    lists = {
        "passed": pod.PASSED,
        "translated": pod.TRANSLATED,
        "decided": pod.DECIDED,
        "refused": pod.REJECTED,
    }
    for row, fields in lists.items():
        assert {one for one in rows[row].split("`") if one.isidentifier()} == set(fields), row
