"""/etc/hosts of pods with a subdomain: which pods get a rewritten file, how, and its content."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys

import pytest
from tenantry_syncer.translate import hosts_file, pod_status
from tenantry_syncer.translate import pod as pod_spec

from ..objects import CONFIG, container, pod

OFFERED = dataclasses.replace(CONFIG, hosts_image="registry.example.com/syncer:1")
FULL = "web-0.stores.shop.svc.cluster.local"
KUBELETS = """# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
10.42.0.7\tweb-0
fd00::7\tweb-0

# Entries added by HostAliases.
192.0.2.1\tdb\tdb.example.com
"""


def made(config=OFFERED, **spec: object) -> dict:
    return pod_spec.host_pod(pod({"subdomain": "stores", **spec}), pod_spec.PodContext(config))["spec"]


def test_add_mounts_file_in_all_containers():
    spec = made(initContainers=[container(name="first")], containers=[container(), container(name="b")])
    assert [one["name"] for one in spec["initContainers"]] == [hosts_file.NAME, "first"]
    assert spec["initContainers"][0]["image"] == OFFERED.hosts_image
    for one in [*spec["initContainers"][1:], *spec["containers"]]:
        assert {"name": hosts_file.NAME, "mountPath": "/etc/hosts", "subPath": "hosts"} in one["volumeMounts"]
    assert {"name": hosts_file.NAME, "emptyDir": {}} in spec["volumes"]


@pytest.mark.parametrize(
    ("config", "spec"),
    [
        (CONFIG, {}),
        (OFFERED, {"subdomain": None}),
        (OFFERED, {"hostNetwork": True}),
        (OFFERED, {"os": {"name": "windows"}}),
    ],
)
def test_add_keeps_other_pods(config, spec):
    given = {key: value for key, value in {"subdomain": "stores", **spec}.items() if value is not None}
    found = pod_spec.host_pod(pod(given), pod_spec.PodContext(config))["spec"]
    assert "initContainers" not in found
    assert hosts_file.NAME not in str(found)


def test_add_keeps_own_mount_of_container():
    own = {"name": "own", "mountPath": "/etc/hosts", "subPath": "mine"}
    spec = made(containers=[container(volumeMounts=[own])], volumes=[{"name": "own", "emptyDir": {}}])
    assert spec["containers"][0]["volumeMounts"] == [own]


def test_add_omits_resources_set_by_pod():
    (first,) = made(resources={"limits": {"memory": "16Mi"}, "requests": {"cpu": "1m"}})["initContainers"]
    for amounts in first["resources"].values():
        assert not {"cpu", "memory"} & set(amounts)


@pytest.mark.parametrize("known", ["web-0", FULL])
def test_script_writes_full_name(tmp_path, known):
    """With Kubernetes 1.35 on the host, the host name may be the full name."""
    (first,) = made(setHostnameAsFQDN=True)["initContainers"]
    (tmp_path / "given").write_text(KUBELETS.replace("\tweb-0", f"\t{known}"))
    (*command, script) = first["command"]
    script = script.replace("/etc/hosts", f"{tmp_path}/given").replace("/hosts/hosts", f"{tmp_path}/made")
    given = {one["name"]: one.get("value", "10.42.0.7,fd00::7") for one in first["env"]}
    subprocess.run([sys.executable, *command[1:], script], env={**os.environ, **given}, check=True)
    assert (tmp_path / "made").read_text() == KUBELETS.replace("\tweb-0", f"\t{FULL}\tweb-0")
    assert (tmp_path / "made").stat().st_mode & 0o777 == 0o644


def test_status_hides_added_container():
    status = {"name": hosts_file.NAME, "ready": True, "state": {"terminated": {"exitCode": 0}}}
    host = {"metadata": {}, "status": {"phase": "Running", "initContainerStatuses": [status]}}
    given = pod({"subdomain": "stores"})
    assert "initContainerStatuses" not in pod_status.translated(given, host, str)
