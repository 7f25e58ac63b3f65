"""Each field of an Ingress and of a slice, of the API's schema: set, changed and taken away, it is so on the host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from . import schema
from .harness import until
from .syncer_pair import Pair, PairSpace

# Values by leaf; others are made up by type.
INGRESS = {
    "ingressClassName": ("nginx", "nginx"),
    "rules.host": ("a.dev.example.com", "b.dev.example.com"),
    "path": ("/one", "/two"),
    "pathType": ("Prefix", "Exact"),
    "service.name": ("web", "other"),
    "port.name": ("http", "https"),
    "tls.hosts": (["a.dev.example.com"], ["b.dev.example.com", "c.dev.example.com"]),
    "secretName": ("first", "second"),
}
BACKEND = "rules.http.paths.backend"
# Never on the host, and told: here they are left out, below they are tried.
DENIED = {
    "defaultBackend": {"service": {"name": "web", "port": {"number": 80}}},
    f"{BACKEND}.resource": {"kind": "Bucket", "name": "x"},
}
SLICE = {
    "addresses": (["198.51.100.1"], ["198.51.100.2"]),
    "conditions.ready": (True, False),
    "conditions.serving": (True, False),
    "conditions.terminating": (False, True),
    "hostname": ("a", "b"),
    "appProtocol": ("http", "https"),
    "protocol": ("TCP", "UDP"),
    "nodeName": ("node-1", "node-2"),
    "targetRef.kind": ("Pod", "Pod"),
}
# Of the object itself; and what the API server takes from nobody.
NOT_MEANT = {"apiVersion", "kind", "metadata", "addressType", "endpoints.deprecatedTopology"}
# What the DNS inside and others there read, and nobody on the host. docs/shared-mode.md names them.
INSIDE = ("hostname", "targetRef")


@pytest.fixture(scope="module")
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space("fields") as found:
        for name in ("web", "other"):
            spec = {"selector": {"app": name}, "ports": [{"port": 80}]}
            found.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})
        bare = {"ports": [{"port": 80}]}
        found.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bare"}, "spec": bare})
        until(lambda: all(found.found_on_host("services", name) for name in ("web", "other", "bare")))
        yield found


def objects(known: dict, name: str, values: dict, without: set[str], fixed: set[str]) -> Iterator[tuple[str, dict]]:
    """With all fields, each with a value and another; and without each. What it was made by, and the object."""
    for number in (0, 1):
        yield f"values {number}", schema.sample(known, name, values, number, without)
    for leaf in schema.leaves(known, name):
        covered = any(leaf == one or leaf.startswith(f"{one}.") for one in without)
        if not covered and leaf not in fixed:
            yield f"without {leaf}", schema.sample(known, name, values, 0, {*without, leaf})


def _try_all(given: Iterator[tuple[str, dict]], put: Callable[[dict], None], agree: Callable[[dict], bool]) -> None:
    wrong = []
    for how, one in given:
        put(one)
        try:
            until(lambda one=one: agree(one), 15)
        except AssertionError:
            wrong.append(how)
    assert not wrong


@pytest.mark.parametrize("port", ["name", "number"])
def test_what_is_in_an_ingress_is_so_on_the_host(pair: Pair, space: PairSpace, port: str) -> None:
    known = schema.schemas(pair.virtual, "apis/networking.k8s.io/v1")
    other = {"name": "number", "number": "name"}[port]
    without = {*DENIED, f"{BACKEND}.service.port.{other}"}
    fixed = {*schema.required(known, "IngressSpec"), "rules.http.paths.path", f"{BACKEND}.service.port.{port}"}
    given = objects(known, "IngressSpec", INGRESS, without, fixed)

    def put(spec: dict) -> None:
        body = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": port}, "spec": spec}
        space.apply(body)

    def agree(spec: dict) -> bool:
        copy = space.found_on_host("ingresses", port)
        return (copy["spec"] if copy else None) == _ingress_on_host(space, spec)

    _try_all(given, put, agree)


def _ingress_on_host(space: PairSpace, spec: dict) -> dict | None:
    """Without a class, or a host, there is nothing that the platform could offer."""
    rules = [rule for rule in spec.get("rules", []) if rule.get("host")]
    if "ingressClassName" not in spec or not rules:
        return None
    made = {"ingressClassName": spec["ingressClassName"], "rules": []}
    for rule in rules:
        (path,) = rule["http"]["paths"]
        service = path["backend"]["service"]
        name = space.found_on_host("services", service["name"])["metadata"]["name"]
        backend = {"service": {"name": name, "port": service["port"]}}
        made["rules"].append({"host": rule["host"], "http": {"paths": [{**path, "backend": backend}]}})
    tls = [one for one in spec.get("tls", []) if one.get("hosts")]
    if tls:
        made["tls"] = [_certificate(space, one) for one in tls]
    return made


def _certificate(space: PairSpace, one: dict) -> dict:
    """The Secret need not be there: its name is that of its copy, which begins as it does."""
    if "secretName" not in one:
        return one
    copies = space.host.list("ingresses", space.vcluster)
    named = {tls.get("secretName", "") for copy in copies for tls in copy["spec"].get("tls") or []}
    found = [name for name in named if name.startswith(f"{one['secretName']}-{space.name}-")]
    return {**one, "secretName": found[0] if found else None}


@pytest.mark.parametrize("field", DENIED)
def test_what_an_ingress_may_not_have_is_reported(pair: Pair, space: PairSpace, field: str) -> None:
    name = field.rpartition(".")[2].lower()
    path = {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}
    spec: dict[str, Any] = {"ingressClassName": "nginx"}
    spec["rules"] = [{"host": "r.dev.example.com", "http": {"paths": [path, {**path, "path": "/r"}]}}]
    if field == "defaultBackend":
        spec[field] = DENIED[field]
    else:
        spec["rules"][0]["http"]["paths"][1]["backend"] = {"resource": DENIED[field]}
    space.apply({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec})
    until(lambda: space.told(name, field.rpartition(".")[2]))
    copy = until(lambda: space.found_on_host("ingresses", name))
    assert DENIED[field] not in [copy["spec"].get("defaultBackend"), *_resources(copy)]


def _resources(copy: dict) -> list[Any]:
    return [path["backend"].get("resource") for rule in copy["spec"]["rules"] for path in rule["http"]["paths"]]


def test_what_is_in_a_slice_is_so_on_the_host(pair: Pair, space: PairSpace) -> None:
    known = schema.schemas(pair.virtual, "apis/discovery.k8s.io/v1")
    fixed = {*schema.required(known, "EndpointSlice"), "endpoints.targetRef.kind", "ports.port"}
    given = objects(known, "EndpointSlice", SLICE, NOT_MEANT, fixed)
    metadata = {"name": "bare-1", "labels": {"kubernetes.io/service-name": "bare"}}
    whole = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4", "metadata": metadata}

    def agree(_one: dict) -> bool:
        inside, copy = space.get("endpointslices", "bare-1"), space.found_on_host("endpointslices", "bare-1")
        endpoints = [_without(one, INSIDE) for one in inside["endpoints"]]
        return copy is not None and (copy["endpoints"], copy["ports"]) == (endpoints, inside["ports"])

    _try_all(given, lambda one: space.apply({**whole, **one}), agree)


def _without(endpoint: dict, fields: tuple[str, ...]) -> dict:
    return {key: value for key, value in endpoint.items() if key not in fields}
