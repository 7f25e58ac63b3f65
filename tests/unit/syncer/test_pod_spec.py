"""What of a pod comes out on the host, field by field of Kubernetes 1.34."""

from __future__ import annotations

import pytest
from tenantry_syncer import names, pod_spec

from .objects import AROUND, CONFIG, PLATFORMS, container, pod, service

SAME = {
    "activeDeadlineSeconds": 30,
    "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["db"]}],
    "hostIPC": True,
    "hostNetwork": True,
    "hostPID": True,
    "hostUsers": False,
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "os": {"name": "linux"},
    "readinessGates": [{"conditionType": "example.com/ready"}],
    "resources": {"limits": {"cpu": "1"}},
    "restartPolicy": "Never",
    "securityContext": {"runAsUser": 0, "sysctls": [{"name": "kernel.msgmax", "value": "1"}]},
    "shareProcessNamespace": True,
    "terminationGracePeriodSeconds": 5,
}
DROPPED = {
    "hostnameOverride": "api.example.com",
    "nodeName": "node-1",
    "overhead": {"cpu": "0"},
    "preemptionPolicy": "PreemptLowerPriority",
    "priority": 2000001000,
    "resourceClaims": [{"name": "gpu", "resourceClaimName": "theirs"}],
    "runtimeClassName": "runc-privileged",
    "schedulerName": "mine",
    "schedulingGates": [{"name": "x"}],
    "serviceAccount": "syncer",
    "setHostnameAsFQDN": True,
    "subdomain": "peers",
    "workloadRef": {"name": "new in some release"},
}
REPLACED = {
    "serviceAccountName": ("syncer", "pods"),
    "automountServiceAccountToken": (True, False),
    "enableServiceLinks": (True, False),
    "priorityClassName": ("system-node-critical", "tenantry-dev"),
    "dnsPolicy": ("ClusterFirst", "None"),
    "hostname": ("db", "db"),
    "terminationGracePeriodSeconds": (7200, 3600),
}


def made(spec: dict | None = None, around: pod_spec.Surroundings = AROUND, **metadata: object) -> dict:
    return pod_spec.host_pod(pod(spec, **metadata), around)["spec"]


@pytest.mark.parametrize("field", SAME)
def test_passes_as_it_is(field):
    assert made({field: SAME[field]})[field] == SAME[field]


@pytest.mark.parametrize("field", DROPPED)
def test_stays_inside(field):
    assert field not in made({field: DROPPED[field]})


@pytest.mark.parametrize("field", REPLACED)
def test_is_set_by_the_platform(field):
    asked, set_to = REPLACED[field]
    assert made({field: asked})[field] == set_to


def test_a_pod_has_no_other_fields():
    everything = made({**SAME, **DROPPED, **{field: asked for field, (asked, _given) in REPLACED.items()}})
    others = {"containers", "tolerations", "volumes", "affinity"}
    assert set(everything) == {*SAME, *REPLACED, *others}


def test_metadata_is_ours_alone():
    crafted = pod(
        labels={"app": "web", "app.kubernetes.io/component": "server", "tenantry.dev/tenant": "bank"},
        annotations={"tenantry.dev/uid": "theirs", "cni.example.com/networks": "all", "big": "x" * 1_000_000},
        ownerReferences=[{"kind": "StatefulSet", "name": "server", "uid": "s"}],
        finalizers=["example.com/never"],
        generateName="web-",
    )
    metadata = pod_spec.host_pod(crafted, AROUND)["metadata"]
    assert set(metadata) == {"name", "labels", "annotations"}
    assert metadata["annotations"] == {names.NAMESPACE: "shop", names.NAME: "web-0", names.UID: "1-2-3"}
    foreign = {key for key in metadata["labels"] if not key.startswith(names.TENANT_LABELS)}
    assert foreign == {*CONFIG.labels, names.MANAGED_BY, names.COMPONENT, names.NAMESPACE_LABEL}
    assert metadata["labels"][names.COMPONENT] == "pod"
    assert metadata["labels"]["tenantry.dev/tenant"] == "payments"
    assert len(metadata["labels"]) == len(foreign) + 3


@pytest.mark.parametrize(
    ("toleration", "passes"),
    [
        ({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "tolerationSeconds": 3}, True),
        ({"key": "node.kubernetes.io/disk-pressure", "operator": "Exists"}, True),
        ({"operator": "Exists"}, False),
        ({"key": "", "operator": "Exists"}, False),
        ({"key": "node.kubernetes.io/unschedulable", "operator": "Exists"}, False),
        ({"key": "node.kubernetes.io/out-of-service", "operator": "Exists"}, False),
        ({"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}, False),
        ({"key": "team", "value": "research"}, False),
    ],
)
def test_tolerations(toleration, passes):
    assert made({"tolerations": [toleration]})["tolerations"] == ([toleration] if passes else [])


@pytest.mark.parametrize(
    "kind",
    [
        "Ready",
        "ContainersReady",
        "PodScheduled",
        "Initialized",
        "DisruptionTarget",
        "PodReadyToStartContainers",
        "PodResizePending",
        "PodResizeInProgress",
    ],
)
def test_conditions_of_kubernetes_are_no_gates(kind):
    assert "readinessGates" not in made({"readinessGates": [{"conditionType": kind}]})


@pytest.mark.parametrize(
    ("name", "hostname"),
    [
        ("web-0", "web-0"),
        ("a.b.c", "a-b-c"),
        ("n" * 253, "n" * 63),
        ("x" * 62 + ".y", "x" * 62),
        ("a" * 61 + ".-.b", "a" * 61),
    ],
)
def test_hostnames_are_labels(name, hostname):
    assert made(name=name)["hostname"] == hostname


VOLUMES = {
    "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"},
    "hostPath": {"path": "/"},
}
REFUSED = [
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"),
    *("gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume"),
    *("quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume", "somethingNew"),
]


@pytest.mark.parametrize("kind", VOLUMES)
def test_volumes_that_pass(kind):
    volume = {"name": "v", kind: VOLUMES[kind]}
    assert made({"volumes": [volume]})["volumes"] == [volume]


@pytest.mark.parametrize("kind", REFUSED)
def test_volumes_that_are_refused(kind):
    with pytest.raises(pod_spec.Refused, match=f"volume v: volumes of type {kind} are not offered"):
        made({"volumes": [{"name": "v", kind: {}}]})


@pytest.mark.parametrize("kind", ["clusterTrustBundle", "podCertificate", "somethingNew"])
def test_projections_that_are_refused(kind):
    with pytest.raises(pod_spec.Refused, match=kind):
        made({"volumes": [{"name": "v", "projected": {"sources": [{kind: {}}]}}]})


def test_a_volume_is_of_one_type():
    crafted = {"name": "v", "configMap": {"name": "a"}, "secret": {"secretName": "join-token"}}
    with pytest.raises(pod_spec.Refused):
        made({"volumes": [crafted]})


def everywhere(name: str) -> dict:
    """A spec with this name wherever an object of the namespace can be named."""
    environment = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": name, "key": "k"}}},
        {"name": "B", "valueFrom": {"configMapKeyRef": {"name": name, "key": "k"}}},
    ]
    guilty = container(env=environment, envFrom=[{"secretRef": {"name": name}}, {"configMapRef": {"name": name}}])
    sources = [
        {"secret": {"name": name}},
        {"secret": {"name": name, "secretName": name}},  # as only an API server of the tenant's own would give it
        {"configMap": {"name": name}},
        {"secret": {"name": name}, "configMap": {"name": name}},
    ]
    return {
        "initContainers": [guilty],
        "containers": [guilty],
        "imagePullSecrets": [{"name": name}, {}],
        "serviceAccountName": name,
        "serviceAccount": name,
        "volumes": [
            {"name": "a", "secret": {"secretName": name}},
            {"name": "b", "secret": {"secretName": name, "name": name}},
            {"name": "c", "configMap": {"name": name}},
            {"name": "d", "persistentVolumeClaim": {"claimName": name}},
            {"name": "e", "projected": {"sources": sources}},
            {"name": "f", "ephemeral": {"volumeClaimTemplate": {"spec": {"volumeName": name}}}},
        ],
    }


def named(value: object, key: str = "") -> list[str]:
    """All names of objects in it: values of keys that name something."""
    if isinstance(value, dict):
        return [one for inner, it in value.items() for one in named(it, inner)]
    if isinstance(value, list):
        return [one for it in value for one in named(it, key)]
    return [value] if key in ("secretName", "claimName") or (key == "name" and isinstance(value, str)) else []


@pytest.mark.parametrize("name", PLATFORMS)
def test_no_name_of_a_tenant_is_a_name_on_the_host(name):
    asked = pod(everywhere(name))
    found = made(everywhere(name))
    assert name in named(asked["spec"])
    assert name not in named(found)
    assert names.host_name("shop", name) in named(found)
    assert found["serviceAccountName"] == "pods"
    ephemeral = pod_spec.container({**container(), **asked["spec"]["containers"][0]}, asked, AROUND)
    assert name not in named(ephemeral)


def test_the_claim_of_an_ephemeral_volume_is_that_of_its_pod():
    volume = made({"volumes": [{"name": "data", "ephemeral": {}}]})["volumes"][0]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": names.host_name("shop", "web-0-data")}}


def test_tokens_come_from_the_secret_of_this_pod():
    source = {"serviceAccountToken": {"path": "token", "audience": "https://kubernetes.default.svc"}}
    volume = made({"volumes": [{"name": "t", "projected": {"sources": [source], "defaultMode": 420}}]})["volumes"][0]
    secret = {"name": pod_spec.token_secret("shop", "web-0"), "items": [{"key": "t.0", "path": "token"}]}
    assert volume == {"name": "t", "projected": {"sources": [{"secret": secret}], "defaultMode": 420}}


def test_the_pod_inside_is_left_as_it_is():
    asked, untouched = pod(everywhere("x")), pod(everywhere("x"))
    pod_spec.host_pod(asked, AROUND)
    assert asked == untouched


def test_a_pod_on_a_node_of_its_choice_is_scheduled_there_by_the_host():
    other = {"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}]}
    for affinity in ({}, {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": other}}):
        spec = made({"nodeName": "a", "affinity": affinity})
        required = spec["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        wanted = [{"key": "metadata.name", "operator": "In", "values": ["a"]}]
        assert [one["matchFields"] for one in required["nodeSelectorTerms"]] == [wanted]
        assert "nodeName" not in spec


@pytest.mark.parametrize(
    ("term", "spaces"),
    [
        ({}, ["shop"]),
        ({"namespaces": ["bank", "elsewhere"]}, ["bank", "elsewhere"]),
        ({"namespaceSelector": {}}, ["bank", "shop"]),
        ({"namespaceSelector": {"matchLabels": {"team": "b"}}}, ["bank"]),
        ({"namespaceSelector": {"matchLabels": {"team": "none"}}}, None),
    ],
)
@pytest.mark.parametrize("kind", ["podAffinity", "podAntiAffinity"])
def test_affinity_is_about_pods_of_this_virtual_cluster(kind, term, spaces):
    whole = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "web"}}, **term}
    affinity = {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [whole]}}
    found = made({"affinity": affinity})["affinity"][kind]["requiredDuringSchedulingIgnoredDuringExecution"][0]
    assert set(found) == {"topologyKey", "labelSelector"}
    assert found["labelSelector"]["matchLabels"] == {"x.tenantry.dev/app": "web"}
    (among,) = found["labelSelector"]["matchExpressions"]
    values = ["-"] if spaces is None else sorted(map(names.digest, spaces))
    assert among == {"key": names.NAMESPACE_LABEL, "operator": "In", "values": values}


def test_spreading_counts_pods_of_this_namespace_alone():
    constraint = {"maxSkew": 1, "topologyKey": "zone", "labelSelector": {}, "matchLabelKeys": ["pod-template-hash"]}
    (found,) = made({"topologySpreadConstraints": [constraint]})["topologySpreadConstraints"]
    assert found["labelSelector"] == {"matchLabels": {names.NAMESPACE_LABEL: names.digest("shop")}}
    assert found["matchLabelKeys"] == ["x.tenantry.dev/pod-template-hash"]


def test_names_are_asked_of_the_dns_inside():
    assert made()["dnsConfig"] == {
        "nameservers": ["10.43.7.53"],
        "searches": ["shop.svc.cluster.local", "svc.cluster.local", "cluster.local"],
        "options": [{"name": "ndots", "value": "5"}],
    }
    own = {"nameservers": ["1.1.1.1", "1.1.1.2", "1.1.1.3"], "searches": [f"s{one}" for one in range(40)]}
    merged = made({"dnsConfig": {**own, "options": [{"name": "ndots", "value": "1"}]}})["dnsConfig"]
    assert merged["nameservers"] == ["10.43.7.53", "1.1.1.1", "1.1.1.2"]
    assert len(merged["searches"]) == 32
    assert merged["options"] == [{"name": "ndots", "value": "1"}]
    assert made({"dnsPolicy": "None", "dnsConfig": own})["dnsConfig"] == own
    assert made({"dnsPolicy": "Default"})["dnsPolicy"] == "Default"


def test_services_are_told_as_the_kubelet_tells_them():
    ports = [{"name": "http-web", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    services = [service({"clusterIP": "10.43.0.9", "ports": ports}, "my-web"), service({"clusterIP": "None"}, "none")]
    around = pod_spec.Surroundings(CONFIG, services)
    found = pod_spec.service_variables(around, links=True)
    assert found == {
        **pod_spec.service_variables(around, links=False),
        "MY_WEB_SERVICE_HOST": "10.43.0.9",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP_WEB": "80",
        "MY_WEB_PORT": "tcp://10.43.0.9:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.43.0.9:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.43.0.9",
        "MY_WEB_PORT_53_UDP": "udp://10.43.0.9:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.43.0.9",
    }
    assert pod_spec.service_variables(around, links=False)["KUBERNETES_SERVICE_HOST"] == "10.43.7.1"
