# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render the objects of a virtual cluster in its namespace on the host, except k3s itself. Pure."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER, pods_priority
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    LIMIT_RANGE,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    PVC,
    RESOURCE_QUOTA,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac
from ansible_collections.tenantry.kube.plugins.module_utils._tenant.resources_in_use import VCLUSTER_QUOTA
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import (
    agent,
    etcd,
    exposure,
    host_offers,
    network_policies,
    scheduling,
    server,
    syncer,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    ACCOUNT,
    API_PORT,
    CLIENT_CA,
    JOIN_TOKEN,
    PLATFORM_CREDENTIAL,
    RenderContext,
    disruption_budget,
    names_service,
    secret,
    service_account,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import (
    DISK_HELD,
    DISK_OF_CONTAINER,
    memory_text,
)

# Kinds in which a plan searches for objects to delete.
KINDS = (
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
    RESOURCE_QUOTA,
    LIMIT_RANGE,
    PVC,
    NETWORK_POLICY,
    POD_DISRUPTION_BUDGET,
    ROLE,
    ROLE_BINDING,
    STATEFUL_SET,
)


def everything(rendering: RenderContext) -> list[dict]:
    """Render all objects."""
    return [*foundation(rendering), *_content(rendering)]


def foundation(rendering: RenderContext) -> list[dict]:
    """Render the objects to create first: the certificate needs the addresses of Services."""
    objects = [
        _namespace(rendering),
        *_quotas(rendering),
        exposure.api_service(rendering),
        *exposure.by_name(rendering),
    ]
    if rendering.spec.shared:
        objects += syncer.services(rendering)
    objects += etcd.services(rendering)
    if rendering.account:
        objects.append(platform_binding(rendering))
    return objects


def _content(rendering: RenderContext) -> list[dict]:
    objects = [
        service_account(rendering.metadata(ACCOUNT)),
        *network_policies.policies(rendering),
        join_token(rendering),
        platform_credential(rendering),
        client_ca(rendering),
        *server.config_secrets(rendering),
        *scheduling.pull_secrets(rendering),
        *etcd.objects(rendering),
        *server.volume_claims(rendering),
        names_service(rendering, SERVER, {"https": API_PORT}),
        _limit_range(rendering),
        disruption_budget(rendering, SERVER),
        server.stateful_set(rendering),
        *syncer.objects(rendering),
    ]
    if rendering.spec.agents:
        objects += [agent.config_secret(rendering), agent.stateful_set(rendering)]
    return objects


def _namespace(rendering: RenderContext) -> dict:
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
                naming.LABEL_TIER: spec.tier,
                "pod-security.kubernetes.io/enforce": level,
            },
            "annotations": {
                SPEC_ANNOTATION: spec.record(rendering.address).as_text(rendering.recorded),
                **host_offers.namespace_annotations(spec),
            },
        },
    }


def platform_binding(rendering: RenderContext) -> dict:
    """Render the platform's rights in the namespace, where it acts with an account of its own."""
    return rbac.platform_binding("RoleBinding", rendering.metadata(rbac.PLATFORM_ACCOUNT), rbac.MANAGER_ROLE)


def join_token(rendering: RenderContext) -> dict:
    """Render the Secret with the tokens of servers, agents and syncer, which a restore replaces."""
    kept = rendering.keys
    values = {
        "server-token": kept.server_token,
        "agent-token": kept.agent_token,
        "node-password": kept.node_password,
    }
    if rendering.spec.shared:
        values[syncer.TOKEN] = kept.syncer_token
    return secret(rendering.metadata(JOIN_TOKEN), values)


def platform_credential(rendering: RenderContext) -> dict:
    """Render the platform's credential for the virtual cluster: token and, once known, CA."""
    values = {"token": rendering.keys.platform_token}
    if rendering.keys.ca:
        values["ca.crt"] = rendering.keys.ca
    return secret(rendering.metadata(PLATFORM_CREDENTIAL), values)


def client_ca(rendering: RenderContext) -> dict:
    """Render the Secret with the CA for requested client certificates."""
    return secret(rendering.metadata(CLIENT_CA), dict(rendering.keys.client_ca))


def _quotas(rendering: RenderContext) -> list[dict]:
    """
    Render the quota for everything and, in mode shared, one for the tenant's pods, which keeps room for the servers.
    """
    return [_quota(rendering), *([_quota_of_pods(rendering)] if rendering.spec.shared else [])]


def _quota_of_pods(rendering: RenderContext) -> dict:
    spec = rendering.spec
    tenants = {"scopeName": "PriorityClass", "operator": "In", "values": [pods_priority(spec.tier)]}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": rendering.metadata("vcluster-pods"),
        "spec": {
            "hard": spec.resources.pods_beside(spec.own),
            "scopeSelector": {"matchExpressions": [tenants]},
        },
    }


def _quota(rendering: RenderContext) -> dict:
    spec = rendering.spec
    claims = {"persistentvolumeclaims": str(0 if spec.volume is None else spec.servers)}
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": rendering.metadata(VCLUSTER_QUOTA),
        "spec": {
            "hard": {
                **spec.own.hard_services(),
                **spec.resources.hard(),
                **(syncer.OBJECTS if spec.shared else claims),
            }
        },
    }


def _limit_range(rendering: RenderContext) -> dict:
    """Render defaults for pods without resources, which the quota would reject.

    In mode shared the syncer sets processor and memory, because it knows the tenant's values: a LimitRange would set
    limits below a higher request, and on each container of a pod with limits as a whole. It sets disk there too, which
    a quota only counts if the pod sets it.
    """
    default, request = {"cpu": "100m", "memory": "128Mi"}, {"cpu": "50m", "memory": "64Mi"}
    if rendering.spec.shared:
        default = {"ephemeral-storage": memory_text(DISK_OF_CONTAINER)}
        request = {"ephemeral-storage": memory_text(DISK_HELD)}
    return {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": rendering.metadata("defaults"),
        "spec": {"limits": [{"type": "Container", "default": default, "defaultRequest": request}]},
    }
