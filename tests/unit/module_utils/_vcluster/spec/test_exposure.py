"""The ways to the API of a virtual cluster: what is made for each, and which names its certificate has."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import cluster, exposure, server
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from ..example import make_item, render

NAME = "dev.vclusters.example.com"
INSIDE = ["api.payments--dev.svc", "api.payments--dev.svc.cluster.local"]


def way(kind: str, **more: Any) -> dict[str, Any]:
    return {"expose": {"type": kind, "address": None, **more}}


def made(rendering: Any) -> dict[str, dict]:
    return {one["kind"]: one for one in cluster.everything(rendering) if one["metadata"]["name"] == "api"}


@pytest.mark.parametrize(
    ("item", "told"),
    [
        (way("Ingress"), "expose.address: required for expose.type Ingress"),
        (way("Route"), "expose.address: required for expose.type Route"),
        (way("Ingress", address="192.0.2.1"), "expose.address: 192.0.2.1 is not a DNS name"),
        (way("Ingress", address=NAME, port=30001), "expose.port: applies to expose.type NodePort only, not Ingress"),
        (way("LoadBalancer", port=30001), "expose.port: applies to expose.type NodePort only"),
        (way("LoadBalancer", ingress_class="nginx"), "expose.ingress_class: applies to expose.type Ingress only"),
        (way("NodePort", annotations={"a": "b"}), "expose.annotations: applies to expose.type LoadBalancer or Ingress"),
        (way("ClusterIP", address=NAME), "expose.address: applies to expose.type NodePort or"),
        (way("LoadBalancer", annotations={"a": True}), "expose.annotations.a: must be text"),
    ],
)
def test_what_does_not_go_together_is_refused(item: dict, told: str) -> None:
    with pytest.raises(TenantryError) as caught:
        parse(make_item(**item))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("item", "host", "names", "url"),
    [
        (way("ClusterIP"), {"cluster_ip": "10.43.0.9", "address": ""}, ["10.43.0.9"], "https://10.43.0.9:6443"),
        (way("NodePort"), {"address": "192.0.2.10"}, ["192.0.2.10"], "https://192.0.2.10:30123"),
        (way("LoadBalancer"), {"address": "203.0.113.7"}, ["203.0.113.7"], "https://203.0.113.7:6443"),
        (way("Ingress", address=NAME), {"address": NAME}, [NAME], f"https://{NAME}:443"),
        (way("Route", address=NAME), {"address": NAME}, [NAME], f"https://{NAME}:443"),
    ],
)
def test_the_certificate_has_the_name_of_the_way_and_no_other(item: dict, host: dict, names: list, url: str) -> None:
    rendering = render(host, **item)
    assert server.subject_names(rendering) == [*INSIDE, *names]
    service = made(rendering)["Service"]
    service["spec"] |= {"clusterIP": "10.43.0.9"}
    service["spec"]["ports"][0].setdefault("nodePort", 30123)
    assert exposure.url_of(service, item["expose"]["type"], rendering.address) == url


def test_an_ingress_passes_tls_through() -> None:
    found = made(render({"address": NAME}, **way("Ingress", address=NAME, ingress_class="nginx")))
    assert found["Service"]["spec"]["type"] == "ClusterIP"
    ingress = found["Ingress"]
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert ingress["spec"]["rules"][0]["host"] == NAME
    assert "tls" not in ingress["spec"], "a certificate there would end TLS at the ingress controller"
    assert ingress["metadata"]["annotations"]["nginx.ingress.kubernetes.io/ssl-passthrough"] == "true"
    given = {"haproxy.org/ssl-passthrough": "true"}
    found = made(render({"address": NAME}, **way("Ingress", address=NAME, annotations=given)))
    assert found["Ingress"]["metadata"]["annotations"] == given


def test_a_route_passes_tls_through() -> None:
    found = made(render({"address": NAME}, **way("Route", address=NAME)))
    assert found["Service"]["spec"]["type"] == "ClusterIP"
    assert found["Route"]["spec"] == {
        "host": NAME,
        "to": {"kind": "Service", "name": "api", "weight": 100},
        "port": {"targetPort": "https"},
        "tls": {"termination": "passthrough"},
    }


def test_routes_are_looked_for_only_where_there_may_be_one() -> None:
    assert exposure.ROUTE_KIND not in exposure.kinds("NodePort", "Ingress")
    assert exposure.ROUTE_KIND in exposure.kinds("NodePort", "Route")
    assert exposure.ROUTE_KIND in exposure.kinds("Route", None)


def test_a_load_balancer_fits_into_the_quota_and_has_its_annotations() -> None:
    rendering = render({"address": "203.0.113.7"}, **way("LoadBalancer", annotations={"example.com/internal": "yes"}))
    objects = cluster.everything(rendering)
    hard = next(one for one in objects if one["kind"] == "ResourceQuota")["spec"]["hard"]
    assert (hard["services.loadbalancers"], hard["services.nodeports"]) == ("1", "1")
    service = made(rendering)["Service"]
    assert (service["spec"]["type"], service["metadata"]["annotations"]) == (
        "LoadBalancer",
        {"example.com/internal": "yes"},
    )


def test_the_configuration_waits_for_the_address_of_a_load_balancer() -> None:
    known = {"cluster_ip": "10.43.1.3"}
    assert render({**known, "address": ""}, **way("LoadBalancer")).lacks_addresses
    assert not render({**known, "address": "203.0.113.7"}, **way("LoadBalancer")).lacks_addresses


@pytest.mark.parametrize(
    ("ingress", "address"),
    [
        (None, ""),
        ([], ""),
        ([{"ip": "203.0.113.7"}], "203.0.113.7"),
        ([{"hostname": "lb.example.com"}], "lb.example.com"),
    ],
)
def test_what_a_load_balancer_says(ingress: list | None, address: str) -> None:
    assert exposure.balancer_address({"status": {"loadBalancer": {"ingress": ingress}}}) == address
    assert exposure.balancer_address({}) == ""
