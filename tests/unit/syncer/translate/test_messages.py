"""Messages of the host as the virtual cluster shows them."""

from __future__ import annotations

import pytest
from tenantry_syncer import naming
from tenantry_syncer.translate import messages
from tenantry_syncer.translate.pod_volumes import token_secret

from ..objects import container, pod

HOST = "payments--dev"


def host_object(name: str, namespace: str = "shop", uid: str = "8f3c2a10") -> dict:
    metadata = naming.metadata({}, "pod", {"metadata": {"name": name, "namespace": namespace, "uid": "1-2-3"}})
    return {"metadata": {**metadata, "uid": uid}}


def on_host(name: str) -> str:
    return naming.host_name("shop", name)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f'pods "{on_host("web")}" is forbidden', 'pods "web" is forbidden'),
        ('in namespace "payments--dev"', 'in namespace "shop"'),
        ("/payments--dev/x", "/host/x"),
        (
            "0/3 nodes are available: 2 node(s) had untolerated taint {team: research}.",
            "0/3 nodes are available: 2 node(s) had untolerated taint.",
        ),
        ('quota {"a":1}', 'quota {"a":1}'),
        (
            f"back-off 10s restarting failed container=a pod={on_host('web')}_{HOST}(8f3c2a10)",
            "back-off 10s restarting failed container=a pod=web_shop(1-2-3)",
        ),
        (
            f'MountVolume.SetUp failed for volume "t" : secret "{token_secret(on_host("web"))}" not found',
            'MountVolume.SetUp failed for volume "t" : secret "service account token of web" not found',
        ),
    ],
)
def test_to_virtual_has_no_host_names(text, expected):
    assert messages.to_virtual(text, host_object("web"), None, HOST) == expected


# Each field in which a pod references an object, with the object's name.
REFERENCES = {
    "environment": ({"containers": [container(envFrom=[{"secretRef": {"name": "credentials"}}])]}, "credentials"),
    "variable": (
        {"containers": [container(env=[{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "set.tings"}}}])]},
        "set.tings",
    ),
    "init container": ({"initContainers": [container(envFrom=[{"configMapRef": {"name": "x"}}])]}, "x"),
    "ephemeral container": ({"ephemeralContainers": [container(envFrom=[{"secretRef": {"name": "x"}}])]}, "x"),
    "pull secret": ({"imagePullSecrets": [{"name": "registry"}]}, "registry"),
    "secret volume": ({"volumes": [{"name": "v", "secret": {"secretName": "tls"}}]}, "tls"),
    "config map volume": ({"volumes": [{"name": "v", "configMap": {"name": "n" * 200}}]}, "n" * 200),
    "projection": ({"volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "p"}}]}}]}, "p"),
    "claim": ({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]}, "data"),
    "ephemeral volume": ({"volumes": [{"name": "scratch", "ephemeral": {}}]}, "web-0-scratch"),
}


@pytest.mark.parametrize("place", REFERENCES)
@pytest.mark.parametrize(
    "form", ['secret "{}" not found', "Secret payments--dev/{}: no such key", 'object "payments--dev"/"{}"']
)
def test_to_virtual_translates_references(place, form):
    spec, name = REFERENCES[place]
    text = messages.to_virtual(form.format(on_host(name)), host_object("web-0"), pod(spec), HOST)
    assert text == form.format(name).replace(HOST, "shop")


def test_replace_hashed_names_of_known_objects():
    known = {on_host("db"): "db"}
    text = f"volume is used by pods {on_host('db')}, {on_host('unknown')}"
    assert messages.replace_hashed_names(text, known.get) == f"volume is used by pods db, {on_host('unknown')}"
