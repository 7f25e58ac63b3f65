"""What of a tenant's ingresses and hand-made endpoints reaches the host, whenever it is looked at.

Each check of the syncer about something that can change afterwards is met here, and then what it was about is changed:
docs/shared-mode.md lists them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .harness import kubectl, ran, until
from .syncer_pair import Pair, PairSpace

SELECTOR = {"app": "web"}
OUTSIDE = "198.51.100.7"
# Pods, services, nodes and API server of the host, and where clouds tell secrets; by every way to write them.
HOSTS = [
    *("10.42.0.9", "10.43.0.1", "192.168.77.11", "192.168.77.10"),
    *("100.100.100.200", "168.63.129.16"),
    *("::ffff:0:a2a:9", "64:ff9b::a2b:1", "64:ff9b:1:b::a2b:1", "2002:c0a8:4d0b::1", "fd00:ec2::254", "fd20:ce::254"),
]


@pytest.fixture
def space(pair: Pair) -> Iterator[PairSpace]:
    with pair.space() as found:
        yield found


def service(name: str = "web", selector: dict | str | None = "own", **spec: object) -> dict:
    selector = SELECTOR if selector == "own" else selector
    spec = {"ports": [{"port": 80, "targetPort": 8080}], **({"selector": selector} if selector else {}), **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def by_hand(*addresses: str, owner: str = "web", name: str = "by-hand", **labels: str) -> dict:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": owner, **labels}},
        "addressType": "IPv6" if ":" in addresses[0] else "IPv4",
        "ports": [{"port": 8080, "protocol": "TCP", "name": ""}],
        "endpoints": [{"addresses": [address]} for address in addresses],
    }


def path(text: str = "/", to: str = "web", kind: str = "Prefix") -> dict:
    return {"path": text, "pathType": kind, "backend": {"service": {"name": to, "port": {"number": 80}}}}


def rule(host: str, *paths: dict) -> dict:
    return {"host": host, "http": {"paths": list(paths) or [path()]}}


def ingress(name: str, *rules: dict, annotations: dict | None = None, **spec: object) -> dict:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {"name": name, "annotations": annotations or {}},
        "spec": {"ingressClassName": "nginx", "rules": list(rules), **spec},
    }


def hosts(pair: Pair, space: PairSpace, name: str) -> list[str]:
    """The hosts that the ingress has on the host cluster; none without one."""
    copy = space.found_on_host("ingresses", name)
    return [one["host"] for one in copy["spec"]["rules"]] if copy else []


def addresses(pair: Pair, space: PairSpace, name: str) -> list[str]:
    copy = space.found_on_host("endpointslices", name)
    return [address for one in (copy or {}).get("endpoints") or [] for address in one["addresses"]]


def led_to(pair: Pair, space: PairSpace) -> list[str]:
    """Where the host sends what goes to the service `web`."""
    if (copy := space.found_on_host("services", "web")) is None:
        return []
    label = f"kubernetes.io/service-name={copy['metadata']['name']}"
    found = pair.host_api.list("endpointslices", pair.namespace, labelSelector=label)
    return [address for one in found for endpoint in one["endpoints"] or [] for address in endpoint["addresses"]]


def balanced(space: PairSpace, name: str) -> list[dict]:
    return space.get("ingresses", name)["status"]["loadBalancer"].get("ingress") or []


def until_told(space: PairSpace, name: str, words: str) -> None:
    until(lambda: space.told(name, words))


def with_resolved_networks(pair: Pair, space: PairSpace) -> None:
    """The syncer has looked at all that was there: a later object has come through."""
    space.apply(service("last"))
    until(lambda: space.found_on_host("services", "last"))
    space.api.delete("services", space.name, "last")
    until(lambda: not space.found_on_host("services", "last"))


# -- what an ingress leads to ------------------------------------------------------------------------------------------


CHANGES = {
    "selector removed": ({"selector": None}, "web has no selector"),
    "another name": (
        {"type": "ExternalName", "externalName": "example.com", "clusterIP": None},
        "web is headless or of type ExternalName",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_service_that_changes_loses_its_ingress(pair: Pair, space: PairSpace, change: str) -> None:
    """CVE-2021-25740: it leads to pods by a selector, whenever it is looked at."""
    space.apply(service(), ingress("shop", rule("shop.dev.example.com")))
    until(lambda: hosts(pair, space, "shop"))
    spec, words = CHANGES[change]
    space.patch("services", "web", {"spec": spec})
    until(lambda: not hosts(pair, space, "shop"))
    until_told(space, "shop", words)
    space.patch("services", "web", {"spec": service()["spec"] | {"type": "ClusterIP", "externalName": None}})
    assert until(lambda: hosts(pair, space, "shop")) == ["shop.dev.example.com"]


def test_a_service_recreated_without_a_selector_loses_its_ingress(pair: Pair, space: PairSpace) -> None:
    space.apply(service(), ingress("shop", rule("shop.dev.example.com")))
    until(lambda: hosts(pair, space, "shop"))
    space.api.delete("services", space.name, "web")
    space.apply(service(selector=None), by_hand(OUTSIDE))
    until(lambda: not hosts(pair, space, "shop"))


def test_a_service_that_does_not_exist_yet_is_waited_for(pair: Pair, space: PairSpace) -> None:
    space.apply(ingress("shop", rule("shop.dev.example.com")))
    until_told(space, "shop", "web does not exist")
    assert not hosts(pair, space, "shop")
    space.apply(service())
    assert until(lambda: hosts(pair, space, "shop")) == ["shop.dev.example.com"]


def test_offers_that_are_taken_back_take_the_rules(pair: Pair, space: PairSpace) -> None:
    """They are configuration: the syncer starts with them."""
    space.apply(service(), ingress("shop", rule("shop.dev.example.com"), rule("a.b.dev.example.com")))
    until(lambda: hosts(pair, space, "shop"))
    try:
        pair.restart_syncer(ingress_hosts=["shop.dev.example.com"])
        until(lambda: hosts(pair, space, "shop") == ["shop.dev.example.com"])
        pair.restart_syncer(ingress_classes=["other"])
        until(lambda: not hosts(pair, space, "shop"))
    finally:
        pair.restart_syncer()
    assert len(until(lambda: hosts(pair, space, "shop"))) == 2


def test_a_refused_rule_leaves_the_others(pair: Pair, space: PairSpace) -> None:
    space.apply(service(), ingress("live", rule("live.dev.example.com")))
    until(lambda: hosts(pair, space, "live"))
    space.apply(ingress("live", rule("live.dev.example.com"), rule("shop.bank.example.com")))
    until_told(space, "live", "shop.bank.example.com is not offered")
    assert hosts(pair, space, "live") == ["live.dev.example.com"]
    space.apply(ingress("live", rule("live.dev.example.com"), rule("more.dev.example.com")))
    until(lambda: hosts(pair, space, "live") == ["live.dev.example.com", "more.dev.example.com"])


def test_what_the_host_refuses_does_not_keep_what_is_refused(pair: Pair, space: PairSpace) -> None:
    """A policy of the host's against one rule is no way to hold on to another."""
    policy = admission_policy(pair, "!object.spec.rules.exists(r, r.host.startsWith('never'))")
    space.apply(service(), service("other"))
    space.apply(ingress("shop", rule("shop.dev.example.com"), rule("o.dev.example.com", path(to="other"))))
    until(lambda: len(hosts(pair, space, "shop")) == 2)
    ran(pair.host, "apply", "-f", "-", stdin=policy)
    try:
        until(lambda: pair_refuses(pair))
        rules = [
            rule("shop.dev.example.com"),
            rule("o.dev.example.com", path(to="other")),
            rule("never.dev.example.com"),
        ]
        space.apply(ingress("shop", *rules))
        until_told(space, "shop", "never")
        space.patch("services", "other", {"spec": {"selector": None}})
        until(lambda: hosts(pair, space, "shop") == ["shop.dev.example.com"])
    finally:
        ran(pair.host, "delete", "-f", "-", stdin=policy)


def admission_policy(pair: Pair, expression: str) -> str:
    name = f"{pair.namespace}-never"
    rules = [
        {"apiGroups": ["networking.k8s.io"], "apiVersions": ["v1"], "operations": ["*"], "resources": ["ingresses"]}
    ]
    rules[0]["operations"] = ["CREATE", "UPDATE"]
    api = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    spec = {
        "matchConstraints": {"resourceRules": rules},
        "validations": [{"expression": expression, "message": "never"}],
    }
    items = [
        {**api, "kind": "ValidatingAdmissionPolicy", "spec": {"failurePolicy": "Fail", **spec}},
        {
            **api,
            "kind": "ValidatingAdmissionPolicyBinding",
            "spec": {"policyName": name, "validationActions": ["Deny"]},
        },
    ]
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


def pair_refuses(pair: Pair) -> bool:
    """An API server enforces a policy a moment after it was made; nothing tells when."""
    probe = json.dumps(ingress("probe", rule("never.example.com")))
    asked = ("-n", pair.namespace, "create", "--dry-run=server", "-f", "-")
    return kubectl(pair.host, *asked, stdin=probe).returncode != 0


def test_an_address_is_taken_back(pair: Pair, space: PairSpace) -> None:
    space.apply(service(), ingress("shop", rule("shop.dev.example.com")))
    copy = until(lambda: space.found_on_host("ingresses", "shop"))["metadata"]["name"]
    for address in ([{"ip": "203.0.113.5"}], None):
        status = {"loadBalancer": {"ingress": address}}
        pair.set_status("ingresses", copy, status)
        until(lambda address=address: balanced(space, "shop") == (address or []))


def test_a_refused_ingress_has_no_address(pair: Pair, space: PairSpace) -> None:
    space.apply(service(), ingress("shop", rule("shop.dev.example.com")))
    copy = until(lambda: space.found_on_host("ingresses", "shop"))["metadata"]["name"]
    status = {"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}]}}
    pair.set_status("ingresses", copy, status)
    until(lambda: balanced(space, "shop"))
    space.patch("services", "web", {"spec": {"selector": None}})
    until(lambda: not balanced(space, "shop"))


def test_the_status_of_another_controllers_ingress_stays(pair: Pair, space: PairSpace) -> None:
    """A virtual cluster may have an ingress controller of its own, for a class of its own."""
    space.apply(service(), ingress("own", rule("own.example.org"), ingressClassName="own"))
    until_told(space, "own", "own is not offered")
    address = [{"ip": "203.0.113.6"}]
    space.api.patch("ingresses", space.name, "own", {"status": {"loadBalancer": {"ingress": address}}}, "status")
    space.patch("ingresses", "own", {"metadata": {"labels": {"seen": "again"}}})
    with_resolved_networks(pair, space)
    assert balanced(space, "own") == address


def test_a_class_taken_back_takes_the_address(pair: Pair, space: PairSpace) -> None:
    space.apply(service(), ingress("shop", rule("shop.dev.example.com")))
    copy = until(lambda: space.found_on_host("ingresses", "shop"))["metadata"]["name"]
    pair.set_status("ingresses", copy, {"loadBalancer": {"ingress": [{"ip": "203.0.113.5"}]}})
    until(lambda: balanced(space, "shop"))
    space.patch("ingresses", "shop", {"spec": {"ingressClassName": "own"}})
    until(lambda: not balanced(space, "shop") and not space.found_on_host("ingresses", "shop"))


TOLD = {
    "headless": (ingress("i", rule("i.dev.example.com", path(to="headless"))), "is headless"),
    "class annotation": (
        ingress(
            "i", rule("i.dev.example.com"), annotations={"kubernetes.io/ingress.class": "nginx"}, ingressClassName=None
        ),
        "the annotation kubernetes.io/ingress.class is ignored",
    ),
    "injected": (ingress("i", rule("i.dev.example.com", path("/`) || Host(`shop.other.example.com"))), "spec.rules[0]"),
    "implementation specific": (
        ingress("i", rule("i.dev.example.com", path(kind="ImplementationSpecific"))),
        "Use Prefix or Exact",
    ),
    "resource": (
        ingress(
            "i",
            rule(
                "i.dev.example.com",
                {"path": "/", "pathType": "Prefix", "backend": {"resource": {"kind": "Secret", "name": "x"}}},
            ),
        ),
        "backend.resource: not passed on",
    ),
}


@pytest.mark.parametrize("what", TOLD)
def test_what_does_not_reach_the_host_is_reported(pair: Pair, space: PairSpace, what: str) -> None:
    made, words = TOLD[what]
    space.apply(service(), service("headless", clusterIP="None"), made)
    until_told(space, "i", words)
    assert not hosts(pair, space, "i")


def test_paths_of_the_controllers_own_are_offered_by_an_option(pair: Pair, space: PairSpace) -> None:
    specific = rule("i.dev.example.com", path("/shop*", kind="ImplementationSpecific"))
    space.apply(service(), ingress("i", specific))
    try:
        pair.restart_syncer(ingress_implementation_specific_paths=True)
        copy = until(lambda: space.found_on_host("ingresses", "i"))
        assert copy["spec"]["rules"][0]["http"]["paths"][0]["path"] == "/shop*"
    finally:
        pair.restart_syncer()
    until(lambda: not hosts(pair, space, "i"))


# -- where a service without a selector leads --------------------------------------------------------------------------


@pytest.mark.parametrize("address", HOSTS)
def test_endpoints_are_nothing_of_the_hosts(pair: Pair, space: PairSpace, address: str) -> None:
    space.apply(service(selector=None), by_hand(address))
    until_told(space, "web", "not passed on")
    until_told(space, "by-hand", "not passed on")
    assert not addresses(pair, space, "by-hand")


def test_endpoints_are_outside_or_own_pods(pair: Pair, space: PairSpace) -> None:
    """As long as they are: an address that a pod had is another's soon."""
    pod = {"containers": [{"name": "web", "image": "web"}]}
    space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "mine"}, "spec": pod})
    space.apply(service(selector=None), by_hand(OUTSIDE, "10.42.0.66"))
    until(lambda: addresses(pair, space, "by-hand") == [OUTSIDE])
    pair.run_pod(space, "mine", "10.42.0.66")
    until(lambda: addresses(pair, space, "by-hand") == [OUTSIDE, "10.42.0.66"])
    copy = space.found_on_host("pods", "mine")["metadata"]["name"]
    pair.set_status("pods", copy, {"phase": "Succeeded"})
    until(lambda: addresses(pair, space, "by-hand") == [OUTSIDE])


def test_a_network_that_becomes_the_hosts_is_closed(pair: Pair, space: PairSpace) -> None:
    space.apply(service(selector=None), by_hand(OUTSIDE))
    until(lambda: addresses(pair, space, "by-hand") == [OUTSIDE])
    try:
        pair.set_networks({"closed": ["198.51.100.0/24"], "open": []})
        until(lambda: not addresses(pair, space, "by-hand"))
        pair.set_networks({"closed": ["198.51.100.0/24"], "open": [f"{OUTSIDE}/32"]})
        until(lambda: addresses(pair, space, "by-hand") == [OUTSIDE])
    finally:
        pair.restart_syncer()


def test_endpoints_by_hand_are_mirrored_and_held_to_the_same(pair: Pair, space: PairSpace) -> None:
    subsets = [{"addresses": [{"ip": OUTSIDE}, {"ip": "10.43.0.1"}], "ports": [{"port": 8080}]}]
    space.apply(service(selector=None))
    space.apply({"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "web"}, "subsets": subsets})
    until_told(space, "web", "10.43.0.1: not passed on")
    assert led_to(pair, space) == [OUTSIDE]


def test_a_service_with_a_selector_has_no_endpoints_by_hand(pair: Pair, space: PairSpace) -> None:
    space.apply(service(), by_hand(OUTSIDE))
    with_resolved_networks(pair, space)
    assert not addresses(pair, space, "by-hand")
    space.patch("services", "web", {"spec": {"selector": None}})
    until(lambda: addresses(pair, space, "by-hand") == [OUTSIDE])
    space.patch("services", "web", {"spec": {"selector": SELECTOR}})
    until(lambda: not space.found_on_host("endpointslices", "by-hand"))


def test_endpoints_that_move_to_another_service_leave_the_first(pair: Pair, space: PairSpace) -> None:
    space.apply(service(selector=None), service("other", selector=None), by_hand(OUTSIDE))
    until(lambda: addresses(pair, space, "by-hand"))
    space.patch("endpointslices", "by-hand", {"metadata": {"labels": {"kubernetes.io/service-name": "other"}}})
    other = space.found_on_host("services", "other")["metadata"]["name"]

    def owner() -> str:
        copy = space.found_on_host("endpointslices", "by-hand")
        return copy["metadata"]["labels"]["kubernetes.io/service-name"] if copy else ""

    until(lambda: owner() == other)


def test_a_removed_selector_leaves_no_pods_behind(pair: Pair, space: PairSpace) -> None:
    """The host would keep the endpoints of before, for whoever has those addresses then."""
    pod = {"containers": [{"name": "web", "image": "web"}]}
    metadata = {"name": "mine", "labels": SELECTOR}
    space.apply(service(), {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod})
    pair.run_pod(space, "mine", "10.42.0.67")
    before = until(lambda: space.found_on_host("services", "web"))
    until(lambda: led_to(pair, space) == ["10.42.0.67"])
    space.patch("services", "web", {"spec": {"selector": None}})
    until(lambda: (space.found_on_host("services", "web") or before)["metadata"]["uid"] != before["metadata"]["uid"])
    after = space.found_on_host("services", "web")
    assert after is not None
    assert after["spec"]["clusterIP"] == before["spec"]["clusterIP"]
    # As on any cluster, the endpoints inside stay. On the host they lead there for as long as this pod has the address.
    space("delete", "pod", "mine", "--wait=false")
    pair.end_pod(space, "mine")
    until(lambda: not led_to(pair, space))
