# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The admission policy for syncers, which a tenant might have taken over. Pure.

The rules hold for every operation. What the host has set after the creation of an object (a node, a volume) may stay
unchanged.
"""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import (
    NAMESPACE_LABEL,
    SERVER,
    SYNCER,
    pods_priority,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform import host_offers, manifests, rbac
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import PODS_ACCOUNT

# Stock roles of Kubernetes let people impersonate the ServiceAccounts of a namespace, which gives them no pod.
_POD_NAME = "authentication.kubernetes.io/pod-name"
_IS_ACCOUNT = f"request.userInfo.username == 'system:serviceaccount:' + request.namespace + ':{rbac.SYNCER_ROLE}'"
_PODS_OF_SYNCERS = f"^{SYNCER}-[0-9]+$"
_SERVERS = f"^{SERVER}-[0-9]+$"
IS_SYNCER = (
    f"({_IS_ACCOUNT} && request.userInfo.?extra[?'{_POD_NAME}'].orValue([])"
    f".exists(pod, pod.matches('{_PODS_OF_SYNCERS}')))"
)

# As the syncer names what it creates (syncer/tenantry_syncer/naming.py). Nothing of the platform is called so.
_HASHED = "-[0-9a-f]{16}(-tokens)?$"
# Volume types for tenants' pods. The node would mount others, from its own network.
_VOLUMES = ("configMap", "downwardAPI", "emptyDir", "image", "persistentVolumeClaim", "projected", "secret")
# These fields refer to objects of the host; an eviction of a pod waits for its responders.
_NOT_OF_TENANTS = ("runtimeClassName", "resourceClaims", "schedulingGroup", "evictionResponders")
# Not serviceAccountToken: the host's API server knows the account of these pods.
_PROJECTED = ("configMap", "downwardAPI", "secret")
# Controllers of the host act on other types; one of them creates tokens that never expire.
_SECRET_TYPES = ("Opaque", "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg", "kubernetes.io/tls")
TOLERATIONS = tuple(
    f"node.kubernetes.io/{state}"
    for state in ("not-ready", "unreachable", "memory-pressure", "disk-pressure", "pid-pressure", "network-unavailable")
)
LONGEST_GRACE = 3600
_SCHEDULER = "default-scheduler"
# To controllers of the host, annotations are configuration: of a volume's class, a load balancer, a whole proxy.
_ANNOTATIONS = ("tenantry.dev/", "downward.tenantry.dev/")
# On pods the host's own admission plug-ins and webhooks leave some in the same request, so that these are excluded
# instead: networks and addresses of network plugins, devices and settings of runtimes.
_FOREIGN_ON_PODS = (
    "cni.cilium.io/",
    "cni.projectcalico.org/",
    "io.katacontainers.",
    "io.kubernetes.cri-o.",
    "k8s.ovn.org/",
    "k8s.v1.cni.cncf.io/",
    "ovn.kubernetes.io/",
    "v1.multus-cni.io/",
)
_FINALIZERS = ("kubernetes.io/pvc-protection",)
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle.?postStart", "lifecycle.?preStop")
# All of a pod's status but its conditions, among which readiness gates are the syncer's to tell. Who says where a pod
# is, says where a Service leads.
_STATUS = (
    "containerStatuses",
    "ephemeralContainerStatuses",
    "hostIP",
    "hostIPs",
    "initContainerStatuses",
    "nominatedNodeName",
    "phase",
    "podIP",
    "podIPs",
    "qosClass",
    "startTime",
)
# Other characters could add configuration to a proxy.
_PATH = "^/[A-Za-z0-9._~!&*+,=:@%/-]*$"


# Long: an entry for each rule.
def policy(component: str) -> list[dict]:
    """Render the policy. An intact syncer needs none of it, but it processes input of a tenant's API server."""
    operations = ("CREATE", "UPDATE", "DELETE", "CONNECT")
    return manifests.admission_policy(
        "tenantry-syncers",
        component,
        rules=[manifests.on("*", "*/*", scope="Namespaced", operations=operations)],
        matching=in_virtual_clusters(),
        when=_IS_ACCOUNT,
        validations=[
            {
                "expression": f"request.operation == 'CONNECT' ? {_enters()} : "
                f"[object, oldObject].all(one, one == null || {_is_a_copy('one')})",
                "message": "a syncer can only change and connect to objects that it created",
            },
            {
                "expression": f"({_what()}) in {_writable()}",
                "message": "a syncer can only write the kinds that its Role names",
            },
            _of("", _is_named(), "must be named by a hash"),
            _of("", _is_unbound(), "must not have owners, finalizers or annotations for controllers of the host"),
            _of("services", _no_external_addresses(), "must not have external IPs or external names"),
            _of("services", _selects_pods(), "must select the tenant's pods"),
            _of("endpointslices", _serves_own(), "must belong to the tenant's Services"),
            _of("pods", _no_host(), "must not use namespaces, ports or volumes of the host"),
            _of("pods", _probes_itself(), "must be probed at their own address"),
            _of(
                "pods",
                _place(),
                "must be placed by the scheduler, with the virtual cluster's account and priority class",
            ),
            _of("pods", _beside_own(), "must have affinity to the tenant's pods only"),
            _of("pods", _tolerates(), "must tolerate only conditions of nodes and taints of offered resources"),
            _of("pods", _has_reported_status(), "must have the status that their node reports"),
            _of("persistentvolumeclaims", _no_volume(), "must not name a volume or source of the host"),
            _of("persistentvolumeclaims", _offered_class(), "must have an offered storage class"),
            _of("ingresses", _offered_ways(), "must have an offered class, and a host that is offered in each rule"),
            _of("ingresses", _leads_to_own(), "must route plain paths to the tenant's Services"),
            _of("secrets", f"object.type in {list(_SECRET_TYPES)}", f"must be of type {' or '.join(_SECRET_TYPES)}"),
        ],
    )


def _enters() -> str:
    """
    Allow connections to the tenant's pods, and a port-forward to a server, to read the CA of the virtual API server.
    """
    server = f"request.?subResource.orValue('') == 'portforward' && request.name.matches('{_SERVERS}')"
    return f"(request.name.matches('{_HASHED}') || {server})"


def in_virtual_clusters() -> dict:
    """Return the match constraints for the namespaces of virtual clusters."""
    labels = naming.labels("vcluster")
    return {"namespaceSelector": {"matchLabels": labels}}


def _of(resource: str, expression: str, rule: str) -> dict:
    """Render a rule for a syncer's objects of one resource, or of all."""
    elsewhere = "object == null || request.operation == 'CONNECT'"
    if resource:
        elsewhere = f"request.resource.resource != '{resource}' || {elsewhere}"
    return {"expression": f"{elsewhere} || ({expression})", "message": f"{resource or 'objects'} of a syncer {rule}"}


def _is_a_copy(item: str) -> str:
    return f"{item}.metadata.?labels[?'{naming.LABEL_MANAGED_BY}'].orValue('') == '{naming.MANAGED_BY_SYNCER}'"


def _what() -> str:
    subresource = "request.?subResource.orValue('')"
    return f"request.resource.resource + ({subresource} == '' ? '' : '/' + {subresource})"


def _writable() -> list[str]:
    return sorted({name for rule in rbac.SYNCER if not {*rule["verbs"]} <= {*rbac.READ} for name in rule["resources"]})


def _is_named() -> str:
    return f"request.operation != 'CREATE' || object.metadata.name.matches('{_HASHED}')"


def _is_unbound() -> str:
    """Deny adding these. Those that controllers of the host added may stay or go."""
    own = " || ".join(f"key.startsWith('{prefix}')" for prefix in _ANNOTATIONS)
    foreign = " || ".join(f"key.startsWith('{prefix}')" for prefix in _FOREIGN_ON_PODS)
    on_pods = f"(request.resource.resource == 'pods' && !({foreign}))"
    values = "object.metadata.?annotations.orValue({})"
    kept = "oldObject != null && oldObject.metadata.?annotations[?key] == object.metadata.?annotations[?key]"
    added = [f"{values}.all(key, {own} || {on_pods} || ({kept}))"]
    for field, known in (("ownerReferences", "false"), ("finalizers", f"one in {list(_FINALIZERS)}")):
        before = f"oldObject.metadata.?{field}.orValue([])"
        added.append(
            f"object.metadata.?{field}.orValue([]).all(one, {known} || (oldObject != null && one in {before}))"
        )
    return " && ".join(added)


def _no_external_addresses() -> str:
    fields = " && ".join(_unchanged(f"spec.?{field}") for field in ("loadBalancerIP", "loadBalancerClass"))
    return (
        "object.spec.?externalIPs.orValue([]).size() == 0 && "
        f"object.spec.?type.orValue('ClusterIP') != 'ExternalName' && {fields}"
    )


def _selects_pods() -> str:
    """Every selector of a syncer has the label of a virtual namespace, which no pod of the platform has."""
    return f"object.spec.?selector.orValue({{}}).size() == 0 || '{NAMESPACE_LABEL}' in object.spec.selector"


def _serves_own() -> str:
    return f"object.metadata.?labels[?'kubernetes.io/service-name'].orValue('').matches('{_HASHED}')"


def _no_host() -> str:
    namespaces = [f"!object.spec.?{field}.orValue(false)" for field in ("hostIPC", "hostNetwork", "hostPID")]
    known = " || ".join(f"has(volume.{kind})" for kind in _VOLUMES)
    projected = " || ".join(f"has(source.{kind})" for kind in _PROJECTED)
    volumes = (
        f"object.spec.?volumes.orValue([]).all(volume, ({known}) && "
        f"volume.?projected.?sources.orValue([]).all(source, {projected}) && "
        f"(!has(volume.persistentVolumeClaim) || volume.persistentVolumeClaim.claimName.matches('{_HASHED}')))"
    )
    ports = _containers("one.?ports.orValue([]).all(port, port.?hostPort.orValue(0) == 0)")
    return " && ".join([*namespaces, volumes, ports])


def _probes_itself() -> str:
    """A node would probe other addresses from its own network. Pod Security checks it only since Kubernetes 1.34."""
    return _containers(
        " && ".join(
            f"one.?{probe}.?{way}.?host.orValue('') == ''" for probe in _PROBES for way in ("httpGet", "tcpSocket")
        )
    )


def _containers(rule: str) -> str:
    groups = ("initContainers", "containers", "ephemeralContainers")
    return " && ".join(f"object.spec.?{group}.orValue([]).all(one, {rule})" for group in groups)


def _place() -> str:
    """When the tier of a virtual cluster changes, existing pods keep their priority."""
    tier = f"namespaceObject.metadata.?labels[?'{naming.LABEL_TIER}'].orValue('')"
    priority = "object.spec.?priorityClassName.orValue('')"
    none = " && ".join(f"!has(object.spec.{field})" for field in _NOT_OF_TENANTS)
    return (
        f"({priority} == '{pods_priority('')}' + {tier} || (request.operation == 'UPDATE' && "
        f"{priority} == oldObject.spec.?priorityClassName.orValue(''))) && "
        f"object.spec.?serviceAccountName.orValue('') == '{PODS_ACCOUNT}' && "
        f"{none} && "
        f"object.spec.?schedulerName.orValue('{_SCHEDULER}') == '{_SCHEDULER}' && "
        f"object.spec.?terminationGracePeriodSeconds.orValue(0) <= {LONGEST_GRACE} && {_unchanged('spec.?nodeName')}"
    )


def _beside_own() -> str:
    """A pod with anti-affinity to all pods of all namespaces would keep others off its node."""
    own = "!has(term.namespaces) && !has(term.namespaceSelector)"
    found = []
    for kind in ("podAffinity", "podAntiAffinity"):
        terms = f"object.spec.?affinity.?{kind}.?{{}}DuringSchedulingIgnoredDuringExecution.orValue([])"
        found.append(f"{terms.format('required')}.all(term, {own})")
        found.append(f"{terms.format('preferred')}.map(one, one.podAffinityTerm).all(term, {own})")
    return " && ".join(found)


def _tolerates() -> str:
    offered = f"{_offer(host_offers.EXTENDED)}.orValue('-').split(',')"
    key = "one.?key.orValue('')"
    return f"object.spec.?tolerations.orValue([]).all(one, {key} in {list(TOLERATIONS)} || {key} in {offered})"


def _has_reported_status() -> str:
    same = " && ".join(f"object.?status.?{field} == oldObject.?status.?{field}" for field in _STATUS)
    return f"oldObject == null || ({same})"


def _no_volume() -> str:
    fields = ("dataSource", "dataSourceRef", "selector", "volumeName", "volumeAttributesClassName", "storageClassName")
    *absent, storage_class = (_unchanged(f"spec.?{field}") for field in fields)
    return " && ".join([*absent, f"(request.operation == 'CREATE' || {storage_class})"])


def _offered_class() -> str:
    """The empty class selects pre-provisioned volumes of the host."""
    offered = _offer(host_offers.STORAGE_CLASSES)
    return (
        "request.operation != 'CREATE' || (object.spec.?storageClassName.orValue('-') != '' && "
        f"(!{offered}.hasValue() || object.spec.?storageClassName.orValue('-') in {offered}.orValue('').split(',')))"
    )


def _offered_ways() -> str:
    hosts = f"{_offer(host_offers.INGRESS_HOSTS)}.orValue('').split(',')"
    classes = f"{_offer(host_offers.INGRESS_CLASSES)}.orValue('').split(',')"
    is_offered = (
        f"{{0}} != '' && {hosts}.exists(name, name == '*' || name == {{0}} || "
        "(name.startsWith('*.') && {0}.endsWith(name.substring(1))))"
    )
    host = "rule.?host.orValue('')"
    return (
        f"object.spec.?ingressClassName.orValue('') != '' && object.spec.ingressClassName in {classes} && "
        "!has(object.spec.defaultBackend) && "
        f"object.spec.?rules.orValue([]).all(rule, !{host}.contains('*') && {is_offered.format(host)}) && "
        f"object.spec.?tls.orValue([]).all(tls, tls.?hosts.orValue([]).all(host, {is_offered.format('host')}))"
    )


def _leads_to_own() -> str:
    service = "path.backend.?service.?name.orValue('')"
    return (
        "object.spec.?rules.orValue([]).all(rule, rule.?http.?paths.orValue([]).all(path, "
        f"{service}.matches('{_HASHED}') && !has(path.backend.resource) && "
        f"path.?path.orValue('/').matches('{_PATH}')))"
    )


def _offer(annotation: str) -> str:
    return f"namespaceObject.metadata.?annotations[?'{annotation}']"


def _unchanged(field: str) -> str:
    """Absent, or as before: then the host has set it."""
    return f"(!object.{field}.hasValue() || (oldObject != null && object.{field} == oldObject.{field}))"
