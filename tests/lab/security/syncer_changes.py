"""What a syncer creates and changes, and all that it must not: fields of its copies, and others' objects."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

from .hosted import COPY, DENIED, HERE, NETWORKING, OURS, SPACE, Change, labelled, made, merged

HASH = "0123456789abcdef"
SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{SPACE}/endpointslices"
PATHS = {
    "ConfigMap": f"{HERE}/configmaps",
    "EndpointSlice": SLICES,
    "Ingress": f"{NETWORKING}/namespaces/{SPACE}/ingresses",
    "PersistentVolumeClaim": f"{HERE}/persistentvolumeclaims",
    "Pod": f"{HERE}/pods",
    "Secret": f"{HERE}/secrets",
    "Service": f"{HERE}/services",
}
APIS = {"EndpointSlice": "discovery.k8s.io/v1", "Ingress": "networking.k8s.io/v1"}
POD, SERVICE, CLAIM, SLICE, INGRESS, SECRET = (
    "Pod",
    "Service",
    "PersistentVolumeClaim",
    "EndpointSlice",
    "Ingress",
    "Secret",
)


def hashed(name: str) -> str:
    return f"{name}-{HASH}"


BACKEND = {"service": {"name": hashed("web"), "port": {"number": 80}}}
CONTAINER = {"name": "web", "image": "web"}
OF_WEB = {**COPY, "kubernetes.io/service-name": hashed("web")}


def way(host: str | None = "a.dev.example.com", **path: Any) -> list[dict]:
    given = {"path": "/", "pathType": "Prefix", "backend": BACKEND, **path}
    return [{**({"host": host} if host else {}), "http": {"paths": [given]}}]


# One of each kind, as the syncer makes it.
COPIES: dict[str, dict] = {
    "ConfigMap": {},
    SLICE: {"addressType": "IPv4", "endpoints": [], "ports": []},
    INGRESS: {"spec": {"ingressClassName": "web", "rules": way(), "tls": [{"hosts": ["dev.example.org"]}]}},
    CLAIM: {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
            "storageClassName": "fast",
        }
    },
    POD: {
        "spec": {
            "serviceAccountName": "pods",
            "automountServiceAccountToken": False,
            "priorityClassName": "tenantry-dev",
            "containers": [CONTAINER],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists"}],
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "x"}}],
        }
    },
    SECRET: {"type": "Opaque"},
    SERVICE: {"spec": {"ports": [{"port": 80}], "selector": {"tenantry.dev/virtual-namespace": "x"}}},
}


def copy_of(kind: str, name: str = "there") -> dict:
    labels = OF_WEB if kind == SLICE else COPY
    metadata = {
        "name": hashed(name),
        "namespace": SPACE,
        "labels": dict(labels),
        "annotations": {"tenantry.dev/name": "a"},
    }
    return {"apiVersion": APIS.get(kind, "v1"), "kind": kind, "metadata": metadata, **copy.deepcopy(COPIES[kind])}


class Field(NamedTuple):
    """A change of a copy that the policy refuses, as a merge patch, and the words by which it does."""

    kind: str
    patch: dict
    words: str


def spec(kind: str, words: str, **fields: Any) -> Field:
    return Field(kind, {"spec": fields}, words)


def noted(kind: str, **annotations: str) -> Field:
    return Field(kind, {"metadata": {"annotations": annotations}}, UNBOUND)


OTHERS, UNBOUND, NO_HOST = "a syncer can only change and connect", "not have owners, finalizers or annot", "of the host"
PLACED, PROBED, BESIDE, TOLERATE = (
    "placed by the scheduler",
    "at their own address",
    "affinity to the tenant",
    "tolerate only conditions",
)
NO_VOLUME, CLASSES, WAYS, LEADS, SELECTS = (
    "not name a volume",
    "offered storage class",
    "offered in each rule",
    "plain paths",
    "select the tenant",
)
NO_ADDRESS, SERVES, TYPES = "not have external IPs", "belong to the tenant's Services", "must be of type"
ELSEWHERE = {"httpGet": {"host": "192.0.2.1", "port": 1}}
TERM = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {}}
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def container(**fields: Any) -> Field:
    return spec(
        POD,
        PROBED if "Probe" in str(fields) or "lifecycle" in fields else NO_HOST,
        containers=[{**CONTAINER, **fields}],
    )


def volume(**source: Any) -> Field:
    return spec(POD, NO_HOST, volumes=[{"name": "a", **source}])


FIELDS = {
    "label away": Field("ConfigMap", {"metadata": {"labels": {"app.kubernetes.io/managed-by": None}}}, OTHERS),
    "label of the platform": Field("ConfigMap", {"metadata": {"labels": OURS}}, DENIED),
    "owner": Field(
        SERVICE,
        {"metadata": {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x", "uid": "x"}]}},
        UNBOUND,
    ),
    "finalizer": Field("ConfigMap", {"metadata": {"finalizers": ["example.com/never"]}}, UNBOUND),
    "host's network": spec(POD, NO_HOST, hostNetwork=True),
    "host's processes": spec(POD, NO_HOST, hostPID=True),
    "host's IPC": spec(POD, NO_HOST, hostIPC=True),
    "host port": container(ports=[{"containerPort": 1, "hostPort": 1}]),
    "host port of an init container": spec(
        POD, NO_HOST, initContainers=[{"name": "i", "image": "i", "ports": [{"containerPort": 1, "hostPort": 1}]}]
    ),
    "hostPath": volume(hostPath={"path": "/"}),
    "nfs": volume(nfs={"server": "192.0.2.1", "path": "/"}),
    "csi": volume(csi={"driver": "example.com"}),
    "a volume of its own": volume(ephemeral={"volumeClaimTemplate": {"spec": copy_of(CLAIM)["spec"]}}),
    "a token of the host": volume(projected={"sources": [{"serviceAccountToken": {"path": "a"}}]}),
    "the server's volume": volume(persistentVolumeClaim={"claimName": "data-server-0"}),
    "liveness": container(livenessProbe=ELSEWHERE),
    "readiness": container(readinessProbe={"tcpSocket": {"host": "192.0.2.1", "port": 1}}),
    "startup": container(startupProbe=ELSEWHERE),
    "post-start": container(lifecycle={"postStart": ELSEWHERE}),
    "pre-stop": container(lifecycle={"preStop": ELSEWHERE}),
    "priority of the system": spec(POD, PLACED, priorityClassName="system-node-critical"),
    "priority of the other tier": spec(POD, PLACED, priorityClassName="tenantry-prod"),
    "priority of the server": spec(POD, PLACED, priorityClassName="tenantry-dev-server"),
    "no priority class": spec(POD, PLACED, priorityClassName=None),
    "another account": spec(POD, PLACED, serviceAccountName="syncer"),
    "a node by name": spec(POD, PLACED, nodeName="hub"),
    "a runtime class": spec(POD, PLACED, runtimeClassName="other"),
    "devices": spec(POD, PLACED, resourceClaims=[{"name": "a", "resourceClaimName": "b"}]),
    "a scheduler": spec(POD, PLACED, schedulerName="mine"),
    "no end": spec(POD, PLACED, terminationGracePeriodSeconds=86400),
    "tolerates all": spec(POD, TOLERATE, tolerations=[*COPIES[POD]["spec"]["tolerations"], {"operator": "Exists"}]),
    "tolerates control planes": spec(
        POD,
        TOLERATE,
        tolerations=[
            *COPIES[POD]["spec"]["tolerations"],
            {"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"},
        ],
    ),
    "keeps others away": spec(
        POD, BESIDE, affinity={"podAntiAffinity": {REQUIRED: [{**TERM, "namespaceSelector": {}}]}}
    ),
    "near to others": spec(POD, BESIDE, affinity={"podAffinity": {REQUIRED: [{**TERM, "namespaces": ["default"]}]}}),
    "rather near to others": spec(
        POD,
        BESIDE,
        affinity={"podAffinity": {PREFERRED: [{"weight": 1, "podAffinityTerm": {**TERM, "namespaces": ["default"]}}]}},
    ),
    "another network": noted(POD, **{"k8s.v1.cni.cncf.io/networks": "host"}),
    "external IPs": spec(SERVICE, NO_ADDRESS, externalIPs=["192.0.2.1"]),
    "an external name": spec(SERVICE, NO_ADDRESS, type="ExternalName", externalName="example.com"),
    "a balancer's address": spec(SERVICE, NO_ADDRESS, type="LoadBalancer", loadBalancerIP="192.0.2.1"),
    "a balancer's class": spec(SERVICE, NO_ADDRESS, type="LoadBalancer", loadBalancerClass="example.com/a"),
    "the server's pods": spec(SERVICE, SELECTS, selector={"app": "server", "tenantry.dev/virtual-namespace": None}),
    "a balancer's settings": noted(SERVICE, **{"metallb.io/loadBalancerIPs": "192.0.2.1"}),
    "a volume": spec(CLAIM, NO_VOLUME, volumeName="pv-1"),
    "a volume by label": spec(CLAIM, NO_VOLUME, selector={"matchLabels": {"a": "b"}}),
    "a source": spec(CLAIM, NO_VOLUME, dataSource={"kind": "PersistentVolumeClaim", "name": "data-server-0"}),
    "a source by reference": spec(
        CLAIM, NO_VOLUME, dataSourceRef={"kind": "PersistentVolumeClaim", "name": "data-server-0"}
    ),
    "attributes": spec(CLAIM, NO_VOLUME, volumeAttributesClassName="a"),
    "volumes that lie ready": spec(CLAIM, CLASSES, storageClassName=""),
    "a class not offered": spec(CLAIM, CLASSES, storageClassName="other"),
    "a class as once": noted(CLAIM, **{"volume.beta.kubernetes.io/storage-class": ""}),
    "the API's slices": Field(SLICE, labelled(**{"kubernetes.io/service-name": "api"}), SERVES),
    "the DNS's slices": Field(SLICE, labelled(**{"kubernetes.io/service-name": "dns"}), SERVES),
    "etcd's slices": Field(SLICE, labelled(**{"kubernetes.io/service-name": "etcd"}), SERVES),
    "nobody's slices": Field(SLICE, labelled(**{"kubernetes.io/service-name": None}), SERVES),
    "a class of ingresses": spec(INGRESS, WAYS, ingressClassName="other"),
    "no class of ingresses": spec(INGRESS, WAYS, ingressClassName=None),
    "a host of others": spec(INGRESS, WAYS, rules=way("shop.example.com")),
    "a host like an offered one": spec(INGRESS, WAYS, rules=way("evil-dev.example.com")),
    "the domain of the hosts": spec(INGRESS, WAYS, rules=way("dev.example.com")),
    "all hosts": spec(INGRESS, WAYS, rules=way(None)),
    "all hosts of a domain": spec(INGRESS, WAYS, rules=way("*.dev.example.com")),
    "a certificate of others": spec(INGRESS, WAYS, tls=[{"hosts": ["shop.example.com"]}]),
    "all requests": spec(INGRESS, WAYS, defaultBackend=BACKEND),
    "the API's service": spec(
        INGRESS, LEADS, rules=way(backend={"service": {"name": "api", "port": {"number": 6443}}})
    ),
    "a resource": spec(
        INGRESS, LEADS, rules=way(backend={"resource": {"apiGroup": "a.b", "kind": "Bucket", "name": "a"}})
    ),
    "more than a path": spec(INGRESS, LEADS, rules=way(path="/`) || Host(`shop.other.example.com")),
    "a proxy's settings": noted(INGRESS, **{"nginx.ingress.kubernetes.io/server-snippet": "return 200;"}),
    "a token that never ends": Field(
        SECRET,
        {
            "type": "kubernetes.io/service-account-token",
            "metadata": {"annotations": {"kubernetes.io/service-account.name": "syncer"}},
        },
        DENIED,
    ),
}

# Not by a field of a copy.
OTHER = {
    "the join token": (merged(f"{HERE}/secrets/join-token", {"data": {"server-token": "eA=="}}), DENIED),
    "a secret of somebody": (merged(f"{HERE}/secrets/others", {"data": {"a": "eA=="}}), OTHERS),
    "the host's authority": (merged(f"{HERE}/configmaps/kube-root-ca.crt", {"data": {"ca.crt": "mine"}}), OTHERS),
    "the API's service gone": (Change("DELETE", f"{HERE}/services/api"), DENIED),
    "the API's service led elsewhere": (merged(f"{HERE}/services/api", {"spec": {"selector": {"a": "b"}}}), DENIED),
    "an ephemeral container at the server": (
        merged(
            f"{HERE}/pods/server-0/ephemeralcontainers",
            {"spec": {"ephemeralContainers": [{"name": "e", "image": "e"}]}},
        ),
        DENIED,
    ),
    "the server's size": (
        merged(f"{HERE}/pods/server-0/resize", {"spec": {"containers": [{"name": "web"}]}}),
        DENIED,
    ),
    "a forged address": (
        merged(
            f"{HERE}/pods/{hashed('there')}/status", {"status": {"podIP": "192.0.2.1", "podIPs": [{"ip": "192.0.2.1"}]}}
        ),
        "the status that their node reports",
    ),
    "the server's address": (merged(f"{HERE}/pods/server-0/status", {"status": {"podIP": "192.0.2.1"}}), DENIED),
    "a service's status": (
        merged(
            f"{HERE}/services/{hashed('there')}/status",
            {
                "status": {
                    "conditions": [
                        {
                            "type": "Up",
                            "status": "True",
                            "reason": "Up",
                            "message": "",
                            "lastTransitionTime": "2026-01-01T00:00:00Z",
                        }
                    ]
                }
            },
        ),
        "the kinds that its Role names",
    ),
    "a name of the platform's": (made("Secret", f"{HERE}/secrets", labels=COPY), "named by a hash"),
    "a token of its own": (
        Change(
            "POST",
            f"{HERE}/serviceaccounts/syncer/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}},
        ),
        DENIED,
    ),
    "a quota": (made("ResourceQuota", f"{HERE}/resourcequotas", labels=COPY), "the kinds that its Role names"),
    "a binding": (
        Change(
            "POST",
            f"{HERE}/pods/{hashed('there')}/binding",
            {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": hashed("there"), "labels": COPY},
                "target": {"kind": "Node", "name": "hub"},
            },
        ),
        "the kinds that its Role names",
    ),
}

# What it does all the time.
MAY = {
    **{f"{kind} made": Change("POST", PATHS[kind], copy_of(kind, "new")) for kind in COPIES},
    **{
        f"{kind} changed": merged(
            f"{PATHS[kind]}/{hashed('there')}", {"metadata": {"labels": {"x.tenantry.dev/a": "b"}}}
        )
        for kind in COPIES
    },
    **{f"{kind} gone": Change("DELETE", f"{PATHS[kind]}/{hashed('there')}") for kind in COPIES},
    "a pod's gate": merged(
        f"{HERE}/pods/{hashed('there')}/status",
        {"status": {"conditions": [{"type": "example.com/up", "status": "True"}]}},
    ),
    "an ephemeral container": merged(
        f"{HERE}/pods/{hashed('there')}/ephemeralcontainers",
        {"spec": {"ephemeralContainers": [{"name": "e", "image": "e"}]}},
    ),
    "a token's secret": Change(
        "POST", PATHS[SECRET], {**copy_of(SECRET), "metadata": {"name": hashed("a") + "-tokens", "labels": COPY}}
    ),
    **{
        f"variables of services ({variant})": Change(
            "POST",
            PATHS["ConfigMap"],
            {**copy_of("ConfigMap"), "metadata": {"name": hashed(f"{variant}-links"), "labels": COPY}},
        )
        for variant in ("services", "api")
    },
    "a claim grown": merged(
        f"{PATHS[CLAIM]}/{hashed('there')}", {"spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    ),
    "the default class": Change(
        "POST", PATHS[CLAIM], {**copy_of(CLAIM, "new"), "spec": {**COPIES[CLAIM]["spec"], "storageClassName": "slow"}}
    ),
}
