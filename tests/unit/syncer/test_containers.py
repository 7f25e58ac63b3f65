from __future__ import annotations

import dataclasses

import pytest
from tenantry_syncer import names, pod_spec

from .objects import AROUND, CONFIG, container, pod

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
    return pod_spec.container(container(**fields), pod(), AROUND)


@pytest.mark.parametrize("field", PASSED)
def test_passes_as_it_is(field):
    assert made(**{field: PASSED[field]})[field] == PASSED[field]


def test_nothing_else_passes():
    assert set(made(**PASSED, somethingNew=1)) == {*PASSED, "name", "env"}


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
def test_the_kubelet_asks_nobody_else_for_a_tenant(fields, words, group):
    with pytest.raises(pod_spec.Refused, match=words):
        pod_spec.host_pod(pod({group: [container(**fields)]}), AROUND)


def test_what_the_pod_says_of_a_variable_holds():
    env = made(env=[{"name": "KUBERNETES_SERVICE_HOST", "value": "mine"}])["env"]
    assert [one["value"] for one in env if one["name"] == "KUBERNETES_SERVICE_HOST"] == ["mine"]
    assert [one["value"] for one in made()["env"] if one["name"] == "KUBERNETES_SERVICE_HOST"] == ["10.43.7.1"]


@pytest.mark.parametrize("reference", ["configMapRef", "secretRef"])
def test_what_the_pod_takes_over_as_a_whole_holds_too(reference):
    keys = {(reference, "settings"): ["SERVICE_HOST", "OTHER"]}
    around = dataclasses.replace(AROUND, keys=lambda *named: keys.get(named, ()))
    asked = container(envFrom=[{"prefix": "KUBERNETES_", reference: {"name": "settings"}}])
    names_of = {one["name"] for one in pod_spec.container(asked, pod(), around)["env"]}
    assert "KUBERNETES_SERVICE_HOST" not in names_of
    assert "KUBERNETES_SERVICE_PORT" in names_of


def test_variables_come_before_those_that_use_them():
    env = made(env=[{"name": "URL", "value": "https://$(KUBERNETES_SERVICE_HOST)"}])["env"]
    assert env[-1]["name"] == "URL"


def test_references_to_fields():
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
def test_only_the_dns_is_made_to_fit(level, namespace, labels, restricted):
    config = type(CONFIG)(**{**CONFIG.__dict__, "pod_security": level})
    privileged = {"containers": [container(securityContext={"privileged": True})]}
    asked = pod(privileged, namespace=namespace, labels=labels)
    (one,) = pod_spec.host_pod(asked, pod_spec.Surroundings(config))["spec"]["containers"]
    assert ("privileged" in one["securityContext"]) is not restricted


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        ({}, True),
        ({"matchLabels": {"a": "1"}}, True),
        ({"matchLabels": {"a": "2"}}, False),
        ({"matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["1"]}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["1"]}]}, True),
        ({"matchExpressions": [{"key": "b", "operator": "Exists"}]}, False),
        ({"matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}, True),
    ],
)
def test_selectors(selector, chosen):
    assert pod_spec.matches(selector, {"a": "1"}) is chosen


def test_secrets_of_tokens_have_names_of_their_own():
    assert pod_spec.token_secret("shop", "web") == names.host_name("shop", "web") + "-tokens"
    assert pod_spec.token_secret("shop", "web") != names.host_name("shop", "web-tokens")
