"""Options in, numbers or one line out."""

from __future__ import annotations

from decimal import Decimal

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils import _vcluster_spec as spec_module
from ansible_collections.tenantry.kube.plugins.module_utils._errors import TenantryError

from .example import make_item

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
    ({"servers": 3}, "servers:", "not supported yet"),
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
    ({"slice": {"cpu": "1500m"}}, "slice.cpu:", "2 or more"),
    ({"slice": {"memory": "2Gi"}}, "slice.memory:", "3Gi or more"),
    ({"slice": {"storage": "1Gi"}}, "slice.storage:", "5Gi or more"),
    ({"slice": {"pods": 1}}, "slice.pods:", "2 or more"),
    ({"slice": {"cpu": "lots"}}, "slice.cpu:", "lots"),
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
    ({"expose": {"type": "ClusterIP"}}, "expose.address:", "NodePort only"),
    ({"expose": {"type": "ClusterIP", "port": 30001, "address": None}}, "expose.port:", "NodePort only"),
    ({"image": "rancher/k3s:v1.34.4-k3s1"}, "image:", "without a tag"),
    ({"image": "k3s"}, "image:", "repository"),
    ({"image": "rancher/k3s@sha256:abc"}, "image:", "repository"),
    ({"image": "{{ image }}"}, "image:", "repository"),
    ({"registries": {"mirror": {}}}, "registries.mirror:", "did you mean mirrors"),
    ({"registries": {"mirrors": ["docker.io"]}}, "registries.mirrors:", "dictionary"),
]


@pytest.mark.parametrize(("changes", "option", "told"), BAD, ids=[str(row[0])[:60] for row in BAD])
def test_bad_input_is_one_line_with_option_and_rule(changes, option, told):
    with pytest.raises(TenantryError) as caught:
        spec_module.parse(make_item(**changes))
    message = str(caught.value)
    assert option in message
    assert told in message
    assert "\n" not in message


def test_good_input_is_taken():
    spec = spec_module.parse(make_item())
    assert spec.namespace == "payments--dev"
    assert spec.image_reference == "rancher/k3s:v1.34.4-k3s1"
    assert spec.server == spec_module.Resources(Decimal(1), Decimal(1024**3))


def test_slice_left_out_is_what_the_cluster_itself_takes():
    spec = spec_module.parse(make_item(agents=2))
    assert spec.slice.as_text() == {"cpu": "3", "memory": "5Gi", "storage": "5Gi", "pods": "3"}


def test_slice_partly_given():
    spec = spec_module.parse(make_item(slice={"cpu": "4", "memory": None, "storage": None, "pods": 10}))
    assert spec.slice.as_text() == {"cpu": "4", "memory": "3Gi", "storage": "5Gi", "pods": "10"}


def test_without_persistence_no_storage_is_taken():
    spec = spec_module.parse(make_item(persistence={"type": "none"}))
    assert spec.volume is None
    assert spec.slice.as_text()["storage"] == "0"


def test_record_can_be_read_back_and_holds_no_secret():
    spec = spec_module.parse(make_item(registries={"configs": {"r": {"auth": {"password": "hunter2"}}}}))
    text = spec.record("192.0.2.10")
    record = spec_module.recorded({"metadata": {"annotations": {spec_module.SPEC_ANNOTATION: text}}})
    assert record["slice"]["cpu"] == "2"
    assert record["address"] == "192.0.2.10"
    assert "hunter2" not in text + repr(spec)


@pytest.mark.parametrize(
    "annotations", [None, {}, {spec_module.SPEC_ANNOTATION: "{"}, {spec_module.SPEC_ANNOTATION: "[]"}]
)
def test_broken_record_is_empty(annotations):
    assert spec_module.recorded({"metadata": {"annotations": annotations}}) == {}


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
        spec_module.check_upgrade(old, new)


@pytest.mark.parametrize("new", ["v1.34.4+k3s1", "v1.34.4+k3s2", "v1.34.9+k3s1", "v1.35.0+k3s1"])
def test_one_minor_version_up_is_allowed(new):
    spec_module.check_upgrade("v1.34.4+k3s1", new)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"cluster_cidr": "10.60.0.0/16"}, "cluster_cidr:"),
        ({"service_cidr": "10.61.0.0/16"}, "service_cidr:"),
        ({"persistence": {"type": "none"}}, "persistence:"),
        ({"persistence": {"storage_class": "fast"}}, "storage_class:"),
        ({"version": "v1.33.4+k3s1"}, "version:"),
    ],
)
def test_what_cannot_be_changed_is_refused(changes, option):
    before = spec_module.parse(make_item())
    namespace = {"metadata": {"annotations": {spec_module.SPEC_ANNOTATION: before.record("")}}}
    with pytest.raises(TenantryError, match=option):
        spec_module.check_change(spec_module.recorded(namespace), spec_module.parse(make_item(**changes)))


def test_what_can_be_changed_is_accepted():
    namespace = {"metadata": {"annotations": {spec_module.SPEC_ANNOTATION: spec_module.parse(make_item()).record("")}}}
    changed = make_item(agents=3, persistence={"size": "9Gi"}, tier="prod", version="v1.35.0+k3s1")
    spec_module.check_change(spec_module.recorded(namespace), spec_module.parse(changed))
