"""Options in, numbers or one line out."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import (
    NO_RECORD,
    SPEC_ANNOTATION,
    VClusterRecord,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec import cluster, images, mode
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.resources import Resources
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.version import check_upgrade

from ..example import SHARED, make_item


def _with(**further):
    return {**SHARED, "resources": {"cpu": "4", "memory": "4Gi", "pods": 9, **further}}


BAD = [
    ({"name": "Dev"}, "name:", "Dev"),
    ({"name": ""}, "name:", "empty"),
    ({"name": "a--b"}, "name:", "--"),
    ({"tenant": "pay_ments"}, "tenant:", "pay_ments"),
    ({"tenant": "t" * 40, "name": "n" * 40}, "tenant", "63"),
    ({"version": "latest"}, "version:", "latest"),
    ({"version": "1.31"}, "version:", "1.31"),
    ({"version": "v1.34.4"}, "version:", "v1.34.4"),
    ({"version": "v1.34.4+k3s1\n"}, "version:", "k3s release"),
    ({"version": "v1.31.9+k3s1"}, "version:", "v1.32.5"),
    ({"version": "v1.32.4+k3s1"}, "version:", "v1.32.5"),
    ({"version": "v1.33.0+k3s1"}, "version:", "v1.33.1"),
    ({"servers": 0}, "servers:", "0"),
    ({"servers": 2}, "servers:", "2"),
    ({"servers": "3"}, "servers:", '"3"'),
    ({"servers": True}, "servers:", "true"),
    ({"agents": -1}, "agents:", "-1"),
    ({"agents": 101}, "agents:", "101"),
    ({"server": {"cpu": "ten"}}, "server.cpu:", "ten"),
    ({"server": {"cpu": "-1"}}, "server.cpu:", "-1"),
    ({"server": {"memory": "10gb"}}, "server.memory:", "10gb"),
    ({"server": {"memory": "100Mi"}}, "server.memory:", "512Mi"),
    ({"server": {"memory": "1G"}}, "server.memory:", "Mi"),
    ({"agent": {"cpu": "10m"}}, "agent.cpu:", "250m"),
    ({"agent": {"memory": "64Mi"}}, "agent.memory:", "640Mi"),
    ({"persistence": {"size": "0"}}, "persistence.size:", "256Mi"),
    ({"persistence": {"size": "big"}}, "persistence.size:", "big"),
    ({"resources": {"cpu": "1500m"}}, "resources.cpu:", "2 or more"),
    ({"resources": {"memory": "2Gi"}}, "resources.memory:", "3Gi or more"),
    ({"resources": {"storage": "1Gi"}}, "resources.storage:", "5Gi or more"),
    ({"resources": {"pods": 1}}, "resources.pods:", "2 or more"),
    ({"resources": {"cpu": "lots"}}, "resources.cpu:", "lots"),
    ({"cluster_cidr": "10.52.0.0"}, "cluster_cidr:", "/32"),
    ({"cluster_cidr": "10.52.0.1/16"}, "cluster_cidr:", "host bits"),
    ({"cluster_cidr": "300.0.0.0/16"}, "cluster_cidr:", "300"),
    ({"cluster_cidr": "fd00::/56"}, "cluster_cidr:", "IPv4"),
    ({"cluster_cidr": "8.0.0.0/16"}, "cluster_cidr:", "public"),
    ({"cluster_cidr": "10.52.0.0/24"}, "cluster_cidr:", "/24"),
    ({"service_cidr": "10.0.0.0/8"}, "service_cidr:", "/8"),
    ({"service_cidr": "10.52.8.0/22"}, "service_cidr:", "overlaps"),
    ({"expose": {"port": 80}}, "expose.port:", "30000"),
    ({"expose": {"address": "127.0.0.1"}}, "expose.address:", "cannot be reached"),
    ({"expose": {"address": "0.0.0.0"}}, "expose.address:", "cannot be reached"),
    ({"expose": {"address": "localhost"}}, "expose.address:", "localhost"),
    ({"expose": {"address": "https://example.com:6443"}}, "expose.address:", "without scheme"),
    ({"expose": {"type": "ClusterIP"}}, "expose.address:", "NodePort or LoadBalancer"),
    ({"expose": {"type": "ClusterIP", "port": 30001, "address": None}}, "expose.port:", "NodePort only"),
    ({"pod_security": "baseline"}, "pod_security:", "mode shared only"),
    ({"storage_classes": []}, "storage_classes:", "mode shared only"),
    ({"container_defaults": {"cpu": "1", "memory": "1Gi"}}, "container_defaults:", "mode shared only"),
    (
        {**SHARED, "container_defaults": {"cpu": "1", "memory": "8Mi"}},
        "container_defaults.memory:",
        "Set 16Mi or more",
    ),
    ({**SHARED, "container_defaults": {"cpu": "0", "memory": "1Gi"}}, "container_defaults.cpu:", "Set 10m or more"),
    ({"ingress_classes": ["nginx"]}, "ingress_classes:", "mode shared only"),
    ({"ingress_hosts": ["*"]}, "ingress_hosts:", "mode shared only"),
    ({**SHARED, "agents": 2}, "agents:", "must be 0 with mode shared"),
    ({**SHARED, "cluster_cidr": "10.52.0.0/16"}, "cluster_cidr:", "mode dedicated only"),
    ({**SHARED, "service_cidr": "10.43.0.1/16"}, "service_cidr:", "host bits"),
    ({**SHARED, "service_cidr": "services"}, "service_cidr:", "IPv4"),
    ({**SHARED, "resources": None}, "resources.cpu, resources.memory, resources.pods:", "required with mode shared"),
    ({**SHARED, "resources": None}, "resources.cpu", "more than 1500m, 1152Mi, 2, which"),
    ({**SHARED, "resources": None}, "resources.cpu", "mode: dedicated"),
    ({**SHARED, "agents": 2}, "agents:", "mode: dedicated"),
    ({**SHARED, "resources": {"cpu": "4", "pods": 9}}, "resources.memory:", "1152Mi"),
    ({**SHARED, "resources": {"cpu": "4", "memory": "4Gi"}}, "resources.pods:", "required with mode shared"),
    ({**SHARED, "resources": {"cpu": "1", "memory": "4Gi", "pods": 9}}, "resources.cpu:", "1500m or more"),
    ({**SHARED, "resources": {"cpu": "4", "memory": "1Gi", "pods": 9}}, "resources.memory:", "1152Mi or more"),
    ({**SHARED, "resources": {"cpu": "4", "memory": "4Gi", "pods": 1}}, "resources.pods:", "2 or more"),
    (_with(ephemeral_storage="1Gi"), "resources.ephemeral_storage:", "1280Mi or more"),
    (_with(ephemeral_storage="lots"), "resources.ephemeral_storage:", "not a quantity"),
    (_with(extended={"gpu": 1}), "resources.extended:", "such as nvidia.com/gpu"),
    (_with(extended={"requests.nvidia.com/gpu/x": 1}), "resources.extended:", "not the name"),
    (_with(extended={"kubernetes.io/batch": 1}), "resources.extended:", "not the name"),
    (_with(extended={"nvidia.com/gpu": "500m"}), "resources.extended.nvidia.com/gpu:", "whole number"),
    (_with(extended={"nvidia.com/gpu": -1}), "resources.extended.nvidia.com/gpu:", "negative"),
    ({"resources": {"ephemeral_storage": "1Gi"}}, "resources.ephemeral_storage:", "mode shared only"),
    ({"resources": {"extended": {"nvidia.com/gpu": 1}}}, "resources.extended:", "mode shared only"),
    ({**SHARED, "storage_classes": ["fast", "Slow"]}, "storage_classes:", "Slow"),
    ({**SHARED, "ingress_classes": [""]}, "ingress_classes:", "class"),
    ({**SHARED, "ingress_classes": ["nginx"]}, "ingress_hosts:", "both or neither"),
    ({**SHARED, "ingress_hosts": ["*"]}, "ingress_hosts:", "both or neither"),
    *(
        ({**SHARED, "ingress_classes": ["nginx"], "ingress_hosts": [host]}, "ingress_hosts:", "not a host name")
        for host in ("", "*.", "a.*.example.com", "*example.com", "Example.com", "https://example.com", ".example.com")
    ),
    ({**SHARED, "syncer_image": "registry.example.com/tenantry/syncer"}, "syncer_image:", "tag or digest"),
    ({**SHARED, "syncer_image": "registry:5000/syncer"}, "syncer_image:", "tag or digest"),
    ({**SHARED, "syncer_image": "syncer:0.1.0"}, "syncer_image:", "full reference"),
    ({**SHARED, "syncer_image": "registry.example.com/tenantry/syncer:0.1.0 --x"}, "syncer_image:", "full reference"),
    ({"image": "rancher/k3s:v1.34.4-k3s1"}, "image:", "without a tag"),
    ({"image": "k3s"}, "image:", "repository"),
    ({"image": "rancher/k3s@sha256:abc"}, "image:", "repository"),
    ({"image": f"rancher/k3s:v1.34.4-k3s1@sha256:{'0' * 64}"}, "image:", "without a tag"),
    ({"image": "{{ image }}"}, "image:", "repository"),
    ({"registries": {"mirror": {}}}, "registries.mirror:", "did you mean mirrors"),
    ({"registries": {"mirrors": ["docker.io"]}}, "registries.mirrors:", "dictionary"),
]


@pytest.mark.parametrize(("changes", "option", "told"), BAD, ids=[str(row[0])[:60] for row in BAD])
def test_bad_input_is_one_line_with_option_and_rule(changes, option, told):
    with pytest.raises(TenantryError) as caught:
        cluster.parse(make_item(**changes))
    message = str(caught.value)
    assert option in message
    assert told in message
    assert "\n" not in message


def test_good_input_is_taken():
    spec = cluster.parse(make_item())
    assert spec.namespace == "payments--dev"
    assert spec.image_reference == "rancher/k3s:v1.34.4-k3s1"
    assert spec.server == Resources(Decimal(1), Decimal(1024**3))


def test_resources_left_out_is_what_the_cluster_itself_takes():
    spec = cluster.parse(make_item(agents=2))
    assert spec.resources.as_text() == {"cpu": "3", "memory": "5Gi", "storage": "5Gi", "pods": "3"}


def test_resources_partly_given():
    spec = cluster.parse(make_item(resources={"cpu": "4", "memory": None, "storage": None, "pods": 10}))
    assert spec.resources.as_text() == {"cpu": "4", "memory": "3Gi", "storage": "5Gi", "pods": "10"}


def test_without_persistence_no_storage_is_taken():
    spec = cluster.parse(make_item(persistence={"type": "none"}))
    assert spec.volume is None
    assert spec.resources.as_text()["storage"] == "0"


def test_shared_takes_what_it_is_given():
    given = {"storage_classes": ["fast", "fast", "archive"], "ingress_classes": ["nginx"], "pod_security": "restricted"}
    given["ingress_hosts"] = ["shop.example.com", "*.dev.example.com", "shop.example.com"]
    digest = "registry.example.com:5000/tools/syncer@sha256:" + "0" * 64
    spec = cluster.parse(make_item(**SHARED, **given, syncer_image=digest))
    assert (spec.mode, spec.cluster_cidr, spec.service_cidr) == ("shared", None, None)
    assert spec.shared.storage_classes == ("archive", "fast")
    assert spec.shared.ingress_classes == ("nginx",)
    assert spec.shared.ingress_hosts == ("*.dev.example.com", "shop.example.com")
    assert (spec.shared.pod_security, spec.shared.syncer_image) == ("restricted", digest)
    counted = {"cpu": "4", "memory": "4Gi", "storage": "5Gi", "pods": "20"}
    # Server and syncer take 1280Mi; each further pod adds 1Gi.
    further = {"ephemeral_storage": "19712Mi", "node_ports": "1", "load_balancers": "0"}
    assert spec.resources.as_text() == {**counted, **further}


def test_shared_without_lists_allows_any_storage_and_no_ingress():
    shared = cluster.parse(make_item(**SHARED)).shared
    assert (shared.storage_classes, shared.ingress_classes, shared.pod_security) == (None, (), "baseline")
    assert cluster.parse(make_item(**SHARED, storage_classes=[])).shared.storage_classes == ()


def test_dedicated_has_networks_of_its_own():
    spec = cluster.parse(make_item())
    assert (spec.mode, spec.cluster_cidr, spec.service_cidr) == ("dedicated", "10.52.0.0/16", "10.53.0.0/16")


def test_image_with_a_digest_is_that_image_and_no_other():
    digest = f"@sha256:{'0' * 64}"
    spec = cluster.parse(make_item(image=f"registry.example.com/rancher/k3s{digest}"))
    assert spec.image_reference == f"registry.example.com/rancher/k3s:{spec.version.replace('+', '-')}{digest}"


def test_another_release_is_not_run_by_the_digest_of_this_one():
    image = f"registry.example.com:5000/rancher/k3s:v1.34.4-k3s1@sha256:{'0' * 64}"
    assert images.of_tag(image, "v1.34.4-k3s1") == image
    assert images.of_tag(image, "v1.33.9-k3s1") == "registry.example.com:5000/rancher/k3s:v1.33.9-k3s1"


def test_no_image_of_the_syncer_is_taken_from_where_anybody_can_publish_it():
    for missing in (None, ""):
        with pytest.raises(TenantryError, match=r"syncer_image: required with mode shared.*podman build"):
            cluster.parse(make_item(**SHARED, syncer_image=missing))
    assert cluster.parse(make_item(syncer_image=None)).shared is None
    version = yaml.safe_load((Path(__file__).resolve().parents[5] / "galaxy.yml").read_text())["version"]
    assert mode.EXAMPLE.endswith(f"/syncer:{version}")


def test_record_can_be_read_back_and_holds_no_secret():
    spec = cluster.parse(make_item(registries={"configs": {"r": {"auth": {"password": "hunter2"}}}}))
    text = spec.record("192.0.2.10").as_text()
    record = VClusterRecord.of({"metadata": {"annotations": {SPEC_ANNOTATION: text}}})
    assert record.resources["cpu"] == "2"
    assert record.address == "192.0.2.10"
    assert "hunter2" not in text + repr(spec)


@pytest.mark.parametrize("annotations", [None, {}, {SPEC_ANNOTATION: "{"}, {SPEC_ANNOTATION: "[]"}])
def test_broken_record_is_empty(annotations):
    assert VClusterRecord.of({"metadata": {"annotations": annotations}}) == NO_RECORD


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("v1.34.4+k3s1", "v1.33.9+k3s1", "downgraded"),
        ("v1.34.4+k3s1", "v1.34.3+k3s1", "downgraded"),
        ("v1.32.8+k3s1", "v1.34.4+k3s1", "v1.33"),
    ],
)
def test_version_skips_and_downgrades_are_refused(old, new, told):
    with pytest.raises(TenantryError, match=told):
        check_upgrade(old, new)


@pytest.mark.parametrize("new", ["v1.34.4+k3s1", "v1.34.4+k3s2", "v1.34.9+k3s1", "v1.35.0+k3s1"])
def test_one_minor_version_up_is_allowed(new):
    check_upgrade("v1.34.4+k3s1", new)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"cluster_cidr": "10.60.0.0/16"}, "cluster_cidr:"),
        ({"service_cidr": "10.61.0.0/16"}, "service_cidr:"),
        ({"persistence": {"type": "none"}}, "persistence:"),
        ({"persistence": {"storage_class": "fast"}}, "storage_class:"),
        ({"version": "v1.33.4+k3s1"}, "version:"),
        (SHARED, "mode: cannot be changed from dedicated to shared .* restore a snapshot"),
    ],
)
def test_what_cannot_be_changed_is_refused(changes, option):
    before = cluster.parse(make_item())
    namespace = {"metadata": {"annotations": {SPEC_ANNOTATION: before.record("").as_text()}}}
    with pytest.raises(TenantryError, match=option):
        cluster.check_change(VClusterRecord.of(namespace), cluster.parse(make_item(**changes)))


def test_what_can_be_changed_is_accepted():
    namespace = {"metadata": {"annotations": {SPEC_ANNOTATION: cluster.parse(make_item()).record("").as_text()}}}
    changed = make_item(agents=3, persistence={"size": "9Gi"}, tier="prod", version="v1.35.0+k3s1")
    cluster.check_change(VClusterRecord.of(namespace), cluster.parse(changed))


def test_a_shared_one_keeps_the_network_it_was_made_with():
    before = replace(cluster.parse(make_item(**SHARED)), service_cidr="10.43.0.0/16")
    record = VClusterRecord.of({"metadata": {"annotations": {SPEC_ANNOTATION: before.record("").as_text()}}})
    cluster.check_change(record, before)
    with pytest.raises(TenantryError, match="service_cidr: cannot be changed"):
        cluster.check_change(record, replace(before, service_cidr="10.96.0.0/12"))
    with pytest.raises(TenantryError, match="mode: cannot be changed from shared to dedicated"):
        cluster.check_change(record, cluster.parse(make_item()))


def test_what_tenants_may_do_on_the_host_can_be_changed():
    before = cluster.parse(make_item(**SHARED))
    record = VClusterRecord.of({"metadata": {"annotations": {SPEC_ANNOTATION: before.record("").as_text()}}})
    changed = make_item(
        **SHARED, pod_security="restricted", storage_classes=["fast"], ingress_classes=["nginx"], ingress_hosts=["*"]
    )
    cluster.check_change(record, cluster.parse(changed))
