"""Which proxy the environment names."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.transport import environment_proxy

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
