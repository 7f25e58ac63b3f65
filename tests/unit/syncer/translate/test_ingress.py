"""What of an ingress reaches the host: listed fields, harmless values, each part by itself."""

from __future__ import annotations

import copy

import pytest
from tenantry_syncer import naming
from tenantry_syncer.controllers.ingresses import Ingresses
from tenantry_syncer.translate.ingress import Offers, check, kept, services_of

from ..controllers.test_services import context
from ..objects import PLATFORM_OBJECTS, service, strings

OFFERS = Offers(("nginx",), ("*.example.com",))
NAME = naming.host_name("shop", "web")


def path(text: str | None = "/", kind: str = "Prefix", to: str = "web", **more: object) -> dict:
    backend = {"service": {"name": to, "port": {"number": 80}}}
    return {**({} if text is None else {"path": text}), "pathType": kind, "backend": backend, **more}


def rule(host: str | None = "shop.example.com", *paths: dict, **more: object) -> dict:
    return {**({"host": host} if host else {}), "http": {"paths": list(paths) or [path()]}, **more}


def ingress(*rules: dict, annotations: dict | None = None, **fields: object) -> dict:
    metadata = {"name": "i", "namespace": "shop", "uid": "i-1", "annotations": annotations or {}}
    spec = {"ingressClassName": "nginx", "rules": list(rules) or [rule()], **fields}
    return {"metadata": metadata, "spec": copy.deepcopy(spec)}


def everywhere(_name: str) -> None:
    """Every service may be led to."""


def checked(given: dict, offers: Offers = OFFERS):
    before = copy.deepcopy(given)
    found = check(given, offers, everywhere)
    assert given == before, "what the cache holds was changed"
    return found


def test_all_that_is_passed_on():
    named = {"name": "web", "port": {"name": "http"}}
    second = {"path": "/b", "pathType": "Exact", "backend": {"service": named}}
    tls = [{"hosts": ["shop.example.com"], "secretName": "cert"}, {"hosts": ["*.example.com"]}]
    found = checked(ingress(rule("shop.example.com", path("/a"), second), tls=tls))
    assert found.problems == []
    assert found.spec == {
        "ingressClassName": "nginx",
        "rules": [
            {
                "host": "shop.example.com",
                "http": {
                    "paths": [
                        {
                            "path": "/a",
                            "pathType": "Prefix",
                            "backend": {"service": {"name": NAME, "port": {"number": 80}}},
                        },
                        {
                            "path": "/b",
                            "pathType": "Exact",
                            "backend": {"service": {"name": NAME, "port": {"name": "http"}}},
                        },
                    ]
                },
            }
        ],
        "tls": [
            {"hosts": ["shop.example.com"], "secretName": naming.host_name("shop", "cert")},
            {"hosts": ["*.example.com"]},
        ],
    }


@pytest.mark.parametrize("name", PLATFORM_OBJECTS)
def test_ingresses_lead_to_services_of_the_virtual_cluster(name):
    tls = [{"hosts": ["shop.example.com"], "secretName": name}]
    found = strings(checked(ingress(rule("shop.example.com", path(to=name)), tls=tls)).spec)
    assert name not in found
    assert found.count(naming.host_name("shop", name)) == 2


# Every place of an ingress that a field could be added to, with one that nobody knows.
UNLISTED = {
    "spec.somethingNew": ingress(somethingNew="x"),
    "spec.defaultBackend": ingress(defaultBackend={"service": {"name": "web"}}),
    "spec.rules[0].somethingNew": ingress(rule(somethingNew="x")),
    "spec.rules[0].http.somethingNew": ingress(
        {"host": "a.example.com", "http": {"paths": [path()], "somethingNew": "x"}}
    ),
    "spec.rules[0].http.paths[0].headers": ingress(rule("a.example.com", path(headers="x"))),
    "spec.rules[0].http.paths[0].backend.resource": ingress(
        rule("a.example.com", path(backend={"resource": {"kind": "Secret", "name": "join-token"}}))
    ),
    "spec.rules[0].http.paths[0].backend.service.namespace": ingress(
        rule("a.example.com", path(backend={"service": {"name": "web", "namespace": "bank", "port": {"number": 80}}}))
    ),
    "spec.rules[0].http.paths[0].backend.service.port.scheme": ingress(
        rule("a.example.com", path(backend={"service": {"name": "web", "port": {"number": 80, "scheme": "x"}}}))
    ),
    "spec.tls[0].options": ingress(tls=[{"hosts": ["a.example.com"], "options": "x"}]),
}


@pytest.mark.parametrize("where", UNLISTED)
def test_a_field_is_passed_on_because_it_is_listed(where):
    found = checked(UNLISTED[where])
    assert where.rpartition(".")[2] not in strings(found.spec or {})
    assert [problem for problem in found.problems if problem.startswith(where)]


@pytest.mark.parametrize("text", ["/", "/a/b-c_d.e~f", "/a%20b", "/v1:get", "/a=b&c,d", "/@me", "/x+y!"])
@pytest.mark.parametrize("kind", ["Prefix", "Exact"])
def test_paths_pass(text, kind):
    (made,) = checked(ingress(rule("a.example.com", path(text, kind)))).spec["rules"][0]["http"]["paths"]
    assert (made["path"], made["pathType"]) == (text, kind)


SYNTAX = (
    [chr(number) for number in range(0x21)]
    + list("`(){}[]<>\"'$;|\\^*#?")
    + ["\x7f", "\u00e9", "\u2028", "%-", "%g6", "%zz"]
)


@pytest.mark.parametrize("text", SYNTAX)
@pytest.mark.parametrize("place", ["/{}", "/a{}b", "{}"])
@pytest.mark.parametrize("kind", ["Prefix", "Exact", "ImplementationSpecific"])
def test_no_path_is_more_than_a_path(text, place, kind):
    offers = Offers(("nginx",), ("*",), specific_paths=True)
    found = checked(ingress(rule("a.example.com", path(place.format(text), kind))), offers)
    allowed = text == "*" and kind == "ImplementationSpecific" and place != "{}"
    assert (found.spec is not None) is allowed
    if not allowed:
        assert found.problems[0].startswith("spec.rules[0].http.paths[0].path")


@pytest.mark.parametrize("path_type", [None, "", "Regex", "ImplementationSpecific"])
def test_path_types_that_are_not_offered(path_type):
    found = checked(ingress(rule("a.example.com", path(kind=path_type))))
    assert found.spec is None
    assert "Use Prefix or Exact" in found.problems[0]


@pytest.mark.parametrize(
    "host", ["a`b.example.com", "a b.example.com", "a;.example.com", "$x.example.com", "-.example.com"]
)
@pytest.mark.parametrize("where", ["rules", "tls"])
def test_hosts_are_host_names(host, where):
    given = ingress(rule(host)) if where == "rules" else ingress(tls=[{"hosts": [host]}])
    found = checked(given, Offers(("nginx",), ("*",)))
    assert host not in strings(found.spec or {})
    assert "is not a valid host name" in found.problems[0]


@pytest.mark.parametrize("secret", ["a b", "bank/cert", "../cert", "a`"])
def test_secrets_are_names(secret):
    found = checked(ingress(tls=[{"hosts": ["shop.example.com"], "secretName": secret}]))
    assert "tls" not in found.spec
    assert "secretName" in found.problems[0]


@pytest.mark.parametrize(
    ("allowed", "wanted", "rejected"),
    [((), "nginx", True), ((), None, True), (("traefik",), "nginx", True), (("traefik",), None, True)]
    + [(("traefik",), "traefik", False)],
)
def test_classes_of_ingresses(allowed, wanted, rejected):
    found = checked(ingress(ingressClassName=wanted), Offers(allowed, ("*",)))
    assert (found.spec is None) is rejected
    assert bool(found.problems) is rejected


def test_a_class_by_annotation_is_told_not_to_count():
    old = ingress(annotations={"kubernetes.io/ingress.class": "nginx"}, ingressClassName=None)
    assert "annotation kubernetes.io/ingress.class is ignored. Use nginx" in checked(old).problems[0]


def test_annotations_that_are_configuration_of_the_proxy_are_told_to_stay():
    found = checked(ingress(annotations={"nginx.ingress.kubernetes.io/rewrite-target": "/", "team": "shop"}))
    assert found.spec is not None
    assert found.problems == [
        "metadata.annotations: nginx.ingress.kubernetes.io/rewrite-target: not passed on. "
        "The host's controller does not see them."
    ]


@pytest.mark.parametrize(
    ("offered", "host", "rejected"),
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
def test_host_names_are_those_offered(offered, host, rejected, where):
    """One that is refused leaves the others."""
    own = rule("own.example.net")
    given = ingress(own, rule(host)) if where == "rules" else ingress(own, tls=[{"hosts": [host]}])
    found = checked(given, Offers(("nginx",), (*offered, "own.example.net")))
    assert found.spec["rules"][0]["host"] == "own.example.net"
    assert (host in strings(found.spec)) is not rejected
    assert [host in problem for problem in found.problems] == [True] * rejected


@pytest.mark.parametrize("host", [None, "", "*.example.com", "*"])
def test_a_rule_takes_nothing_that_is_others(host):
    found = checked(ingress(rule(host)), Offers(("nginx",), ("*",)))
    assert found.spec is None
    assert "spec.rules[0].host" in found.problems[0]


def test_certificates_are_for_hosts_that_are_named():
    """Without any, they are for whoever asks the proxy."""
    found = checked(ingress(tls=[{"secretName": "cert"}, {}]))
    assert "tls" not in found.spec
    assert len(found.problems) == 2


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"clusterIP": "10.43.0.9", "selector": {"app": "web"}}, None),
        ({"clusterIP": "10.43.0.9"}, "has no selector"),
        ({"clusterIP": "10.43.0.9", "selector": {}}, "has no selector"),
        ({"clusterIP": "None", "selector": {"app": "web"}}, "headless"),
        ({"type": "ExternalName", "externalName": "x", "selector": {"app": "web"}}, "ExternalName"),
        (None, "does not exist"),
    ],
)
def test_an_ingress_leads_to_services_with_a_selector(spec, words):
    known = context(*([service(spec)] if spec is not None else []), ingress_classes=("nginx",), ingress_hosts=("*",))
    two = ingress(rule("a.example.com", path(), path("/other", to="other")))
    found = Ingresses(known, None)._check(two)
    assert (found.spec is not None) is (words is None)
    assert "other" not in strings(found.spec or {})
    assert any((words or "does not exist") in problem for problem in found.problems)


def test_services_are_found_wherever_they_are_named():
    assert services_of(ingress(rule("a", path(to="x"), path(to="y")), rule("b", path(to="z")))) == {"x", "y", "z"}
    assert services_of(ingress({"host": "a"}, rule("a", path(backend={"resource": {}})))) == set()


def test_what_is_kept_is_there_and_still_wanted():
    both = checked(ingress(rule("a.example.com", path("/1"), path("/2")), rule("b.example.com"))).spec
    less = checked(ingress(rule("a.example.com", path("/2"), path("/3")), rule("c.example.com"))).spec
    (left,) = kept(both, less)["rules"]
    assert (left["host"], [one["path"] for one in left["http"]["paths"]]) == ("a.example.com", ["/2"])
    assert kept(both, checked(ingress(rule("c.example.com"))).spec) is None
    assert kept({**both, "ingressClassName": "old"}, both) is None
    assert kept(both, both) == both
