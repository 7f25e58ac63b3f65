"""Services, slices, ingresses and claims: what of them comes out on the host."""

from __future__ import annotations

import dataclasses
import json

import pytest
from tenantry_syncer import ingresses, names, services
from tenantry_syncer.endpoints import Slices, is_allowed
from tenantry_syncer.ingresses import Ingresses
from tenantry_syncer.kinds import SERVICE
from tenantry_syncer.sides import Sides
from tenantry_syncer.storage import Claims

from .objects import CONFIG, PLATFORMS, service, strings

PORT = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": "web", "appProtocol": "h2c"}


@pytest.mark.parametrize(
    ("spec", "copied"),
    [
        ({"clusterIP": "10.43.0.9"}, True),
        ({"clusterIP": "10.43.0.9", "type": "NodePort"}, True),
        ({"clusterIP": "None"}, False),
        ({}, False),
        ({"type": "ExternalName", "externalName": "server.payments--dev.svc"}, False),
        ({"type": "ExternalName", "externalName": "x", "clusterIP": "10.43.0.9"}, False),
    ],
)
def test_which_services_are_copied(spec, copied):
    assert services.is_copied(service(spec)) is copied


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
def test_passes_as_it_is(field, value):
    assert services.host_spec(service({field: value})) == {field: value, "ports": []}


@pytest.mark.parametrize(("kind", "passes"), [("ClusterIP", False), ("NodePort", True), ("LoadBalancer", True)])
def test_ways_from_outside_are_told_of_services_that_have_any(kind, passes):
    """An API server defaults them for external addresses, which stay inside, and refuses them without."""
    outside = {"externalTrafficPolicy": "Local", "loadBalancerSourceRanges": ["10.0.0.0/8"]}
    made = services.host_spec(service({"type": kind, **outside}))
    assert {key: made[key] for key in outside if key in made} == (outside if passes else {})


@pytest.mark.parametrize(
    "field",
    [
        *("externalIPs", "externalName", "loadBalancerIP", "loadBalancerClass", "allocateLoadBalancerNodePorts"),
        *("healthCheckNodePort", "clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "somethingNew"),
    ],
)
def test_stays_inside(field):
    assert services.host_spec(service({field: ["192.0.2.1"]})) == {"ports": []}


def test_ports_have_the_hosts_node_ports():
    assert services.host_spec(service({"ports": [{**PORT, "nodePort": 30000}]}))["ports"] == [PORT]


@pytest.mark.parametrize(
    "selector",
    [
        {"app.kubernetes.io/component": "server"},
        {"tenantry.dev/vcluster": "payments--dev"},
        {"tenantry.dev/virtual-namespace": "x", "statefulset.kubernetes.io/pod-name": "server-0"},
    ],
)
def test_a_selector_finds_pods_of_its_namespace_alone(selector):
    made = services.host_spec(service({"selector": selector}))["selector"]
    assert made.pop(names.NAMESPACE_LABEL) == names.digest("shop")
    assert len(made) == len(selector)
    assert all(key.startswith(names.TENANT_LABELS) for key in made)


def test_a_service_made_anew_is_the_same_but_for_its_address():
    owners = [{"kind": "App", "name": "x", "uid": "o"}]
    given = service({"clusterIP": "10.43.0.9", "clusterIPs": ["10.43.0.9"], "ports": [PORT]}, ownerReferences=owners)
    anew = services._anew(given)
    assert anew["spec"] == {"ports": [PORT]}
    assert anew["metadata"] == {"name": "web", "namespace": "shop", "ownerReferences": owners}


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("192.0.2.7", True),
        ("10.42.0.7", True),
        ("2001:db8::1", True),
        ("127.0.0.1", False),
        ("127.9.9.9", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("169.254.169.254", False),
        ("::ffff:169.254.169.254", False),
        ("fe80::1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_addresses_of_endpoints(address, allowed):
    assert is_allowed(address) is allowed


def sides(*inside: dict, **config: object) -> Sides:
    """With caches that know these services, and no API servers."""
    made = Sides(dataclasses.replace(CONFIG, **config), None, None)
    for one in inside:
        made.inside.cache(SERVICE).put(one)
    return made


def a_slice(owner: str = "web", **fields: object) -> dict:
    labels = {"kubernetes.io/service-name": owner, "endpointslice.kubernetes.io/managed-by": "theirs", "x": "y"}
    metadata = {"name": "web-1", "namespace": "shop", "uid": "e-1", "labels": labels, "annotations": {"x": "y"}}
    return {"metadata": metadata, "addressType": "IPv4", "ports": [{"port": 80}], "endpoints": [], **fields}


def test_a_slice_belongs_to_the_copy_of_its_service():
    reference = {"kind": "Pod", "name": "server-0", "namespace": "payments--dev"}
    endpoints = [
        {
            "addresses": ["192.0.2.7"],
            "conditions": {"ready": True},
            "targetRef": reference,
            "nodeName": "a",
            "zone": "z",
        },
        {"addresses": ["192.0.2.8", "127.0.0.1"]},
    ]
    made = Slices(sides(service({"clusterIP": "10.43.0.9"})))._wanted(a_slice(endpoints=endpoints))
    assert made["endpoints"] == [{"addresses": ["192.0.2.7"], "conditions": {"ready": True}}]
    assert made["metadata"]["labels"] == {
        **CONFIG.labels,
        names.MANAGED_BY: names.SYNCER,
        names.COMPONENT: "slice",
        "kubernetes.io/service-name": names.host_name("shop", "web"),
        "endpointslice.kubernetes.io/managed-by": names.SYNCER,
    }


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ({"clusterIP": "10.43.0.9", "selector": {"app": "web"}}, "web"),
        ({"clusterIP": "None"}, "web"),
        ({"clusterIP": "10.43.0.9"}, "other"),
    ],
)
def test_slices_of_other_services_stay_inside(spec, name):
    assert Slices(sides(service(spec, name)))._wanted(a_slice()) is None


@pytest.mark.parametrize(("namespace", "name"), services.PLATFORMS)
def test_slices_of_the_platforms_services_stay_inside(namespace, name):
    found = a_slice(name)
    found["metadata"]["namespace"] = namespace
    assert Slices(sides(service({"clusterIP": "10.43.0.9"}, name, namespace)))._wanted(found) is None


def ingress(name: str, **fields: object) -> dict:
    backend = {"service": {"name": name, "port": {"number": 80}}}
    rules = [{"host": "shop.example.com", "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}]
    spec = {"defaultBackend": backend, "rules": rules, "tls": [{"hosts": ["x"], "secretName": name}, {}], **fields}
    return {"metadata": {"name": "i", "namespace": "shop"}, "spec": spec}


@pytest.mark.parametrize("name", PLATFORMS)
def test_ingresses_lead_to_services_of_the_virtual_cluster(name):
    found = strings(ingresses.host_spec(json.loads(json.dumps(ingress(name)))))
    assert name not in found
    assert found.count(names.host_name("shop", name)) == 3


def test_ingresses_lead_to_no_other_resources():
    bucket = {"resource": {"kind": "Secret", "name": "join-token"}}
    assert ingresses.host_spec(ingress("web", defaultBackend=bucket))["defaultBackend"] == {}


@pytest.mark.parametrize(
    ("allowed", "wanted", "refused"),
    [
        ((), "nginx", True),
        ((), None, True),
        (("traefik",), "nginx", True),
        (("traefik",), None, True),
        (("traefik",), "traefik", False),
    ],
)
def test_classes_of_ingresses(allowed, wanted, refused):
    problem = Ingresses(sides(ingress_classes=allowed), None)._class_problem(ingress("web", ingressClassName=wanted))
    assert (problem is not None) is refused


def rule(host: str | None, service_name: str = "web") -> dict:
    backend = {"service": {"name": service_name, "port": {"number": 80}}}
    return {**({"host": host} if host else {}), "http": {"paths": [{"path": "/", "backend": backend}]}}


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"rules": [rule("shop.example.com")]}, None),
        ({"rules": [rule("shop.example.com"), rule(None)]}, "spec.rules"),
        ({"rules": [rule("*.example.com")]}, "spec.rules"),
        ({"rules": [rule("shop.example.com", "by-hand")]}, "by-hand"),
        ({"defaultBackend": {"service": {"name": "web"}}, "rules": []}, "spec.defaultBackend"),
    ],
)
def test_an_ingress_takes_nothing_that_is_others(fields, word):
    known = sides(
        service({"selector": {"app": "web"}}, "web"),
        service({}, "by-hand"),
        ingress_classes=("nginx",),
        ingress_hosts=("*",),
    )
    given = ingress("web", **{"defaultBackend": None, "tls": [], "ingressClassName": "nginx", **fields})
    problem = Ingresses(known, None)._problem(given)
    assert (word in problem) if word else problem is None


@pytest.mark.parametrize(
    ("offered", "host", "refused"),
    [
        ((), "shop.example.com", True),
        (("*",), "shop.example.com", False),
        (("shop.example.com",), "shop.example.com", False),
        (("shop.example.com",), "shop.example.com.evil.com", True),
        (("shop.example.com",), "a.shop.example.com", True),
        (("*.dev.example.com",), "a.b.dev.example.com", False),
        (("*.dev.example.com",), "dev.example.com", True),
        (("*.dev.example.com",), "baddev.example.com", True),
        (("a.example.com", "b.example.com"), "b.example.com", False),
    ],
)
@pytest.mark.parametrize("where", ["rules", "tls"])
def test_host_names_are_those_offered(offered, host, refused, where):
    known = sides(service({"selector": {"app": "web"}}, "web"), ingress_classes=("nginx",), ingress_hosts=offered)
    given = ingress("web", ingressClassName="nginx", rules=[rule(host)], defaultBackend=None, tls=[])
    if where == "tls":
        own = (*offered, "own.example.com")
        known = sides(service({"selector": {"app": "web"}}, "web"), ingress_classes=("nginx",), ingress_hosts=own)
        given["spec"] |= {"rules": [rule("own.example.com")], "tls": [{"hosts": [host]}]}
    problem = Ingresses(known, None)._problem(given)
    assert host in problem if refused else problem is None, problem


@pytest.mark.parametrize(
    ("allowed", "spec", "refused"),
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
        (None, {"volumeAttributesClassName": "gold"}, True),
        (None, {"volumeName": "pv-1"}, False),
    ],
)
def test_claims(allowed, spec, refused):
    problem = Claims(sides(storage_classes=allowed), None)._problem(spec)
    assert (problem is not None) is refused
