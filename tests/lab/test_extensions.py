"""What extends an API server and runs in pods: admission and conversion webhooks, and APIs of their own.

The API server of a virtual cluster is no node of it. In mode shared its pods are its neighbours on the host; in mode
dedicated it reaches them through the tunnels of the agents.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .harness import until
from .space import DEDICATED, WAIT, Space, made_space
from .tls import self_signed

GROUP = "things.lab.tenantry.dev"
LIMITS = {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "5m", "memory": "16Mi"}}


@dataclass(frozen=True)
class Hook:
    space: Space
    ca: str  # of its certificate, as base64 of PEM

    def client(self, path: str | None = None) -> dict:
        where = {"namespace": self.space.name, "name": "hook", "port": 443}
        return {"service": where | ({"path": path} if path else {}), "caBundle": self.ca}


@pytest.fixture(scope="module", params=["payments--dev", DEDICATED], ids=["shared", "dedicated"])
def hook(request: pytest.FixtureRequest, site: object, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hook]:
    """A pod that serves all of them, behind a Service."""
    with made_space(request.param, "hook") as space:
        name = f"hook.{space.name}.svc"
        certificate, key = self_signed(tmp_path_factory.mktemp("hook"), "127.0.0.1", name)
        space("create", "secret", "tls", "hook", f"--cert={certificate}", f"--key={key}")
        space.create(_pod(), _service())
        space("wait", "--for=condition=Ready", "pod/hook", WAIT)
        yield Hook(space, base64.b64encode(Path(certificate).read_bytes()).decode())


def _pod() -> dict:
    container = {
        "name": "hook",
        "image": "docker.io/lab/web:1",
        "args": ["hook"],
        "resources": LIMITS,
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
    }
    spec = {"containers": [container], "volumes": [{"name": "tls", "secret": {"secretName": "hook"}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "hook", "labels": {"app": "hook"}}, "spec": spec}


def _service() -> dict:
    spec = {"selector": {"app": "hook"}, "ports": [{"port": 443, "targetPort": 8443}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}, "spec": spec}


def _config_map(name: str, **labels: str) -> str:
    return json.dumps({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": labels}})


def test_admission_webhook_decides(hook: Hook) -> None:
    space = hook.space
    webhook = {
        "name": "hook.lab.tenantry.dev",
        "clientConfig": hook.client("/admit"),
        "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"], "operations": ["CREATE"]}],
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}},
        "admissionReviewVersions": ["v1"],
        "sideEffects": "None",
        "timeoutSeconds": 5,
        "failurePolicy": "Fail",
    }
    kind = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration"}
    space.create({**kind, "metadata": {"name": space.name}, "webhooks": [webhook]})
    try:
        # From when the API server has heard of it, and its Service leads somewhere.
        until(lambda: "refused by the hook" in space.try_(*_creating(), stdin=_config_map("no", refused="yes")).stderr)
        until(lambda: space.try_(*_creating(), stdin=_config_map("yes")).returncode == 0)
        assert "refused by the hook" in space.try_(*_creating(), stdin=_config_map("no", refused="yes")).stderr
    finally:
        space("delete", "validatingwebhookconfiguration", space.name)


def _creating() -> tuple[str, ...]:
    return ("create", "-f", "-")


def test_aggregated_api_is_served(hook: Hook) -> None:
    space = hook.space
    spec = {
        "group": GROUP,
        "version": "v1",
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "service": {"namespace": space.name, "name": "hook", "port": 443},
        "caBundle": hook.ca,
    }
    name = f"v1.{GROUP}"
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    space.create({**kind, "metadata": {"name": name}, "spec": spec})
    try:
        space("wait", "--for=condition=Available", f"apiservice/{name}", WAIT)
        things = json.loads(space("get", "--raw", f"/apis/{GROUP}/v1/things"))
        assert [thing["metadata"]["name"] for thing in things["items"]] == ["only"]
    finally:
        space("delete", "apiservice", name, WAIT)


def test_custom_resources_are_converted(hook: Hook) -> None:
    space, group = hook.space, f"{hook.space.name}.lab.tenantry.dev"
    schema = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}
    versions = [{"name": name, "served": True, "storage": name == "v2", "schema": schema} for name in ("v1", "v2")]
    spec = {
        "group": group,
        "scope": "Namespaced",
        "names": {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"},
        "versions": versions,
        "conversion": {
            "strategy": "Webhook",
            "webhook": {"clientConfig": hook.client("/convert"), "conversionReviewVersions": ["v1"]},
        },
    }
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    space.create({**kind, "metadata": {"name": f"gadgets.{group}"}, "spec": spec})
    try:
        space("wait", "--for=condition=Established", f"crd/gadgets.{group}", WAIT)
        gadget = json.dumps({"apiVersion": f"{group}/v1", "kind": "Gadget", "metadata": {"name": "one"}, "size": 3})
        until(lambda: space.try_(*_creating(), stdin=gadget).returncode == 0)
        found = json.loads(space("get", "--raw", f"/apis/{group}/v2/namespaces/{space.name}/gadgets/one"))
        assert (found["apiVersion"], found["size"]) == (f"{group}/v2", 3)
    finally:
        space("delete", "crd", f"gadgets.{group}", WAIT)
