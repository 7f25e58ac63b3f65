# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Admission policies of a host, which deny requests whatever rights RBAC grants. Pure.

RBAC cannot tell the platform's objects from others of their kind. With these policies, rights in a namespace of the
host, or to all pods, do not give access to a virtual cluster. admission_policies_syncer limits syncers.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._platform import (
    admission_policies_syncer,
    manifests,
)

# Kubernetes itself: its controllers, nodes and API server, which act on objects of all users.
_SYSTEM_GROUPS = ("system:masters", "system:nodes", "system:serviceaccounts:kube-system")
_SYSTEM_USERS = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler")
# The StatefulSets of the platform, whose pods the controllers of the host create.
_PARTS = (SERVER, AGENT, ETCD, SYNCER)

_WHO = "only the platform and users with 'manage' on platform.tenantry.dev can"
_SUBRESOURCE = "request.?subResource.orValue('')"


def host_policies(component: str) -> list[dict]:
    """Render all policies of a hub or a member."""
    return [
        *_objects(component),
        *_namespaces(component),
        *_pods(component),
        *admission_policies_syncer.policy(component),
    ]


def _objects(component: str) -> list[dict]:
    """Only the platform changes objects with its label: records, quotas, network policies, servers."""
    return manifests.admission_policy(
        "tenantry-objects",
        component,
        rules=[manifests.on("*", "*/*")],
        matching={"objectSelector": {"matchLabels": {naming.LABEL_MANAGED_BY: naming.MANAGED_BY}}},
        when=f"!({_system()})",
        variables=_variables(),
        validations=[
            {
                "expression": "variables.manages || variables.drains || (variables.notes && variables.everywhere)",
                "message": f"{_WHO} change objects of {naming.MANAGED_BY}",
            }
        ],
    )


def _namespaces(component: str) -> list[dict]:
    """Deny every write and connection in the namespace of a virtual cluster.

    A list of dangerous kinds would miss the next controller that turns its own kind into pods, tokens or rights.
    """
    every = manifests.on("*", "*/*", scope="Namespaced", operations=("CREATE", "UPDATE", "DELETE", "CONNECT"))
    return manifests.admission_policy(
        "tenantry-vclusters",
        component,
        rules=[every],
        matching=admission_policies_syncer.in_virtual_clusters(),
        when=f"!({_system()} || {admission_policies_syncer.IS_SYNCER})",
        variables={**_variables(), "reports": _reports()},
        validations=[
            {
                "expression": "variables.manages || variables.drains || variables.reports || "
                "(variables.notes && variables.everywhere)",
                "message": f"{_WHO} write or connect to anything in the namespace of a virtual cluster",
            }
        ],
    )


def _pods(component: str) -> list[dict]:
    """Restrict pods by their owner, and scaling by the right to manage.

    Controllers in kube-system belong to Kubernetes, and act on objects of others.
    """
    return manifests.admission_policy(
        "tenantry-pods",
        component,
        rules=[
            manifests.on("", "pods", scope="Namespaced", operations=("CREATE",)),
            manifests.on("*", "*/scale", scope="Namespaced", operations=("UPDATE",)),
        ],
        matching=admission_policies_syncer.in_virtual_clusters(),
        when=f"!({admission_policies_syncer.IS_SYNCER})",
        variables={"manages": manifests.may_manage()},
        validations=[
            {
                "expression": f"request.resource.resource != 'pods' || {_is_owned()} || variables.manages",
                "message": f"{_WHO} create pods in the namespace of a virtual cluster",
            },
            {
                "expression": "request.resource.resource == 'pods' || variables.manages",
                "message": f"{_WHO} scale anything in the namespace of a virtual cluster",
            },
        ],
    )


def _variables() -> dict[str, str]:
    return {
        "manages": manifests.may_manage(),
        "everywhere": _may_everywhere(),
        "drains": _drains(),
        "notes": _only_notes(),
    }


def _may_everywhere() -> str:
    """Controllers of load balancers, volumes and networks have their rights in all namespaces, not in one.

    For pods, the right to patch the status counts, which programs of nodes have and users do not.
    """
    subresource = f"request.resource.resource == 'pods' ? 'status' : {_SUBRESOURCE}"
    right = f"authorizer.group(request.resource.group).resource(request.resource.resource).subresource({subresource})"
    may = {verb: f"{right}.check('{verb}').allowed()" for verb in ("create", "patch", "update")}
    return f"request.operation == 'CREATE' ? {may['create']} : ({may['update']} || {may['patch']})"


def _drains() -> str:
    """Users who can change nodes can end every pod on one by a taint, so they may also evict it."""
    return (
        "request.resource.resource == 'pods' && "
        f"[request.operation, {_SUBRESOURCE}] in [['CREATE', 'eviction'], ['DELETE', '']] && "
        "authorizer.group('').resource('nodes').check('patch').allowed()"
    )


def _reports() -> str:
    """Events and reviews of rights change nothing."""
    return (
        "(request.resource.resource == 'localsubjectaccessreviews') || (request.resource.resource == 'events' && "
        "request.operation in ['CREATE', 'UPDATE'] && variables.everywhere)"
    )


def _system() -> str:
    groups = f"request.userInfo.groups.exists(group, group in {list(_SYSTEM_GROUPS)})"
    return f"{groups} || request.userInfo.username in {list(_SYSTEM_USERS)}"


def _is_owned() -> str:
    """Only the platform creates StatefulSets here (tenantry-vclusters), so these names are not another's."""
    owner = (
        "object.metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false) && "
        f"owner.kind == 'StatefulSet' && owner.apiVersion.startsWith('apps/') && owner.name in {list(_PARTS)})"
    )
    return f"({owner} && {_has_label('object')})"


def _has_label(item: str) -> str:
    return f"{item}.metadata.?labels[?'{naming.LABEL_MANAGED_BY}'].orValue('') == '{naming.MANAGED_BY}'"


def _only_notes() -> str:
    """Changes that controllers of the host make.

    They set annotations and finalizers on Services, claims and namespaces, annotations on pods (network plugins),
    finalizers on Ingresses and Routes, whose annotations configure proxies, and status.
    """
    ours = f"key.startsWith('{naming.LABEL_PREFIX}')"
    notes = "{0}.metadata.?annotations.orValue({{}})"
    own_notes = [
        f"{notes.format(one)}.all(key, !{ours} || {notes.format(other)}[?key] == {notes.format(one)}[?key])"
        for one, other in (("object", "oldObject"), ("oldObject", "object"))
    ]
    by_kind = {
        ("namespaces", "persistentvolumeclaims", "services"): own_notes,
        ("ingresses", "routes"): [_same("metadata.?annotations")],
        ("pods",): [*own_notes, _same("metadata.?finalizers"), _same("?status")],
    }
    kinds = " || ".join(
        " && ".join([f"request.resource.resource in {list(kinds)}", *rules]) for kinds, rules in by_kind.items()
    )
    same = [_same(field) for field in ("metadata.?labels", "metadata.?ownerReferences", "?spec")]
    return " && ".join(["request.operation == 'UPDATE'", f"({kinds})", *same])


def _same(field: str) -> str:
    return f"object.{field} == oldObject.{field}"
