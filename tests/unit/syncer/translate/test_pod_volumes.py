from __future__ import annotations

import pytest
from tenantry_syncer import naming
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import pod_volumes, rejection

from ..objects import POD_CONTEXT, pod


def made(spec: dict | None = None, context: pod_spec.PodContext = POD_CONTEXT, **metadata: object) -> dict:
    return pod_spec.host_pod(pod(spec, **metadata), context)["spec"]


VOLUMES = {
    "emptyDir": {"medium": "Memory", "sizeLimit": "1Gi"},
    "hostPath": {"path": "/"},
    "image": {"reference": "registry.example.com/data:1", "pullPolicy": "IfNotPresent"},
}
REJECTED = [
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"),
    *("gcePersistentDisk", "gitRepo", "glusterfs", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume"),
    *("quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume", "somethingNew"),
]


@pytest.mark.parametrize("kind", VOLUMES)
def test_host_volume_supported_type(kind):
    volume = {"name": "v", kind: VOLUMES[kind]}
    assert made({"volumes": [volume]})["volumes"] == [volume]


@pytest.mark.parametrize("kind", REJECTED)
def test_host_volume_other_type_is_rejected(kind):
    with pytest.raises(rejection.RejectedSpec, match=f"volume v: volumes of type {kind} are not supported"):
        made({"volumes": [{"name": "v", kind: {}}]})


@pytest.mark.parametrize("kind", ["podCertificate", "somethingNew"])
def test_host_volume_other_projection_is_rejected(kind):
    with pytest.raises(rejection.RejectedSpec, match=kind):
        made({"volumes": [{"name": "v", "projected": {"sources": [{kind: {}}]}}]})


def test_host_volume_with_two_types_is_rejected():
    crafted = {"name": "v", "configMap": {"name": "a"}, "secret": {"secretName": "join-token"}}
    with pytest.raises(rejection.RejectedSpec):
        made({"volumes": [crafted]})


def test_host_volume_ephemeral_becomes_claim():
    volume = made({"volumes": [{"name": "data", "ephemeral": {}}]})["volumes"][0]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": naming.host_name("shop", "web-0-data")}}


def test_host_volume_token_becomes_secret():
    source = {"serviceAccountToken": {"path": "token", "audience": "https://kubernetes.default.svc"}}
    volume = made({"volumes": [{"name": "t", "projected": {"sources": [source], "defaultMode": 420}}]})["volumes"][0]
    secret = {
        "name": pod_volumes.token_secret(naming.host_name("shop", "web-0")),
        "items": [{"key": "t.0", "path": "token"}],
    }
    assert volume == {"name": "t", "projected": {"sources": [{"secret": secret}], "defaultMode": 420}}


def test_host_volume_trust_bundle_becomes_secret():
    source = {"clusterTrustBundle": {"name": "example", "path": "ca.pem", "optional": True}}
    volume = made({"volumes": [{"name": "t", "projected": {"sources": [{"configMap": {"name": "a"}}, source]}}]})[
        "volumes"
    ][0]
    secret = {
        "name": pod_volumes.token_secret(naming.host_name("shop", "web-0")),
        "items": [{"key": "t.1", "path": "ca.pem"}],
    }
    assert volume["projected"]["sources"][1] == {"secret": secret}


def test_token_secret_has_a_distinct_name():
    secret = pod_volumes.token_secret(naming.host_name("shop", "web"))
    assert secret == naming.host_name("shop", "web") + "-tokens"
    assert secret != naming.host_name("shop", "web-tokens")


@pytest.mark.parametrize(
    ("mode", "spec", "expected"),
    [
        (0o400, {"securityContext": {"runAsUser": 1000}}, 0o444),
        (0o440, {"containers": [{"name": "a", "image": "a", "securityContext": {"runAsUser": 1000}}]}, 0o444),
        (0o644, {"securityContext": {"runAsUser": 1000}}, None),
        (0o400, {}, None),
        (0o400, {"securityContext": {"runAsUser": 1}, "initContainers": [{"name": "i", "image": "i"}]}, 0o444),
        (
            0o400,
            {
                "securityContext": {"runAsUser": 1},
                "initContainers": [{"name": "i", "image": "i", "securityContext": {"runAsUser": 2}}],
            },
            None,
        ),
    ],
)
def test_host_volume_token_is_readable_for_the_only_user(mode: int, spec: dict, expected: int | None):
    """The kubelet would give the file to that user; a file of a Secret belongs to root."""
    of_user = {"secret": {"name": "own", "items": [{"key": "a", "path": "a"}]}}
    sources = [{"serviceAccountToken": {"path": "token"}}, of_user]
    volume = {"name": "t", "projected": {"sources": sources, "defaultMode": mode}}
    token, own = made({**spec, "volumes": [volume]})["volumes"][0]["projected"]["sources"]
    assert token["secret"]["items"][0].get("mode") == expected
    assert "mode" not in own["secret"]["items"][0]
