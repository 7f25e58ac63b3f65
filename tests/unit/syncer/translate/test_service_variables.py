"""Service environment variables: as those of a kubelet, up to the size limit."""

from __future__ import annotations

import pytest
from tenantry_syncer.translate import service_variables
from tenantry_syncer.translate.service_variables import LARGEST, expanded, of_api, of_services

from ..objects import CONFIG, service

VARIABLES = {"DB_SERVICE_HOST": "10.43.0.9", "DB_SERVICE_PORT": "80"}


def test_of_services_returns_kubelets_variables():
    ports = [{"name": "http-web", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    services = [service({"clusterIP": "10.43.0.9", "ports": ports}, "my-web"), service({"clusterIP": "None"}, "none")]
    found, left_out = of_services(services, CONFIG)
    assert left_out == 0
    assert found == {
        **of_api(CONFIG),
        "MY_WEB_SERVICE_HOST": "10.43.0.9",
        "MY_WEB_SERVICE_PORT": "80",
        "MY_WEB_SERVICE_PORT_HTTP_WEB": "80",
        "MY_WEB_PORT": "tcp://10.43.0.9:80",
        "MY_WEB_PORT_80_TCP": "tcp://10.43.0.9:80",
        "MY_WEB_PORT_80_TCP_PROTO": "tcp",
        "MY_WEB_PORT_80_TCP_PORT": "80",
        "MY_WEB_PORT_80_TCP_ADDR": "10.43.0.9",
        "MY_WEB_PORT_53_UDP": "udp://10.43.0.9:53",
        "MY_WEB_PORT_53_UDP_PROTO": "udp",
        "MY_WEB_PORT_53_UDP_PORT": "53",
        "MY_WEB_PORT_53_UDP_ADDR": "10.43.0.9",
    }
    assert of_api(CONFIG)["KUBERNETES_SERVICE_HOST"] == "10.43.7.1"


def test_of_services_leaves_out_newest():
    spec = {"clusterIP": "10.43.0.9", "ports": [{"name": f"p{at}", "port": at} for at in range(1, 100)]}
    services = [
        service(spec, f"s{at:03}", creationTimestamp=f"2026-01-01T00:{59 - at // 2:02}:00Z") for at in range(118)
    ]
    found, left_out = of_services(services, CONFIG)
    assert 0 < left_out < 118
    assert sum(len(key) + len(value) + 2 for key, value in found.items()) <= LARGEST
    assert "S117_SERVICE_HOST" in found
    assert "S000_SERVICE_HOST" not in found


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ("http://$(DB_SERVICE_HOST):$(DB_SERVICE_PORT)/", "http://10.43.0.9:80/"),
        ("$$(DB_SERVICE_HOST)", "$$(DB_SERVICE_HOST)"),
        ("$(OTHER) $(DB_SERVICE_HOST", "$(OTHER) $(DB_SERVICE_HOST"),
        ("", ""),
    ],
)
def test_expanded_replaces_references(given, value):
    assert expanded([{"name": "URL", "value": given}], VARIABLES)[0]["value"] == value


def test_expanded_keeps_own_variables():
    own = [{"name": "DB_SERVICE_HOST", "value": "mine"}, {"name": "URL", "value": "$(DB_SERVICE_HOST)"}]
    assert expanded(own, VARIABLES) == own
    assert expanded(own[::-1], VARIABLES)[0]["value"] == "10.43.0.9"


@pytest.mark.parametrize(("value", "uses"), [("$(A)", True), ("a", False)])
def test_uses_variables(value, uses):
    env = [{"name": "A", "valueFrom": {}}, {"name": "B", "value": value}]
    assert service_variables.uses_variables({"spec": {"containers": [{"env": env}]}}) is uses
