"""Which proxy the environment names, and which answers are worth another request."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.transport import environment_proxy

from .api_server import api_server

SERVER = "https://hub.example.com:6443"
NAMES = ("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "http_proxy")


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_for_https_or_for_all(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "http://proxy.example.com:3128")
    assert environment_proxy(SERVER) == "http://proxy.example.com:3128"
    monkeypatch.setenv("NO_PROXY", ".example.com")
    assert environment_proxy(SERVER) is None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_socks_proxy_is_refused_without_its_password(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "socks5://me:swordfish@proxy.example.com:1080")
    with pytest.raises(TenantryError, match=r"socks5://proxy\.example\.com is not an HTTP proxy") as caught:
        environment_proxy(SERVER)
    assert "swordfish" not in str(caught.value)
    monkeypatch.setenv("NO_PROXY", "hub.example.com")
    assert environment_proxy(SERVER) is None


def test_eviction_denied_by_a_budget_is_sent_once() -> None:
    causes = [{"reason": "DisruptionBudget", "message": "The disruption budget web needs 2 healthy pods"}]
    denied = {"kind": "Status", "message": "Cannot evict pod", "details": {"causes": causes}}
    pod = {"metadata": {"name": "web-0", "namespace": "shop", "uid": "1"}}
    with api_server(lambda *_request: (429, denied)) as (cluster, seen):
        assert cluster.evict(pod) == "Cannot evict pod The disruption budget web needs 2 healthy pods"
    assert seen == ["POST /api/v1/namespaces/shop/pods/web-0/eviction"]


def test_create_rejected_by_a_busy_server_is_sent_again() -> None:
    answers = iter([(429, {"message": "busy"}), (201, {"kind": "Namespace"})])
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}
    with api_server(lambda *_request: next(answers)) as (cluster, seen):
        assert cluster.create(namespace) == {"kind": "Namespace"}
    assert seen == ["POST /api/v1/namespaces"] * 2
