"""Snapshots of etcd: whether one is whole, and the pods that make members anew."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    etcd_client,
    etcd_restore_pods,
)

from ..manifests.test_etcd import everything, named

DATABASE = bytes(range(256)) * 64


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    file = tmp_path / "etcd.db"
    file.write_bytes(DATABASE + hashlib.sha256(DATABASE).digest())
    return file


def test_a_whole_snapshot_is_taken(whole):
    etcd_client.check(whole)


@pytest.mark.parametrize(
    "harm",
    [
        lambda content: content[:-1],
        lambda content: content[:-32],
        lambda content: content[:512] + content[1024:],
        lambda content: content[:100] + b"\x00" + content[101:],
        lambda content: b"",
        lambda content: content + b"\x00",
    ],
    ids=["last byte", "checksum", "a page", "one byte", "everything", "a byte more"],
)
def test_one_that_lacks_something_is_refused(whole, harm):
    whole.write_bytes(harm(whole.read_bytes()))
    with pytest.raises(TenantryError, match="checksum mismatch"):
        etcd_client.check(whole)


def test_each_pod_makes_the_member_whose_volume_it_has():
    etcd = named(everything(), "StatefulSet", "etcd")
    pods = etcd_restore_pods.pods(etcd, "docker.io/rancher/k3s:v1.34.4-k3s1", "payments--dev-anew")
    for number, pod in enumerate(pods):
        member = f"etcd-{number}"
        (volume,) = pod["spec"]["volumes"]
        assert volume["persistentVolumeClaim"]["claimName"] == f"data-{member}"
        command = pod["spec"]["initContainers"][1]["command"]
        assert f"--name={member}" in command
        assert f"--initial-advertise-peer-urls=https://{member}.etcd.payments--dev.svc:2380" in command
        assert "--initial-cluster-token=payments--dev-anew" in command, "no member of what was there before"
        assert not any("POD_NAME" in word for word in command)
        parts = [*pod["spec"]["initContainers"], *pod["spec"]["containers"]]
        assert all(one["securityContext"]["capabilities"] == {"drop": ["ALL"]} for one in parts)
        assert all(one["resources"]["limits"] for one in parts), "the quota refuses a pod without"
