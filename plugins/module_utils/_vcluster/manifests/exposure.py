# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Expose the API of a virtual cluster: a Service and, for a DNS name, an Ingress or a Route. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import INGRESS as INGRESS_KIND
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import ROUTE as ROUTE_KIND
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    API_SERVICE,
    RenderContext,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import (
    INGRESS,
    LOAD_BALANCER,
    ROUTE,
)

PORT = "https"


def api_service(rendering: RenderContext) -> dict:
    """Render the Service of the API."""
    exposure = rendering.spec.exposure
    port: dict = {"name": PORT, "port": API_PORT, "targetPort": API_PORT, "protocol": "TCP"}
    if exposure.port:
        port["nodePort"] = exposure.port
    metadata = rendering.metadata(API_SERVICE)
    if exposure.type == LOAD_BALANCER and exposure.annotations:
        metadata["annotations"] = exposure.annotations
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": exposure.service_type,
            "selector": rendering.selector(SERVER),
            "ports": [port],
            **syncer.reached(rendering),
        },
    }


def by_name(rendering: RenderContext) -> list[dict]:
    """Render the Ingress or Route. TLS is passed through to the API server, whose certificate has the name."""
    exposure = rendering.spec.exposure
    metadata = {**rendering.metadata(API_SERVICE), "annotations": exposure.annotations}
    if exposure.type == INGRESS:
        backend = {"service": {"name": API_SERVICE, "port": {"name": PORT}}}
        path = {"path": "/", "pathType": "Prefix", "backend": backend}
        spec: dict = {"rules": [{"host": exposure.address, "http": {"paths": [path]}}]}
        if exposure.ingress_class:
            spec["ingressClassName"] = exposure.ingress_class
        return [{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec}]
    if exposure.type == ROUTE:
        spec = {
            "host": exposure.address,
            "to": {"kind": "Service", "name": API_SERVICE, "weight": 100},
            "port": {"targetPort": PORT},
            "tls": {"termination": "passthrough"},
        }
        return [{"apiVersion": "route.openshift.io/v1", "kind": "Route", "metadata": metadata, "spec": spec}]
    return []


def kinds(now: str, before: str | None) -> tuple[str, ...]:
    """Return the kinds to search for existing objects. Routes only if used now or before: most hosts lack them."""
    return (INGRESS_KIND, ROUTE_KIND) if ROUTE in (now, before) else (INGRESS_KIND,)


def balancer_address(service: dict) -> str:
    """Return the address or name of the load balancer, or an empty string before it has one."""
    given = (service.get("status", {}).get("loadBalancer") or {}).get("ingress") or []
    return next((one.get("hostname") or one.get("ip") or "" for one in given), "")


def url_of(service: dict, way: str | None, address: str) -> str:
    """Return the URL of the API."""
    spec = service["spec"]
    if way in (INGRESS, ROUTE):
        return f"https://{address}:443"
    if spec["type"] == "NodePort":
        return f"https://{_bracketed(address)}:{spec['ports'][0]['nodePort']}"
    if spec["type"] == LOAD_BALANCER:
        return f"https://{_bracketed(address)}:{API_PORT}"
    return f"https://{_bracketed(spec['clusterIP'])}:{API_PORT}"


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
