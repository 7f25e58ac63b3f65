# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The rules of all ClusterRoles of the platform, as data.

RBAC only adds rights, so wildcards are used only for administrators *in* a virtual cluster. Subresources are listed one
by one: a rule for `pods` does not include `pods/exec`.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import PLATFORM_NAMESPACE, labels

RBAC_GROUP = "rbac.authorization.k8s.io"
PLATFORM_OPERATOR = "platform_operator"
TENANT_ROLES = ("viewer", "developer", "admin")
ROLES = (*TENANT_ROLES, PLATFORM_OPERATOR)
PLATFORM_ROLE = "tenantry:platform"
MANAGER_ROLE = "tenantry:vcluster-manager"
TENANT_MANAGER_ROLE = "tenantry:tenant-manager"
# The platform's ServiceAccount in PLATFORM_NAMESPACE: on a member, and on a hub with the reconciler.
PLATFORM_ACCOUNT = "tenantry-platform"
# Group, resource and verb of a right that only admission policies check (_platform.admission_policies).
MANAGE = ("tenantry.dev", "platform", "manage")

READ = ("get", "list", "watch")
WRITE = ("create", "update", "patch", "delete", "deletecollection")
_MANAGE = (*READ, "create", "update", "patch", "delete")
# A websocket is opened by GET, SPDY by POST; from Kubernetes 1.35 on both need "create".
CONNECT = ("get", "create")
# A verb that only an admission policy checks, when a user changes another's request (_platform.crds).
ADMINISTER = "administer"
# The syncer's user in the virtual cluster.
SYNCER_USER = "tenantry:syncer"
# The ServiceAccount on the host of all of the tenant's pods. It may do nothing.
PODS_ACCOUNT = "pods"


def role_name(role: str) -> str:
    """Return the ClusterRole of a user's role."""
    return f"tenantry:{role}"


def _rule(groups: str, resources: str, *verbs: str, names: tuple[str, ...] = ()) -> dict:
    rule = {
        "apiGroups": ["" if group == "core" else group for group in groups.split()],
        "resources": resources.split(),
        "verbs": list(verbs),
    }
    if names:
        rule["resourceNames"] = list(names)
    return rule


# Inside a virtual cluster -------------------------------------------------------------------------------------------

_INSIDE_OBSERVE = [
    _rule("core", "pods services endpoints events nodes namespaces persistentvolumeclaims resourcequotas", *READ),
    _rule("events.k8s.io", "events", *READ),
    _rule("metrics.k8s.io", "pods nodes", *READ),
]

_INSIDE_VIEW = [
    *_INSIDE_OBSERVE,
    _rule("core", "pods/log", *READ),
    _rule("core", "configmaps limitranges persistentvolumes replicationcontrollers serviceaccounts", *READ),
    _rule("apps", "controllerrevisions daemonsets deployments replicasets statefulsets", *READ),
    _rule("apps", "deployments/scale replicasets/scale statefulsets/scale", "get"),
    _rule("batch", "cronjobs jobs", *READ),
    _rule("autoscaling", "horizontalpodautoscalers", *READ),
    _rule("policy", "poddisruptionbudgets", *READ),
    _rule("networking.k8s.io", "ingressclasses ingresses networkpolicies", *READ),
    _rule("discovery.k8s.io", "endpointslices", *READ),
    _rule("storage.k8s.io", "storageclasses", *READ),
]

# No roles, no rolebindings, no serviceaccounts/token: a developer cannot become another user. Through a pod, a
# developer has the rights that an administrator gave to any ServiceAccount outside of the system namespaces.
_INSIDE_DEVELOP = [
    *_INSIDE_VIEW,
    _rule("core", "secrets", *READ, *WRITE),
    _rule("core", "configmaps persistentvolumeclaims pods replicationcontrollers serviceaccounts services", *WRITE),
    _rule("core", "pods/attach pods/exec pods/portforward", *CONNECT),
    _rule("core", "pods/eviction", "create"),
    _rule("core", "pods/ephemeralcontainers", "get", "update", "patch"),
    _rule("apps", "daemonsets deployments replicasets statefulsets", *WRITE),
    _rule("apps", "deployments/scale replicasets/scale statefulsets/scale", "update", "patch"),
    _rule("batch", "cronjobs jobs", *WRITE),
    _rule("autoscaling", "horizontalpodautoscalers", *WRITE),
    _rule("policy", "poddisruptionbudgets", *WRITE),
    _rule("networking.k8s.io", "ingresses networkpolicies", *WRITE),
]

INSIDE = {
    "viewer": _INSIDE_VIEW,
    "developer": _INSIDE_DEVELOP,
    "admin": [_rule("*", "*", "*"), {"nonResourceURLs": ["*"], "verbs": ["*"]}],
    PLATFORM_OPERATOR: _INSIDE_OBSERVE,
}

# On the hub ---------------------------------------------------------------------------------------------------------
# The first three are bound in the tenant's namespace only, the last on the whole hub. The tenant namespace holds
# the tenant's record, its users' identities and its requests; nothing runs in it, so a tenant writes requests only.

_HUB_VIEW = [
    _rule("core", "configmaps events limitranges pods resourcequotas services", *READ),
    _rule("events.k8s.io", "events", *READ),
    _rule("tenantry.dev", "virtualclusterrequests", *READ),
]

# Virtual clusters and users are asked for (_platform.crds). What they consist of is made by the platform, within the
# quota and the rights of the requester.
_HUB_ASK = [
    *_HUB_VIEW,
    _rule("tenantry.dev", "virtualclusterrequests", "create", "update", "patch", "delete"),
]
_HUB_ADMINISTER = [
    _rule("tenantry.dev", "tenantuserrequests", *READ, "create", "update", "patch", "delete"),
    _rule("tenantry.dev", "tenantuserrequests virtualclusterrequests", ADMINISTER),
]

HUB = {
    "viewer": _HUB_VIEW,
    "developer": _HUB_ASK,
    "admin": [
        *_HUB_ASK,
        *_HUB_ADMINISTER,
        _rule("core", "serviceaccounts", *READ),
        _rule(RBAC_GROUP, "rolebindings", *READ),
    ],
    PLATFORM_OPERATOR: [
        *_HUB_ASK,
        *_HUB_ADMINISTER,
        _rule("core", "nodes persistentvolumeclaims serviceaccounts", *READ),
        _rule("core", "namespaces limitranges resourcequotas", *READ, *WRITE),
        _rule("apps", "statefulsets", *READ),
        _rule("policy", "poddisruptionbudgets", *READ),
        _rule("networking.k8s.io", "networkpolicies", *READ, *WRITE),
        _rule(RBAC_GROUP, "rolebindings", *READ),
        _rule("metrics.k8s.io", "pods nodes", *READ),
        _rule(*MANAGE),
    ],
}

# The platform itself, on a member and, for the reconciler, on the hub -----------------------------------------------
# Cluster-wide it sees what a virtual cluster consists of, Secrets excepted. What it changes, it changes by
# MANAGER_ROLE, which it may bind in the namespaces of virtual clusters (_platform.confinement).

PLATFORM = [
    _rule("core", "namespaces", *READ, "create", "patch", "delete"),
    _rule(
        "core",
        "events limitranges nodes persistentvolumeclaims persistentvolumes pods resourcequotas serviceaccounts "
        "services",
        *READ,
    ),
    _rule("apps", "statefulsets", *READ),
    _rule("metrics.k8s.io", "pods nodes", "get", "list"),
    _rule("policy", "poddisruptionbudgets", *READ),
    _rule("storage.k8s.io", "storageclasses", *READ),
    _rule("networking.k8s.io", "ingressclasses servicecidrs", "get", "list"),
    # The addresses of the API server.
    _rule("discovery.k8s.io", "endpointslices", "get", names=("kubernetes",)),
    _rule("scheduling.k8s.io", "priorityclasses", *READ),
    _rule(RBAC_GROUP, "rolebindings", *READ, "create", "patch", "delete"),
    _rule(RBAC_GROUP, "clusterroles", "bind", names=(MANAGER_ROLE,)),
    _rule(*MANAGE),
    {"nonResourceURLs": ["/version"], "verbs": ["get"]},
]

# On the hub it also reads requests and writes their status. What users consist of, it changes by TENANT_MANAGER_ROLE in
# the namespaces of tenants.
RECONCILER = [
    *PLATFORM,
    _rule("apiextensions.k8s.io", "customresourcedefinitions", "get"),
    _rule("authentication.k8s.io", "tokenreviews", "create"),  # whether the token in a kubeconfig is still valid
    _rule("tenantry.dev", "tenantuserrequests virtualclusterrequests", *READ),
    _rule("tenantry.dev", "virtualclusterrequests", "patch", ADMINISTER),  # fields that have another name now
    _rule("tenantry.dev", "tenantuserrequests/status virtualclusterrequests/status", "patch"),
    _rule("core", "configmaps", "get", "list"),
    _rule(RBAC_GROUP, "clusterrolebindings roles", "get", "list"),
    _rule(RBAC_GROUP, "clusterroles", "bind", names=(TENANT_MANAGER_ROLE, *map(role_name, TENANT_ROLES))),
]
# In the namespace of the platform: the credentials of members, and the Lease. Before Kubernetes 1.33, only the
# rejection of a Service reveals the service network.
RECONCILER_HERE = [
    _rule("core", "secrets", "get", "list"),
    _rule("core", "services", "create"),
    _rule("coordination.k8s.io", "leases", "get", "create", "patch"),
]
TENANT_MANAGER = [
    _rule("core", "secrets serviceaccounts", *_MANAGE),
    _rule("core", "serviceaccounts/token", "create"),
    _rule("core", "configmaps", "patch"),
    # To bind a Role that an API server has not seen yet, as with SYNCER.
    _rule(RBAC_GROUP, "roles", *_MANAGE, "bind"),
]

# The syncer of a virtual cluster of mode shared, by a Role in its namespace: it runs the tenant's pods there.

SYNCER_ROLE = "syncer"

SYNCER = [
    _rule("core", "configmaps persistentvolumeclaims pods secrets services", *_MANAGE),
    _rule("discovery.k8s.io", "endpointslices", *_MANAGE),
    _rule("networking.k8s.io", "ingresses", *_MANAGE),
    _rule("core", "pods/log services/status", "get"),
    _rule("core", "pods/attach pods/exec pods/portforward", *CONNECT),
    _rule("core", "pods/ephemeralcontainers pods/resize pods/status", "get", "update", "patch"),
    _rule("core", "events resourcequotas", *READ),
    _rule("metrics.k8s.io", "pods", "get", "list"),
]

VCLUSTER_MANAGER = [
    _rule(
        "core",
        "configmaps limitranges persistentvolumeclaims resourcequotas secrets serviceaccounts services",
        *READ,
        *WRITE,
    ),
    _rule("core", "pods", *READ, "delete"),
    _rule("core", "pods/log", "get"),
    _rule("core", "pods/portforward", *CONNECT),
    _rule("apps", "statefulsets", *READ, *WRITE),
    _rule("networking.k8s.io", "networkpolicies", *READ, *WRITE),
    _rule("policy", "poddisruptionbudgets", *READ, *WRITE),
    _rule("route.openshift.io", "routes routes/custom-host", *READ, *WRITE),
    # Nobody can grant rights that they lack. So the account has the rights of the Role `syncer` that it creates. The
    # right to bind is separate, because an API server learns of a Role some moments after it was created.
    *SYNCER,
    _rule(RBAC_GROUP, "roles", *READ, "create", "patch", "delete"),
    _rule(RBAC_GROUP, "roles", "bind", names=(SYNCER_ROLE,)),
]


def cluster_role(name: str, rules: list[dict], component: str) -> dict:
    """Render a ClusterRole of the platform. `component` is platform, member or user."""
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name, "labels": labels(component)},
        "rules": rules,
    }


def user_roles(rules: dict[str, list[dict]], component: str) -> list[dict]:
    """Render the four ClusterRoles of users with the rules of HUB or INSIDE."""
    return [cluster_role(role_name(role), rules[role], component) for role in ROLES]


def platform_binding(kind: str, metadata: dict, role: str, role_kind: str = "ClusterRole") -> dict:
    """Render a binding of a role to the platform's own account."""
    return {
        "apiVersion": f"{RBAC_GROUP}/v1",
        "kind": kind,
        "metadata": metadata,
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": role_kind, "name": role},
        "subjects": [{"kind": "ServiceAccount", "name": PLATFORM_ACCOUNT, "namespace": PLATFORM_NAMESPACE}],
    }
