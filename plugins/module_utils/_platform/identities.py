# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Render identities and rights of users, on the hub and in virtual clusters. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform import manifests, rbac
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import PREFIX, Person

ADMINISTRATOR = "platform-admin"
ROLE_ANNOTATION = "tenantry.dev/role"
ACCESS_ANNOTATION = "tenantry.dev/access"
OIDC_ANNOTATION = "tenantry.dev/oidc"
OIDC_PREFIX_ANNOTATION = "tenantry.dev/oidc-prefix"
HUB_ACCESS_ANNOTATION = "tenantry.dev/hub-access"
REQUEST_ANNOTATION = "tenantry.dev/request"
USERS_FLOW_SCHEMA = "tenantry-people"
_EVERY_ACCOUNT = {"namespace": naming.PLATFORM_NAMESPACE, "name": "*"}
# People have ServiceAccounts of ours or names that an issuer gives; these never begin as the others do.
_PERSONS = (
    f"request.userInfo.username.startsWith('system:serviceaccount:{naming.PLATFORM_NAMESPACE}:') || "
    "!['system:', 'tenantry:'].exists(ours, request.userInfo.username.startsWith(ours))"
)
SYSTEM_NAMESPACES = ("kube-node-lease", "kube-public", "kube-system", naming.PLATFORM_NAMESPACE)


def access_of(annotations: dict) -> dict[str, str] | None:
    """Return the role by virtual cluster from a user's identity. None: the user's role in all of the tenant's."""
    return json.loads(annotations.get(ACCESS_ANNOTATION) or "null")


def _person_of(annotations: dict) -> str | None:
    kind, space, name = annotations.get(OIDC_ANNOTATION, "").partition(" ")
    return f"{kind}{space}{name.removeprefix(annotations.get(OIDC_PREFIX_ANNOTATION, PREFIX))}" or None


@dataclass(frozen=True)
class OnRecord:
    """A user as the hub records it."""

    name: str
    role: str
    access: dict[str, str] | None  # role by virtual cluster; None: the user's role in all of the tenant's
    account: str | None  # the UID of the identity on the hub
    person: str | None = None  # kind and name at the issuer; None: the user has an account in each place

    @classmethod
    def of(cls, account: dict) -> OnRecord:
        """Read the record from the user's ServiceAccount on the hub."""
        meta = account["metadata"]
        annotations = meta.get("annotations") or {}
        role, access = annotations.get(ROLE_ANNOTATION, ""), access_of(annotations)
        return cls(meta["name"], role, access, meta["uid"], _person_of(annotations))

    def role_in(self, vcluster: str, request: dict) -> str | None:
        """Return the user's role in a virtual cluster, or None.

        The requester of a virtual cluster is its administrator as long as the user's role allows requests.
        """
        if self.access is not None and vcluster in self.access:
            return self.access[vcluster]
        asked = (request.get("user"), request.get("account")) == (self.name, self.account)
        if asked and self.account and self.role in ("developer", "admin"):
            return "admin"
        return self.role if self.access is None else None


def inside_base() -> list[dict]:
    """Render what every virtual cluster has for its users: a namespace for identities, and four roles.

    A pod can use every ServiceAccount of its namespace. In the system namespaces these are the controllers and all
    other users, so only administrators may write there.
    """
    return [
        manifests.platform_namespace("user"),
        *rbac.user_roles(rbac.INSIDE, "user"),
        *manifests.admission_policy(
            "tenantry-system-namespaces",
            "user",
            rules=[manifests.on("*", "*/*", scope="Namespaced", operations=("*",))],
            namespaces=SYSTEM_NAMESPACES,
            when=_PERSONS,
            validations=[
                {
                    "expression": (
                        f"authorizer.group('{rbac.RBAC_GROUP}').resource('clusterroles').check('escalate').allowed()"
                    ),
                    "message": "the system namespaces of a virtual cluster may be changed by its administrators only",
                }
            ],
        ),
        _users_flow_schema(
            USERS_FLOW_SCHEMA, {"kind": "ServiceAccount", "serviceAccount": _EVERY_ACCOUNT}, naming.labels("user")
        ),
    ]


def inside_shared() -> list[dict]:
    """Render what virtual clusters of mode shared have in addition: a warning about objects without any effect there.

    A client shows it when it creates or changes one. It denies nothing, because charts contain these objects.
    """
    return manifests.admission_policy(
        "tenantry-network-policies",
        "vcluster",  # tenant_user deletes what it does not render
        rules=[manifests.on("networking.k8s.io", "networkpolicies", operations=("CREATE", "UPDATE"))],
        action="Warn",
        validations=[
            {
                "expression": "false",
                "message": (
                    "NetworkPolicies have no effect in a virtual cluster of mode shared: its pods reach each other. "
                    "To isolate pods from each other, run them in separate virtual clusters."
                ),
            }
        ],
    )


def _users_flow_schema(name: str, subject: dict, labels: dict[str, str]) -> dict:
    """Render a FlowSchema for requests of users.

    The API server shares its time fairly among them, and counts them apart from controllers, which shows whether a
    virtual cluster is in use (_vcluster.activity).
    """
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]}
    return {
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": "FlowSchema",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            # Before the one for all ServiceAccounts (9000), behind those of the control plane.
            "matchingPrecedence": 8000,
            "priorityLevelConfiguration": {"name": "workload-low"},
            "distinguisherMethod": {"type": "ByUser"},
            "rules": [
                {
                    "subjects": [subject],
                    "resourceRules": [everything],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }
            ],
        },
    }


def inside_user(tenant: str, user: str, role: str, subject: dict | None = None) -> list[dict]:
    """Render a ServiceAccount and its rights in a virtual cluster; only the rights for the `subject` of an issuer."""
    labels = naming.labels("user", tenant=tenant, user=user)
    name = f"tenantry:{user}:{role}"
    if subject:
        kind = subject["kind"]
        whose = {"kind": kind, kind.lower(): {"name": subject["name"]}}
        binding = _binding("ClusterRoleBinding", name, labels, role, subject)
        return [binding, _users_flow_schema(f"{USERS_FLOW_SCHEMA}-{user}", whose, labels)]
    account = _account(user, naming.PLATFORM_NAMESPACE, labels)
    return [account, _binding("ClusterRoleBinding", name, labels, role, _subject(account))]


def binding_name(name: str) -> tuple[str, str]:
    """Return the user and role that a binding's name stands for; empty strings if it is not the platform's."""
    prefix, _sep, rest = name.partition(":")
    user, _sep, role = rest.partition(":")
    return (user, role) if prefix == "tenantry" and role in rbac.ROLES else ("", "")


def inside_administrator(labels: dict[str, str]) -> list[dict]:
    """Render the revocable identity behind the administrator's kubeconfig: a ServiceAccount."""
    account = _account(ADMINISTRATOR, naming.PLATFORM_NAMESPACE, labels)
    name = f"tenantry:{ADMINISTRATOR}"
    return [account, _binding("ClusterRoleBinding", name, labels, "admin", _subject(account))]


def own_secret(user: str) -> str:
    """Return the name of the Secret with a user's kubeconfig, which only that user may read."""
    return f"kubeconfig-{user}"


def initial_kubeconfig(user: str) -> str:
    """Return the name of the Secret with a user's initial kubeconfig, which the requester may read and pass on."""
    return f"initial-kubeconfig-{user}"


def hub_user(
    tenant: str,
    user: str,
    role: str,
    access: dict[str, str] | None,
    person: Person | None = None,
    *,
    hub_access: bool = False,
    request: dict | None = None,
) -> list[dict]:
    """Render a user's identity and rights on the hub. A platform operator has rights on the whole hub.

    The ServiceAccount is the record of a user, even of one who has the rights as a `person` of an issuer. For a
    user whom the tenant requested, `request` has the `uid` of the request, and the `reader`: the subject that may
    read the initial kubeconfig, or None once that has ended.
    """
    labels = naming.labels("user", tenant=tenant, user=user)
    account = _account(user, naming.tenant_namespace(tenant), labels)
    account["metadata"]["annotations"] = _record_of(role, access, person, hub_access=hub_access, request=request)
    whose = (person.on_hub() if person else None) or _subject(account)
    if role == rbac.PLATFORM_OPERATOR:
        binding = _binding("ClusterRoleBinding", f"tenantry:{tenant}:{user}:{role}", labels, role, whose)
    else:
        binding = _binding("RoleBinding", f"tenantry:{user}:{role}", labels, role, whose)
        binding["metadata"]["namespace"] = account["metadata"]["namespace"]
    objects = [account, binding]
    if request and request["reader"]:
        name = f"tenantry:{user}:initial-kubeconfig"
        objects += _right_to_secret(name, initial_kubeconfig(user), account, request["reader"])
    if hub_access:
        objects += _right_to_secret(f"tenantry:{user}:kubeconfig", own_secret(user), account, _subject(account))
    return objects


def _record_of(
    role: str, access: dict[str, str] | None, person: Person | None, *, hub_access: bool, request: dict | None
) -> dict[str, str]:
    """Return the annotations of the account by which later runs know the user."""
    found = {ROLE_ANNOTATION: role, ACCESS_ANNOTATION: json.dumps(access, sort_keys=True)}
    subject = person.on_hub() if person else None
    if person and subject:
        found[OIDC_ANNOTATION] = f"{subject['kind'].lower()} {subject['name']}"
        found[OIDC_PREFIX_ANNOTATION] = person.hub_prefix
    if request:
        found[REQUEST_ANNOTATION] = request["uid"]
    if hub_access:
        found[HUB_ACCESS_ANNOTATION] = "true"
    return found


def _right_to_secret(name: str, secret: str, account: dict, reader: dict) -> list[dict]:
    """Render the reader's right to one Secret in the tenant namespace of that account."""
    labels = account["metadata"]["labels"]
    metadata = {"name": name, "namespace": account["metadata"]["namespace"], "labels": labels}
    rule = {"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": [secret]}
    role = {"apiVersion": f"{rbac.RBAC_GROUP}/v1", "kind": "Role", "metadata": metadata, "rules": [rule]}
    binding = _binding("RoleBinding", name, labels, "viewer", reader)
    return [
        role,
        {**binding, "metadata": metadata, "roleRef": {"apiGroup": rbac.RBAC_GROUP, "kind": "Role", "name": name}},
    ]


def _account(user: str, namespace: str, labels: dict[str, str]) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": user, "namespace": namespace, "labels": labels},
        "automountServiceAccountToken": False,
    }


def _subject(account: dict) -> dict:
    return {"kind": "ServiceAccount", **{key: account["metadata"][key] for key in ("name", "namespace")}}


def _binding(kind: str, name: str, labels: dict[str, str], role: str, subject: dict) -> dict:
    """The role is part of the name, because the role of a binding cannot be changed."""
    return {
        "apiVersion": f"{rbac.RBAC_GROUP}/v1",
        "kind": kind,
        "metadata": {"name": name, "labels": labels},
        "roleRef": {"apiGroup": rbac.RBAC_GROUP, "kind": "ClusterRole", "name": rbac.role_name(role)},
        "subjects": [subject],
    }
