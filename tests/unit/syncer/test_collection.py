"""What the collection and the syncer must know alike, each in its own program.

- label of who made an object: _core.naming.MANAGED_BY_SYNCER, naming.SYNCER
- labels and hash of a pod's namespace: manifests.syncer.dns_selector, naming.pod_labels
- labels of the parts of the platform: manifests.common and network_policies, kube.api_server_ca
- the configuration and its files: manifests.syncer, config and host_networks and host_storage_classes
- ports and directories of the container: manifests.syncer, config
- the API of metrics: _users.findings, metrics.api_service
- names by hash, and what admission policies allow: _platform.admission_policies_syncer (see test_admission.py)
"""

from __future__ import annotations

import base64
import dataclasses
import json
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as collection_naming
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import common, network_policies
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import syncer as manifests
from module_utils._vcluster.example import SHARED, render
from module_utils._vcluster.shared_objects import ADDRESSES
from tenantry_syncer import config as syncer_config
from tenantry_syncer import host_networks, host_storage_classes
from tenantry_syncer.config import Config
from tenantry_syncer.kube import api_server_ca
from tenantry_syncer.kube.resources import SERVICE
from tenantry_syncer.metrics import api_service, pod_metrics
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate.pod import PodContext, host_pod

from .objects import pod, service

HOST = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}
DNS = {"k8s-app": "kube-dns"}
RESOURCES = {"cpu": "8", "memory": "8Gi", "pods": 20}
OPTIONS = {
    "servers": 3,
    "resources": RESOURCES,
    "ingress_classes": ["nginx"],
    "ingress_hosts": ["*.example.com"],
    "storage_classes": ["local-path"],
}


def rendering(**changes: object) -> common.RenderContext:
    classes = ({"metadata": {"name": "local-path"}},)
    return render({**ADDRESSES, "storage_classes": classes}, **{**SHARED, **changes})


def read(directory: Path, **changes: object) -> Config:
    """The syncer's configuration, by the files that the collection makes of a virtual cluster."""
    for secret in (manifests.config_secret(rendering(**changes)), manifests.networks_secret(rendering(**changes))):
        for name, content in secret["data"].items():
            (directory / name).write_bytes(base64.b64decode(content))
    return Config.read(directory, HOST)


def on_host(directory: Path, namespace: str, labels: dict[str, str]) -> dict:
    """The pod of the host that the syncer creates for a pod in the virtual cluster."""
    around = PodContext(read(directory), namespaces={namespace: {}})
    return host_pod(pod(namespace=namespace, labels=labels), around)


def matches(selector: dict[str, str], obj: dict) -> bool:
    return selector.items() <= obj["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("namespace", "labels", "selected"),
    [("kube-system", DNS, True), ("shop", DNS, False), ("kube-system", {"k8s-app": "web"}, False)],
)
def test_the_service_of_dns_selects_the_pods_of_dns(
    tmp_path: Path, namespace: str, labels: dict, selected: bool
) -> None:
    assert matches(manifests.dns_selector(rendering()), on_host(tmp_path, namespace, labels)) is selected


def test_the_collection_selects_all_that_the_syncer_creates(tmp_path: Path) -> None:
    selector = {collection_naming.LABEL_MANAGED_BY: collection_naming.MANAGED_BY_SYNCER}
    context = SyncContext(read(tmp_path), None, None)
    copy = context.host_object(SERVICE, service({}))
    assert matches(selector, on_host(tmp_path, "shop", {}))
    assert matches(selector, copy)
    assert not collection_naming.is_ours(copy)


def test_pods_of_tenants_are_no_part_of_the_platform(tmp_path: Path) -> None:
    (expression,) = network_policies.WORKLOAD["matchExpressions"]
    found = on_host(tmp_path, "shop", {expression["key"]: "server"})
    assert found["metadata"]["labels"][expression["key"]] not in expression["values"]
    for part in expression["values"]:
        assert not matches(rendering().selector(part), found)


def test_the_syncer_selects_the_servers() -> None:
    selector = dict(one.split("=") for one in api_server_ca.SERVERS.split(","))
    assert selector.items() <= rendering().selector("server").items()
    assert not selector.items() <= rendering().selector("syncer").items()
    assert api_server_ca.PORT == common.API_PORT


@pytest.mark.parametrize("changes", [{}, OPTIONS])
def test_the_syncer_reads_its_configuration(tmp_path: Path, changes: dict) -> None:
    found = read(tmp_path, **changes)
    given = manifests.config(rendering(**changes))
    assert json.loads(json.dumps(dataclasses.asdict(found))).items() >= given.items()
    assert found.virtual_url == f"https://{ADDRESSES['kubernetes_ip']}:443"


def test_the_syncer_reads_the_networks_and_storage_classes(tmp_path: Path) -> None:
    network = {"egress_deny": ["198.51.100.0/24"], "egress_allow": ["198.51.100.7/32"]}
    read(tmp_path, network=network)
    found = host_networks.HostNetworks.read(tmp_path)
    assert not found.allows("198.51.100.1")
    assert found.allows("198.51.100.7")
    assert host_storage_classes.OfferedClasses.read(tmp_path).names == ["local-path"]


def test_ports_and_directories_of_the_container() -> None:
    container = manifests.container(rendering())
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert ports == {
        "kubelet": syncer_config.KUBELET_PORT,
        "metrics": syncer_config.METRICS_PORT,
        "health": syncer_config.HEALTH_PORT,
    }
    mounted = {one["name"]: one["mountPath"] for one in container["volumeMounts"]}
    assert mounted["syncer"] == str(syncer_config.SETTINGS)
    assert mounted["syncer-host"] == str(syncer_config.SERVICE_ACCOUNT)


def test_the_api_of_metrics_is_no_finding() -> None:
    assert (api_service.NAMESPACE, api_service.NAME) in findings._METRICS
    assert f"{pod_metrics.VERSION}.{pod_metrics.GROUP}" == findings._METRICS_API
