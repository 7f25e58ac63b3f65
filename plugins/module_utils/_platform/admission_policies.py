# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the API server of a host lets nobody do, whatever rights he has by RBAC there. Pure.

RBAC cannot tell the platform's objects from others of their kind. These policies can: who manages a namespace of the
host, or has the right to all its pods, does not thereby get at a virtual cluster; and a syncer that was taken over
gets at nothing but what it made.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._platform import manifests as _render_platform
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac as _roles
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer as _render_syncer

KINDS = tuple(
    f"admissionregistration.k8s.io/v1/{kind}"
    for kind in ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")
)

# Kubernetes itself: its controllers, nodes and API server. Theirs is all that happens to objects by itself.
_SYSTEM_GROUPS = ("system:masters", "system:nodes", "system:serviceaccounts:kube-system")
_SYSTEM_USERS = ("system:apiserver", "system:kube-controller-manager", "system:kube-scheduler")
_SYNCER = f"request.userInfo.username == 'system:serviceaccount:' + request.namespace + ':{_render_syncer.NAME}'"

_WHO = "and by who may manage platform.tenantry.dev"

# As far as a pod of a tenant goes. Others would be mounted by the node, from the node's own network.
_VOLUMES = ("configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret")
# The host's controllers act on what other types hold; one of them makes tokens that never end.
_SECRET_TYPES = ("Opaque", "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", "kubernetes.io/tls")


def host_policies(component: str) -> list[dict]:
    """All of them, for a hub or a member."""
    return [*_objects(component), *_ways_in(component), *_syncers(component)]


def _objects(component: str) -> list[dict]:
    """What carries the platform's label is changed by the platform only: a record, a quota, a wall, a server."""
    return _render_platform.admission_policy(
        "tenantry-objects",
        component,
        rules=[_render_platform.on("*", "*/*")],
        matching={"objectSelector": {"matchLabels": {_names.LABEL_MANAGED_BY: _names.MANAGED_BY}}},
        when=f"!({_system()})",
        validations=[
            {
                "expression": f"{_may_manage()} || ({_only_notes()})",
                "message": f"objects of {_names.MANAGED_BY} are changed by the platform only, {_WHO}",
            }
        ],
    )


def _ways_in(component: str) -> list[dict]:
    """What opens a virtual cluster without a change to any object of the platform: walls, pods beside it, doors."""
    return _render_platform.admission_policy(
        "tenantry-vclusters",
        component,
        rules=[
            _render_platform.on("networking.k8s.io", "networkpolicies", operations=("CREATE", "UPDATE")),
            _render_platform.on("", "pods", operations=("CREATE",)),
            _render_platform.on("apps", "*", operations=("CREATE",)),
            _render_platform.on("batch", "*", operations=("CREATE",)),
            _render_platform.on("apps", "statefulsets/scale", operations=("UPDATE",)),
            _render_platform.on("", "serviceaccounts/token", operations=("CREATE",)),
            *(
                _render_platform.on("", f"pods/{way}", operations=("CONNECT",))
                for way in ("attach", "exec", "portforward")
            ),
        ],
        matching=_in_virtual_clusters(),
        when=f"!({_system()} || {_SYNCER})",
        validations=[
            {
                "expression": _may_manage(),
                "message": f"the namespace of a virtual cluster is opened by the platform only, {_WHO}",
            }
        ],
    )


def _syncers(component: str) -> list[dict]:
    """The syncer asks for none of this. It works beside a tenant's API server, though, for what comes from there."""
    return _render_platform.admission_policy(
        "tenantry-syncers",
        component,
        rules=[_render_platform.on("*", "*/*", scope="Namespaced")],
        matching=_in_virtual_clusters(),
        when=_SYNCER,
        validations=[
            {
                "expression": f"[object, oldObject].all(one, one == null || {_is_a_copy('one')})",
                "message": "a syncer changes what it made, and nothing else",
            },
            _of("services", _no_external_addresses(), "have no external IPs and no external names"),
            _of("pods", _no_host(), "use no namespaces, ports or volumes of the host"),
            _of("pods", _place(), "are placed by the scheduler, as what the virtual cluster's tier is", "CREATE"),
            _of("persistentvolumeclaims", _no_volume(), "name no volume and no source of the host's", "CREATE"),
            _of("secrets", f"object.type in {list(_SECRET_TYPES)}", f"are of the types {', '.join(_SECRET_TYPES)}"),
        ],
    )


def _may_manage() -> str:
    """A right on a resource that is none: administrators have it by their wildcard, others if it was granted."""
    group, resource, verb = _roles.MANAGE
    return f"authorizer.group('{group}').resource('{resource}').check('{verb}').allowed()"


def _system() -> str:
    groups = f"request.userInfo.groups.exists(group, group in {list(_SYSTEM_GROUPS)})"
    return f"{groups} || request.userInfo.username in {list(_SYSTEM_USERS)}"


def _only_notes() -> str:
    """
    Controllers of load balancers, volumes and of the host's own tenancy live in any namespace. They leave annotations
    and finalizers on Services, claims and namespaces, and tell their status.
    """
    ours = f"key.startsWith('{_names.LABEL_PREFIX}')"
    notes = "{0}.metadata.?annotations.orValue({{}})"
    same = [
        f"object.{field} == oldObject.{field}" for field in ("metadata.?labels", "metadata.?ownerReferences", "?spec")
    ]
    same += [
        f"{notes.format(one)}.all(key, !{ours} || {notes.format(other)}[?key] == {notes.format(one)}[?key])"
        for one, other in (("object", "oldObject"), ("oldObject", "object"))
    ]
    kinds = "request.resource.resource in ['namespaces', 'persistentvolumeclaims', 'services']"
    return " && ".join([kinds, "object != null", "oldObject != null", *same])


def _in_virtual_clusters() -> dict:
    labels = _names.labels("vcluster")
    return {"namespaceSelector": {"matchLabels": labels}}


def _is_a_copy(item: str) -> str:
    return f"{item}.metadata.?labels[?'{_names.LABEL_MANAGED_BY}'].orValue('') == '{_names.MANAGED_BY_SYNCER}'"


def _of(resource: str, expression: str, rule: str, operation: str = "") -> dict:
    """A rule for what a syncer makes of one resource."""
    elsewhere = f"request.resource.resource != '{resource}' || object == null"
    if operation:
        elsewhere += f" || request.operation != '{operation}' || request.?subResource.orValue('') != ''"
    return {"expression": f"{elsewhere} || ({expression})", "message": f"{resource} of a syncer {rule}"}


def _no_external_addresses() -> str:
    return (
        "object.spec.?externalIPs.orValue([]).size() == 0 && object.spec.?type.orValue('ClusterIP') != 'ExternalName'"
    )


def _no_host() -> str:
    namespaces = " && ".join(f"!object.spec.?{field}.orValue(false)" for field in ("hostIPC", "hostNetwork", "hostPID"))
    known = " || ".join(f"has(volume.{kind})" for kind in _VOLUMES)
    ports = " && ".join(
        f"object.spec.?{group}.orValue([]).all(one, one.?ports.orValue([]).all(port, port.?hostPort.orValue(0) == 0))"
        for group in ("initContainers", "containers")
    )
    return f"{namespaces} && object.spec.?volumes.orValue([]).all(volume, {known}) && {ports}"


def _place() -> str:
    tier = f"namespaceObject.metadata.?labels[?'{_names.LABEL_TIER}'].orValue('')"
    return (
        f"object.spec.?priorityClassName.orValue('') == 'tenantry-' + {tier} && "
        f"object.spec.?serviceAccountName.orValue('') == '{_render_syncer.PODS_ACCOUNT}' && "
        "!has(object.spec.runtimeClassName) && !has(object.spec.nodeName)"
    )


def _no_volume() -> str:
    return " && ".join(
        f"!has(object.spec.{field})" for field in ("dataSource", "dataSourceRef", "selector", "volumeName")
    )
