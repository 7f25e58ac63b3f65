"""Ingresses with a real controller on the host: Contour, which the administrator offers to two virtual clusters."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from .harness import BUILD, DEMO, ROOT, lab, ran, run_module, until
from .space import WAIT, Space, made_space
from .test_application import APPLICATION, WORKLOADS
from .tls import self_signed, shown

pytestmark = pytest.mark.nightly

CONTOUR = ROOT / "tests/lab/data/contour.yml"
TENANT, ADDRESS = "payments", "192.0.2.80"  # as contour.yml has it
HTTP, HTTPS = 30880, 30843
HOSTS = {"shop": ["shop.example.com", "*.shop.example.com"], "rival": ["*.rival.example.com"]}


@pytest.fixture(scope="module")
def controller(site: object, hub: Path) -> Iterator[str]:
    """The address at which it answers."""
    lab("build", "--ingress")
    manifests = [*sorted((BUILD / "lab" / "contour").glob("*.yaml")), CONTOUR]
    words = [word for path in manifests for word in ("-f", str(path))]
    # Server-side: the description of its kinds is too long for an annotation.
    ran(hub, "apply", "--server-side", *words)
    try:
        ran(hub, "-n", "projectcontour", "rollout", "status", "deployment/contour", WAIT)
        yield str(urlsplit(yaml.safe_load(hub.read_text())["clusters"][0]["cluster"]["server"]).hostname)
    finally:
        ran(hub, "delete", "--ignore-not-found", *words, WAIT)


def vclusters(hub: Path, **options: Any) -> None:
    items = [
        {"tenant": TENANT, "name": name, "kubeconfig_path": str(DEMO / f"vclusters/{TENANT}--{name}.yaml"), **options}
        | ({} if options else offered(hub, name))
        for name in HOSTS
    ]
    done = run_module("vcluster", kubeconfig=hub, vclusters=items)
    assert not done.failed, done.msg


def offered(hub: Path, name: str) -> dict[str, Any]:
    version = yaml.safe_load(ran(hub, "version", "-o", "yaml"))["serverVersion"]["gitVersion"]
    return {
        "version": version,
        "persistence": {"type": "none"},
        "expose": {"type": "NodePort"},
        "resources": {"cpu": "3", "memory": "2Gi", "storage": "1Gi", "pods": 12},
        "network": {"ingress_from": ["projectcontour"]},
        "ingress_classes": ["contour"],
        "ingress_hosts": HOSTS[name],
    }


@pytest.fixture(scope="module")
def made(controller: str, hub: Path) -> Iterator[None]:
    vclusters(hub)
    try:
        yield
    finally:
        vclusters(hub, state="absent")


@pytest.fixture(scope="module")
def shop(made: None) -> Iterator[Space]:
    """With the application, whose manifests have an ingress."""
    with made_space(f"{TENANT}--shop", "shop") as found:
        found("apply", "-f", str(APPLICATION))
        for workload in WORKLOADS:
            found("rollout", "status", workload, WAIT)
        yield found


@pytest.fixture(scope="module")
def rival(made: None) -> Iterator[Space]:
    with made_space(f"{TENANT}--rival", "rival") as found:
        yield found


def ingress(name: str, host: str, of_class: str = "contour", **fields: Any) -> dict:
    backend = {"service": {"name": "shop", "port": {"name": "http"}}}
    rule = {"host": host, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}
    spec = {"ingressClassName": of_class, "rules": [rule], **fields}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name}, "spec": spec}


def answer(address: str, host: str) -> tuple[int, str]:
    """What somebody outside of the cluster gets."""
    connection = http.client.HTTPConnection(address, HTTP, timeout=10)
    try:
        connection.request("GET", "/", headers={"Host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


def test_an_application_is_reached_from_outside(controller: str, shop: Space) -> None:
    until(lambda: answer(controller, "shop.example.com")[0] == 200)
    assert "front end" in answer(controller, "shop.example.com")[1]
    status = until(lambda: shop.json("ingress", "shop")["status"]["loadBalancer"].get("ingress"))
    assert status == [{"ip": ADDRESS}]


def test_certificate_is_the_one_made_inside(controller: str, shop: Space, tmp_path: Path) -> None:
    paths = self_signed(tmp_path)
    shop("create", "secret", "tls", "shop-tls", f"--cert={paths[0]}", f"--key={paths[1]}")
    host = "tls.shop.example.com"
    shop.create(ingress("secure", host, tls=[{"hosts": [host], "secretName": "shop-tls"}]))
    assert until(lambda: shown(controller, HTTPS, host)) == paths[0].read_text()


def test_what_is_deleted_is_not_answered(controller: str, shop: Space, hub: Path) -> None:
    shop.create(ingress("short", "short.shop.example.com"))
    until(lambda: answer(controller, "short.shop.example.com")[0] == 200)
    shop("delete", "ingress", "short")
    until(lambda: answer(controller, "short.shop.example.com")[0] == 404)
    assert not shop.copy_of(hub, "ingresses", "short")


def test_a_class_that_is_not_offered_is_refused(shop: Space, hub: Path) -> None:
    shop.create(ingress("other", "other.shop.example.com", "nginx"))
    assert "spec.ingressClassName: nginx is not offered. Use contour" in shop.warning("other")
    assert not shop.copy_of(hub, "ingresses", "other")


def test_a_host_name_of_others_is_refused(controller: str, shop: Space, rival: Space, hub: Path) -> None:
    rival.create(ingress("thief", "shop.example.com"))
    assert "host shop.example.com is not offered. Use *.rival.example.com" in rival.warning("thief")
    until(lambda: "front end" in answer(controller, "shop.example.com")[1])
    assert not rival.copy_of(hub, "ingresses", "thief")
