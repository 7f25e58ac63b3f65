from __future__ import annotations

import pytest
from tenantry_syncer import naming
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import rejection, service_variables

from ..objects import CONFIG, POD_CONTEXT, container, pod

PASSED = {
    "args": ["x"],
    "command": ["x"],
    "image": "web:2",
    "imagePullPolicy": "Always",
    "lifecycle": {"preStop": {"exec": {"command": ["x"]}}, "stopSignal": "SIGUSR1"},
    "livenessProbe": {"httpGet": {"port": 80, "httpHeaders": [{"name": "Host", "value": "example.com"}]}},
    "ports": [{"containerPort": 80, "hostPort": 80}],
    "readinessProbe": {"tcpSocket": {"port": 80}},
    "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
    "resources": {"limits": {"cpu": "1"}},
    "restartPolicy": "Always",
    "restartPolicyRules": [{"action": "Restart"}],
    "securityContext": {"privileged": True},
    "startupProbe": {"grpc": {"port": 80}},
    "stdin": True,
    "stdinOnce": True,
    "targetContainerName": "web",
    "terminationMessagePath": "/x",
    "terminationMessagePolicy": "File",
    "tty": True,
    "volumeDevices": [{"name": "v", "devicePath": "/dev/x"}],
    "volumeMounts": [{"name": "v", "mountPath": "/x", "subPathExpr": "$(A)", "mountPropagation": "Bidirectional"}],
    "workingDir": "/",
}


def made(**fields: object) -> dict:
    return pod_spec.container(container(**fields), pod(), POD_CONTEXT)


@pytest.mark.parametrize("field", PASSED)
def test_container_passes_field_unchanged(field):
    assert made(**{field: PASSED[field]})[field] == PASSED[field]


def test_container_drops_unknown_fields():
    assert set(made(**PASSED, somethingNew=1)) == {*PASSED, "name", "env", "envFrom"}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}}, "probe livenessProbe: httpGet.host"),
        ({"readinessProbe": {"tcpSocket": {"host": "127.0.0.1", "port": 1}}}, "probe readinessProbe: tcpSocket.host"),
        ({"startupProbe": {"httpGet": {"host": "x", "port": 1}}}, "probe startupProbe"),
        ({"lifecycle": {"postStart": {"httpGet": {"host": "x", "port": 1}}}}, "lifecycle postStart"),
        ({"lifecycle": {"preStop": {"tcpSocket": {"host": "x", "port": 1}}}}, "lifecycle preStop"),
    ],
)
@pytest.mark.parametrize("group", ["containers", "initContainers"])
def test_probe_or_hook_with_host_is_rejected(fields, words, group):
    with pytest.raises(rejection.RejectedSpec, match=words):
        pod_spec.host_pod(pod({group: [container(**fields)]}), POD_CONTEXT)


@pytest.mark.parametrize(("links", "variant"), [(True, "services"), (False, "api")])
def test_service_variables_come_before_own(links, variant):
    asked = container(envFrom=[{"prefix": "KUBERNETES_", "configMapRef": {"name": "settings"}}])
    sources = pod_spec.container(asked, pod({"enableServiceLinks": links}), POD_CONTEXT)["envFrom"]
    assert [one["configMapRef"]["name"] for one in sources] == [
        service_variables.host_name("shop", variant),
        naming.host_name("shop", "settings"),
    ]


def test_container_translates_field_references():
    env = made(
        env=[
            {"name": "NODE", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}},
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        ]
    )["env"]
    node, name, cpu = (one["valueFrom"] for one in env[-3:])
    assert node["fieldRef"]["fieldPath"] == "spec.nodeName"
    assert name["fieldRef"]["fieldPath"].startswith("metadata.annotations['downward.tenantry.dev/")
    assert cpu == {"resourceFieldRef": {"resource": "limits.cpu"}}


@pytest.mark.parametrize(
    ("level", "namespace", "labels", "restricted"),
    [
        ("restricted", "kube-system", {"k8s-app": "kube-dns"}, True),
        ("baseline", "kube-system", {"k8s-app": "kube-dns"}, False),
        ("restricted", "shop", {"k8s-app": "kube-dns"}, False),
        ("restricted", "kube-system", {"k8s-app": "other"}, False),
    ],
)
def test_only_coredns_is_restricted(level, namespace, labels, restricted):
    config = type(CONFIG)(**{**CONFIG.__dict__, "pod_security": level})
    privileged = {"containers": [container(securityContext={"privileged": True})]}
    asked = pod(privileged, namespace=namespace, labels=labels)
    (one,) = pod_spec.host_pod(asked, pod_spec.PodContext(config))["spec"]["containers"]
    assert ("privileged" in one["securityContext"]) is not restricted
