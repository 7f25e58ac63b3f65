# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a virtual cluster consists of in its namespace on the host, k3s itself excepted. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac as _roles
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import agent as _render_agent
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import etcd as _render_etcd
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import exposure as _render_exposure
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import (
    network_policies as _render_network,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import scheduling as _render_placement
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as _render_server
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer as _render_syncer
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    API_PORT,
    JOIN_TOKEN,
    PLATFORM_CREDENTIAL,
    SERVER,
    Rendering,
    disruption_budget,
    names_service,
    secret,
    service_account,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.exposure import LOAD_BALANCER, NODE_PORT

MEMBER_ACCOUNT = "tenantry-platform"

# What a plan looks through for objects that are no longer wanted.
KINDS = (
    "v1/Secret",
    "v1/ServiceAccount",
    "v1/Service",
    "v1/ResourceQuota",
    "v1/LimitRange",
    "v1/PersistentVolumeClaim",
    "networking.k8s.io/v1/NetworkPolicy",
    "policy/v1/PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1/Role",
    "rbac.authorization.k8s.io/v1/RoleBinding",
    "apps/v1/StatefulSet",
)


def everything(rendering: Rendering) -> list[dict]:
    return [*foundation(rendering), *_content(rendering)]


def foundation(rendering: Rendering) -> list[dict]:
    """What must stand before the rest is known: the address of a Service goes into the certificate."""
    objects = [
        _namespace(rendering),
        _quota(rendering),
        _render_exposure.api_service(rendering),
        *_render_exposure.by_name(rendering),
    ]
    if rendering.spec.shared:
        objects += _render_syncer.services(rendering)
    if rendering.member:
        objects.append(platform_binding(rendering))
    return objects


def _content(rendering: Rendering) -> list[dict]:
    objects = [
        *_render_network.policies(rendering),
        join_token(rendering),
        platform_credential(rendering),
        *_render_server.config_secrets(rendering),
        *_render_placement.pull_secrets(rendering),
        *_render_etcd.objects(rendering),
        *_render_server.volume_claims(rendering),
        names_service(rendering, SERVER, {"https": API_PORT}),
        _limit_range(rendering),
        disruption_budget(rendering, SERVER),
        _render_server.stateful_set(rendering),
    ]
    if rendering.spec.shared:
        return [*_render_syncer.rights(rendering), _render_syncer.config_secret(rendering), *objects]
    objects.insert(0, service_account(rendering.metadata("vcluster")))
    if rendering.spec.agents:
        objects += [_render_agent.config_secret(rendering), _render_agent.stateful_set(rendering)]
    return objects


def _namespace(rendering: Rendering) -> dict:
    spec = rendering.spec
    # Agents run privileged: they are nodes. Without agents the namespace is as closed as Kubernetes can make it.
    level = "privileged" if spec.agents else "restricted"
    if spec.shared:
        level = spec.shared.pod_security
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": rendering.namespace,
            "labels": {
                **rendering.labels,
                _names.LABEL_TIER: spec.tier,
                "pod-security.kubernetes.io/enforce": level,
            },
            "annotations": {SPEC_ANNOTATION: spec.record(rendering.address)},
        },
    }


def platform_binding(rendering: Rendering) -> dict:
    """On a member, the platform's right to fill the namespace."""
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": rendering.metadata("tenantry-platform"),
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": _roles.MANAGER_ROLE,
        },
        "subjects": [
            {"kind": "ServiceAccount", "name": MEMBER_ACCOUNT, "namespace": _names.PLATFORM_NAMESPACE},
        ],
    }


def join_token(rendering: Rendering) -> dict:
    kept = rendering.keys
    values = {
        "server-token": kept.server_token,
        "agent-token": kept.agent_token,
        "node-password": kept.node_password,
    }
    if rendering.spec.shared:
        values[_render_syncer.TOKEN] = kept.syncer_token
    return secret(rendering.metadata(JOIN_TOKEN), values)


def platform_credential(rendering: Rendering) -> dict:
    values = {"token": rendering.keys.platform_token}
    if rendering.keys.ca:
        values["ca.crt"] = rendering.keys.ca
    return secret(rendering.metadata(PLATFORM_CREDENTIAL), values)


def _quota(rendering: Rendering) -> dict:
    spec = rendering.spec
    amount = spec.slice.as_text()
    claims = {"persistentvolumeclaims": str(0 if spec.volume is None else spec.servers)}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": rendering.metadata("slice"),
        "spec": {
            "hard": {
                "requests.cpu": amount["cpu"],
                "limits.cpu": amount["cpu"],
                "requests.memory": amount["memory"],
                "limits.memory": amount["memory"],
                "requests.storage": amount["storage"],
                **(_render_syncer.OBJECTS if spec.shared else claims),
                "pods": amount["pods"],
                "services.nodeports": str(int(spec.exposure.type in (NODE_PORT, LOAD_BALANCER))),
                "services.loadbalancers": str(int(spec.exposure.type == LOAD_BALANCER)),
            }
        },
    }


def _limit_range(rendering: Rendering) -> dict:
    """A pod without resources would be refused by the quota; with these it is small instead."""
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": rendering.metadata("defaults"),
        "spec": {
            "limits": [
                {
                    "type": "Container",
                    "default": {"cpu": "100m", "memory": "128Mi"},
                    "defaultRequest": {"cpu": "50m", "memory": "64Mi"},
                }
            ]
        },
    }
