# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the API server of a host lets nobody do, whatever rights RBAC gives him there. Pure.

RBAC cannot tell the platform's objects from others of their kind. These policies can: who manages a namespace of the
host, or has the right to all its pods, does not thereby get at a virtual cluster. What a syncer that was taken over
gets at is said in _platform.admission_policies_syncer.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, ETCD, SERVER, SYNCER
from ansible_collections.tenantry.kube.plugins.module_utils._platform import (
    admission_policies_syncer,
    manifests,
    rbac,
)

# Kubernetes itself: its controllers, nodes and API server. Theirs is all that happens to objects by itself.
_SYSTEM_GROUPS = ("system:masters", "system:nodes", "system:serviceaccounts:kube-system")
_SYSTEM_USERS = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler")
# The StatefulSets of the platform, whose pods the controllers of the host create.
_PARTS = (SERVER, AGENT, ETCD, SYNCER)

_WHO = "only the platform and users with 'manage' on platform.tenantry.dev can"
_SUBRESOURCE = "request.?subResource.orValue('')"


def host_policies(component: str) -> list[dict]:
    """All of them, for a hub or a member."""
    return [
        *_objects(component),
        *_namespaces(component),
        *_pods(component),
        *admission_policies_syncer.policy(component),
    ]


def _objects(component: str) -> list[dict]:
    """What carries the platform's label is changed by the platform only: a record, a quota, a wall, a server."""
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
    """
    In the namespace of a virtual cluster nobody writes or connects to anything. A list of kinds that are dangerous
    would end where the next controller begins that turns its own kind into pods, tokens or rights.
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
    """
    Controllers in kube-system are Kubernetes itself, and do what objects of others tell them: a pod counts by who owns
    it, and the number of a platform's pods by who may manage.
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
        variables={"manages": _may_manage()},
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
        "manages": _may_manage(),
        "everywhere": _may_everywhere(),
        "drains": _drains(),
        "notes": _only_notes(),
    }


def _may_manage() -> str:
    """A right on a resource that is none: administrators have it by their wildcard, others if it was granted."""
    group, resource, verb = rbac.MANAGE
    return f"authorizer.group('{group}').resource('{resource}').check('{verb}').allowed()"


def _may_everywhere() -> str:
    """
    Controllers of load balancers, volumes and networks live in any namespace, and may what they do in all of them (of
    pods, tell the status, as programs of nodes may and people do not). Rights in one namespace are not enough.
    """
    subresource = f"request.resource.resource == 'pods' ? 'status' : {_SUBRESOURCE}"
    right = f"authorizer.group(request.resource.group).resource(request.resource.resource).subresource({subresource})"
    may = {verb: f"{right}.check('{verb}').allowed()" for verb in ("create", "patch", "update")}
    return f"request.operation == 'CREATE' ? {may['create']} : ({may['update']} || {may['patch']})"


def _drains() -> str:
    """Who may change nodes can end every pod on one by a taint; so he may also evict it, as a drain does."""
    return (
        "request.resource.resource == 'pods' && "
        f"[request.operation, {_SUBRESOURCE}] in [['CREATE', 'eviction'], ['DELETE', '']] && "
        "authorizer.group('').resource('nodes').check('patch').allowed()"
    )


def _reports() -> str:
    """Events say something and do nothing; so does a question about somebody's rights."""
    return (
        "(request.resource.resource == 'localsubjectaccessreviews') || (request.resource.resource == 'events' && "
        "request.operation in ['CREATE', 'UPDATE'] && variables.everywhere)"
    )


def _system() -> str:
    groups = f"request.userInfo.groups.exists(group, group in {list(_SYSTEM_GROUPS)})"
    return f"{groups} || request.userInfo.username in {list(_SYSTEM_USERS)}"


def _is_owned() -> str:
    """StatefulSets are created by the platform only (tenantry-vclusters), so none of these names is another's."""
    owner = (
        "object.metadata.?ownerReferences.orValue([]).exists(owner, owner.?controller.orValue(false) && "
        f"owner.kind == 'StatefulSet' && owner.apiVersion.startsWith('apps/') && owner.name in {list(_PARTS)})"
    )
    return f"({owner} && {_has_label('object')})"


def _has_label(item: str) -> str:
    return f"{item}.metadata.?labels[?'{naming.LABEL_MANAGED_BY}'].orValue('') == '{naming.MANAGED_BY}'"


def _only_notes() -> str:
    """
    What the host's controllers leave: annotations and finalizers on Services, claims and namespaces, annotations on
    pods (network plugins), finalizers on ways in, whose annotations configure proxies; and status.
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
