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
}
REJECTED = [
    *("awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker"),
    *("gcePersistentDisk", "gitRepo", "glusterfs", "image", "iscsi", "nfs", "photonPersistentDisk", "portworxVolume"),
    *("quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume", "somethingNew"),
]


@pytest.mark.parametrize("kind", VOLUMES)
def test_volumes_that_pass(kind):
    volume = {"name": "v", kind: VOLUMES[kind]}
    assert made({"volumes": [volume]})["volumes"] == [volume]


@pytest.mark.parametrize("kind", REJECTED)
def test_volumes_that_are_refused(kind):
    with pytest.raises(rejection.RejectedSpec, match=f"volume v: volumes of type {kind} are not supported"):
        made({"volumes": [{"name": "v", kind: {}}]})


@pytest.mark.parametrize("kind", ["clusterTrustBundle", "podCertificate", "somethingNew"])
def test_projections_that_are_refused(kind):
    with pytest.raises(rejection.RejectedSpec, match=kind):
        made({"volumes": [{"name": "v", "projected": {"sources": [{kind: {}}]}}]})


def test_a_volume_is_of_one_type():
    crafted = {"name": "v", "configMap": {"name": "a"}, "secret": {"secretName": "join-token"}}
    with pytest.raises(rejection.RejectedSpec):
        made({"volumes": [crafted]})


def test_the_claim_of_an_ephemeral_volume_is_that_of_its_pod():
    volume = made({"volumes": [{"name": "data", "ephemeral": {}}]})["volumes"][0]
    assert volume == {"name": "data", "persistentVolumeClaim": {"claimName": naming.host_name("shop", "web-0-data")}}


def test_tokens_come_from_the_secret_of_this_pod():
    source = {"serviceAccountToken": {"path": "token", "audience": "https://kubernetes.default.svc"}}
    volume = made({"volumes": [{"name": "t", "projected": {"sources": [source], "defaultMode": 420}}]})["volumes"][0]
    secret = {
        "name": pod_volumes.token_secret(naming.host_name("shop", "web-0")),
        "items": [{"key": "t.0", "path": "token"}],
    }
    assert volume == {"name": "t", "projected": {"sources": [{"secret": secret}], "defaultMode": 420}}


def test_secrets_of_tokens_have_names_of_their_own():
    secret = pod_volumes.token_secret(naming.host_name("shop", "web"))
    assert secret == naming.host_name("shop", "web") + "-tokens"
    assert secret != naming.host_name("shop", "web-tokens")
