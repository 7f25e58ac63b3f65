"""Services and claims: what reaches the host."""

from __future__ import annotations

import dataclasses

import pytest
from tenantry_syncer import naming
from tenantry_syncer.controllers import services
from tenantry_syncer.controllers.events import Events
from tenantry_syncer.controllers.persistent_volume_claims import PersistentVolumeClaims
from tenantry_syncer.kube.resources import SERVICE
from tenantry_syncer.sync_context import SyncContext

from ..object_store import with_store
from ..objects import CONFIG, service

PORT = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web", "appProtocol": "h2c"}


@pytest.mark.parametrize(
    ("spec", "synced"),
    [
        ({"clusterIP": "10.43.0.9"}, True),
        ({"clusterIP": "10.43.0.9", "type": "NodePort"}, True),
        ({"clusterIP": "None"}, False),
        ({}, False),
        ({"type": "ExternalName", "externalName": "server.payments--dev.svc"}, False),
        ({"type": "ExternalName", "externalName": "x", "clusterIP": "10.43.0.9"}, False),
    ],
)
def test_is_synced(spec, synced):
    assert services.is_synced(service(spec)) is synced


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("type", "NodePort"),
        ("sessionAffinity", "ClientIP"),
        ("sessionAffinityConfig", {"clientIP": {"timeoutSeconds": 5}}),
        ("internalTrafficPolicy", "Local"),
        ("publishNotReadyAddresses", True),
        ("trafficDistribution", "PreferClose"),
    ],
)
def test_host_spec_passes_field_unchanged(field, value):
    assert services.host_spec(service({field: value})) == {field: value, "ports": []}


@pytest.mark.parametrize(("kind", "passes"), [("ClusterIP", False), ("NodePort", True), ("LoadBalancer", True)])
def test_host_spec_exposure_fields_by_type(kind, passes):
    """An API server sets them by default with externalIPs, which are not passed on, and rejects them without."""
    exposed = {
        "externalTrafficPolicy": "Local",
        "loadBalancerSourceRanges": ["10.0.0.0/8"],
        "allocateLoadBalancerNodePorts": False,
        "healthCheckNodePort": 30999,
    }
    numbered = [{**PORT, "nodePort": 30000}]
    made = services.host_spec(service({"type": kind, "ports": numbered, **exposed}))
    assert {key: made[key] for key in exposed if key in made} == (exposed if passes else {})
    assert made["ports"] == (numbered if passes else [PORT])


def test_host_spec_of_a_load_balancer_class_is_not_the_hosts():
    """Its default implementation may be open to everybody, unlike that of the class."""
    numbered = [{**PORT, "nodePort": 30000}]
    given = {"type": "LoadBalancer", "loadBalancerClass": "example.com/internal", "ports": numbered}
    assert services.host_spec(service(given)) == {"type": "ClusterIP", "ports": [PORT]}


ASIDE = ("externalIPs", "loadBalancerIP", "loadBalancerClass", "somethingNew")


@pytest.mark.parametrize("field", [*ASIDE, "externalName", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"])
def test_host_spec_omits_field(field):
    assert services.host_spec(service({field: ["192.0.2.1"]})) == {"ports": []}


@pytest.mark.parametrize("field", ASIDE)
def test_left_out_reports_field(field):
    decided = {"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"], "ipFamilies": ["IPv4"]}
    given = {**decided, "ipFamilyPolicy": "SingleStack", "ports": [PORT], "selector": {"a": "b"}}
    assert services.left_out(service({**given, field: "x"})) == [field]
    assert services.left_out(service({**given, "ipFamilyPolicy": "RequireDualStack"})) == ["ipFamilyPolicy"]


def managed(port: int, manager: str = "kubectl") -> dict:
    field = f'k:{{"port":{port},"protocol":"TCP"}}'
    return {"manager": manager, "fieldsV1": {"f:spec": {"f:ports": {field: {"f:port": {}, "f:nodePort": {}}}}}}


@pytest.mark.parametrize(
    ("managers", "asked"),
    [([], set()), ([managed(80)], {30080}), ([managed(81)], set()), ([managed(80, "tenantry-syncer")], set())],
)
def test_requested_node_ports_have_a_field_manager(managers, asked):
    """A node port that an API server allocated or the syncer set may change."""
    ports = [{**PORT, "nodePort": 30080}]
    assert services._requested_node_ports(service({"ports": ports}, managedFields=managers)) == asked


@pytest.mark.parametrize(
    "selector",
    [
        {"app.kubernetes.io/component": "server"},
        {"tenantry.dev/vcluster": "payments--dev"},
        {"tenantry.dev/virtual-namespace": "x", "statefulset.kubernetes.io/pod-name": "server-0"},
    ],
)
def test_host_spec_selector_includes_namespace(selector):
    made = services.host_spec(service({"selector": selector}))["selector"]
    assert made.pop(naming.NAMESPACE_LABEL) == naming.digest("shop")
    assert len(made) == len(selector)
    assert all(key.startswith(naming.TENANT_LABELS) for key in made)


def test_manifest_to_recreate_omits_cluster_ip():
    owners = [{"kind": "App", "name": "x", "uid": "o"}]
    given = service({"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"], "ports": [PORT]}, ownerReferences=owners)
    manifest = services._manifest_to_recreate(given)
    assert manifest["spec"] == {"ports": [PORT]}
    assert manifest["metadata"] == {"name": "web", "namespace": "shop", "ownerReferences": owners}


def context(*virtual: dict, **config: object) -> SyncContext:
    """Return a context whose caches contain these services, without API servers."""
    made = SyncContext(dataclasses.replace(CONFIG, **config), None, None)
    for one in virtual:
        made.virtual.cache(SERVICE).put(one)
    return made


@pytest.mark.parametrize(
    ("allowed", "spec", "rejected"),
    [
        (None, {}, False),
        (None, {"storageClassName": "fast"}, False),
        (None, {"storageClassName": ""}, True),
        ((), {}, True),
        ((), {"storageClassName": "fast"}, True),
        (("slow",), {"storageClassName": "fast"}, True),
        (("slow",), {"storageClassName": ""}, True),
        (("slow",), {"storageClassName": "slow"}, False),
        (("slow",), {}, False),
        (None, {"dataSource": {"kind": "PersistentVolumeClaim", "name": "data-server-0"}}, True),
        (None, {"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "x", "namespace": "bank"}}, True),
        (None, {"selector": {"matchLabels": {}, "matchExpressions": []}}, True),
        (None, {"selector": {}}, True),
        (None, {"volumeAttributesClassName": "gold"}, True),
        (None, {"volumeName": "pv-1"}, False),
    ],
)
def test_claim_problem(allowed, spec, rejected):
    problem = PersistentVolumeClaims(context(storage_classes=allowed), None)._problem(
        spec, spec.get("storageClassName")
    )
    assert (problem is not None) is rejected


def test_node_ports_are_copied_back_only_to_the_service_they_are_for():
    """Its ports may have changed since it was read, and the patch has all of them."""

    async def scenario(store, api):
        made = SyncContext(CONFIG, api, api)
        known = service({"type": "NodePort", "ports": [{**PORT, "nodePort": 30000}]}, resourceVersion="3")
        sent = []

        async def merge(_path: str, body: dict, **_options: object) -> dict:
            sent.append(body)
            return {**known, "kind": "Service"}

        made.virtual.api.merge = merge
        host_object = {"metadata": {}, "spec": {"ports": [{**PORT, "nodePort": 30001}]}, "status": {}}
        await services.Services(made, Events(made))._sync_status(known, host_object, ports=True)
        (patch,) = sent
        assert patch["metadata"] == {"uid": "s-1", "resourceVersion": "3"}
        assert patch["spec"]["ports"][0]["nodePort"] == 30001

    with_store(scenario)


@pytest.mark.parametrize(("on_host", "forgotten"), [("LoadBalancer", True), ("ClusterIP", False)])
def test_address_of_a_host_before_is_forgotten_where_the_class_is_not_its(on_host, forgotten):
    """The host is about to release it. Later, the status is that of a controller in the virtual cluster."""

    async def scenario(_store, api):
        made = SyncContext(CONFIG, api, api)
        known = service({"type": "LoadBalancer", "loadBalancerClass": "example.com/internal"})
        sent = []

        async def merge(_path: str, body: dict, **_options: object) -> dict:
            sent.append(body["status"])
            return {**known, "kind": "Service"}

        made.virtual.api.merge = merge
        await services.Services(made, Events(made))._forget_address(known, {"spec": {"type": on_host}})
        assert sent == ([{"loadBalancer": {"ingress": None}}] if forgotten else [])

    with_store(scenario)
