"""The kinds of objects that the syncer reads or writes, and their API paths."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """A kind of objects with its API path."""

    api_version: str
    name: str
    plural: str
    component: str = ""  # value of the component label on the host
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str | None = None, *more: str) -> str:
        """Return the API path of an object, or of the collection without `name`."""
        root = "/api/" if "/" not in self.api_version else "/apis/"
        parts = [f"{root}{self.api_version}"]
        if namespace and self.namespaced:
            parts += ["namespaces", namespace]
        return "/".join([*parts, self.plural, *([name] if name else []), *more])


POD = Kind("v1", "Pod", "pods", "pod")
SERVICE = Kind("v1", "Service", "services", "service")
CONFIG_MAP = Kind("v1", "ConfigMap", "configmaps", "configmap")
SECRET = Kind("v1", "Secret", "secrets", "secret")
PVC = Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", "claim")
ENDPOINT_SLICE = Kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", "slice")
INGRESS = Kind("networking.k8s.io/v1", "Ingress", "ingresses", "ingress")
EVENT = Kind("v1", "Event", "events")
NODE = Kind("v1", "Node", "nodes", namespaced=False)
LEASE = Kind("coordination.k8s.io/v1", "Lease", "leases")
STORAGE_CLASS = Kind("storage.k8s.io/v1", "StorageClass", "storageclasses", namespaced=False)
NAMESPACE = Kind("v1", "Namespace", "namespaces", namespaced=False)
SERVICE_ACCOUNT = Kind("v1", "ServiceAccount", "serviceaccounts")
QUOTA = Kind("v1", "ResourceQuota", "resourcequotas")
POD_METRICS = Kind("metrics.k8s.io/v1beta1", "PodMetrics", "pods")
API_SERVICE = Kind("apiregistration.k8s.io/v1", "APIService", "apiservices", namespaced=False)
# By version, the newest first: 1.37 has the first of them, 1.33 to 1.36 the other if it is enabled.
TRUST_BUNDLES = tuple(
    Kind(f"certificates.k8s.io/{version}", "ClusterTrustBundle", "clustertrustbundles", namespaced=False)
    for version in ("v1", "v1beta1")
)
# Config maps on the host with the service environment variables of a namespace; they have no virtual object.
LINKS = Kind("v1", "ConfigMap", "configmaps", "service-variables")

TOKEN = "token"  # noqa: S105 - component label of Secrets with a pod's tokens
