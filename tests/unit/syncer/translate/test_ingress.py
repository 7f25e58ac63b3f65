"""What of an ingress reaches the host: listed fields with harmless values, each part separately."""

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
    """Check an ingress; every service may be a backend."""


def checked(given: dict, offers: Offers = OFFERS):
    before = copy.deepcopy(given)
    found = check(given, offers, everywhere)
    assert given == before, "the cached object was modified"
    return found


def test_check_passes_on_listed_fields():
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
def test_check_translates_service_names(name):
    tls = [{"hosts": ["shop.example.com"], "secretName": name}]
    found = strings(checked(ingress(rule("shop.example.com", path(to=name)), tls=tls)).spec)
    assert name not in found
    assert found.count(naming.host_name("shop", name)) == 2


# Every object in an ingress, with an unknown field.
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
def test_check_rejects_unlisted_field(where):
    found = checked(UNLISTED[where])
    assert where.rpartition(".")[2] not in strings(found.spec or {})
    assert [problem for problem in found.problems if problem.startswith(where)]


@pytest.mark.parametrize("text", ["/", "/a/b-c_d.e~f", "/a%20b", "/v1:get", "/a=b&c,d", "/@me", "/x+y!"])
@pytest.mark.parametrize("kind", ["Prefix", "Exact"])
def test_check_accepts_path(text, kind):
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
def test_check_rejects_path_with_syntax(text, place, kind):
    offers = Offers(("nginx",), ("*",), specific_paths=True)
    found = checked(ingress(rule("a.example.com", path(place.format(text), kind))), offers)
    allowed = text == "*" and kind == "ImplementationSpecific" and place != "{}"
    assert (found.spec is not None) is allowed
    if not allowed:
        assert found.problems[0].startswith("spec.rules[0].http.paths[0].path")


@pytest.mark.parametrize("path_type", [None, "", "Regex", "ImplementationSpecific"])
def test_check_rejects_path_type(path_type):
    found = checked(ingress(rule("a.example.com", path(kind=path_type))))
    assert found.spec is None
    assert "Use Prefix or Exact" in found.problems[0]


@pytest.mark.parametrize(
    "host", ["a`b.example.com", "a b.example.com", "a;.example.com", "$x.example.com", "-.example.com"]
)
@pytest.mark.parametrize("where", ["rules", "tls"])
def test_check_rejects_invalid_host(host, where):
    given = ingress(rule(host)) if where == "rules" else ingress(tls=[{"hosts": [host]}])
    found = checked(given, Offers(("nginx",), ("*",)))
    assert host not in strings(found.spec or {})
    assert "is not a valid host name" in found.problems[0]


@pytest.mark.parametrize("secret", ["a b", "bank/cert", "../cert", "a`"])
def test_check_rejects_invalid_secret_name(secret):
    found = checked(ingress(tls=[{"hosts": ["shop.example.com"], "secretName": secret}]))
    assert "tls" not in found.spec
    assert "secretName" in found.problems[0]


@pytest.mark.parametrize(
    ("allowed", "wanted", "rejected"),
    [((), "nginx", True), ((), None, True), (("traefik",), "nginx", True), (("traefik",), None, True)]
    + [(("traefik",), "traefik", False)],
)
def test_check_ingress_class(allowed, wanted, rejected):
    found = checked(ingress(ingressClassName=wanted), Offers(allowed, ("*",)))
    assert (found.spec is None) is rejected
    assert bool(found.problems) is rejected


def test_check_reports_class_annotation():
    old = ingress(annotations={"kubernetes.io/ingress.class": "nginx"}, ingressClassName=None)
    assert "annotation kubernetes.io/ingress.class is ignored. Use nginx" in checked(old).problems[0]


def test_check_reports_controller_annotations():
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
def test_check_accepts_only_offered_hosts(offered, host, rejected, where):
    """A rejected host does not affect the others."""
    own = rule("own.example.net")
    given = ingress(own, rule(host)) if where == "rules" else ingress(own, tls=[{"hosts": [host]}])
    found = checked(given, Offers(("nginx",), (*offered, "own.example.net")))
    assert found.spec["rules"][0]["host"] == "own.example.net"
    assert (host in strings(found.spec)) is not rejected
    assert [host in problem for problem in found.problems] == [True] * rejected


@pytest.mark.parametrize("host", [None, "", "*.example.com", "*"])
def test_check_rejects_rule_without_own_host(host):
    found = checked(ingress(rule(host)), Offers(("nginx",), ("*",)))
    assert found.spec is None
    assert "spec.rules[0].host" in found.problems[0]


def test_check_rejects_tls_without_hosts():
    """Without hosts, the certificate would apply to all hosts of the proxy."""
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
def test_check_requires_service_with_selector(spec, words):
    known = context(*([service(spec)] if spec is not None else []), ingress_classes=("nginx",), ingress_hosts=("*",))
    two = ingress(rule("a.example.com", path(), path("/other", to="other")))
    found = Ingresses(known, None)._check(two)
    assert (found.spec is not None) is (words is None)
    assert "other" not in strings(found.spec or {})
    assert any((words or "does not exist") in problem for problem in found.problems)


def test_services_of_returns_all_backends():
    assert services_of(ingress(rule("a", path(to="x"), path(to="y")), rule("b", path(to="z")))) == {"x", "y", "z"}
    assert services_of(ingress({"host": "a"}, rule("a", path(backend={"resource": {}})))) == set()


def test_kept_returns_desired_parts():
    both = checked(ingress(rule("a.example.com", path("/1"), path("/2")), rule("b.example.com"))).spec
    less = checked(ingress(rule("a.example.com", path("/2"), path("/3")), rule("c.example.com"))).spec
    (left,) = kept(both, less)["rules"]
    assert (left["host"], [one["path"] for one in left["http"]["paths"]]) == ("a.example.com", ["/2"])
    assert kept(both, checked(ingress(rule("c.example.com"))).spec) is None
    assert kept({**both, "ingressClassName": "old"}, both) is None
    assert kept(both, both) == both
