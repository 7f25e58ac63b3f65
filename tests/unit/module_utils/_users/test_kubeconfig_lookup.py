"""Which of the stored kubeconfigs of a user the lookup returns."""

from __future__ import annotations

import base64
import json
import time
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._users import kubeconfig_lookup
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import SECRET_TYPE

NOW = int(time.time())
PLATFORM = {"metadata": {"labels": {"tenantry.dev/component": "platform"}}}


def token(expires: int) -> str:
    bound = {"secret": {"uid": "1"}, "serviceaccount": {"uid": "2"}}
    payload = json.dumps({"iat": NOW - 60, "exp": expires, "kubernetes.io": bound})
    return f"e30.{base64.urlsafe_b64encode(payload.encode()).decode().rstrip('=')}.c2ln"


def secret(*ways: tuple[str, str], plugin: dict | None = None, kind: str = SECRET_TYPE) -> dict:
    contexts = [
        kubeconfig.KubeContext(name, f"https://{name}", "Q0E=", "bob", given, plugin=plugin) for name, given in ways
    ]
    content = json.dumps(kubeconfig.build(contexts, current=ways[0][0]))
    return {"type": kind, "data": {"kubeconfig": base64.b64encode(content.encode()).decode()}}


def look(*secrets: dict) -> dict[str, Any]:
    hub = SimpleNamespace(list=lambda *_what: list(secrets), get=lambda *_what: PLATFORM, server="https://hub")
    return kubeconfig_lookup._of_user(hub, "payments", "payments--dev", "bob")  # type: ignore[arg-type]


def test_of_user_context_of_one_virtual_cluster_is_returned() -> None:
    good = token(NOW + 900)
    found = look(secret(("payments--dev", good), ("payments--prod", token(NOW + 999))))
    assert found["current-context"] == "payments--dev"
    assert [one["name"] for section in ("contexts", "clusters", "users") for one in found[section]] == [
        "payments--dev"
    ] * 3
    assert kubeconfig.secrets(found) == {good}


def test_of_user_longest_valid_counts() -> None:
    longest = token(NOW + 3600)
    found = look(*(secret(("payments--dev", one)) for one in (token(NOW + 900), longest, token(NOW - 900))))
    assert kubeconfig.secrets(found) == {longest}


def test_of_user_at_an_issuer_program_is_returned() -> None:
    plugin = {"command": "kubectl", "args": ["oidc-login"]}
    assert look(secret(("payments--dev", ""), plugin=plugin))["users"][0]["user"] == {"exec": plugin}


@pytest.mark.parametrize(
    "secrets",
    [
        [],
        [secret(("payments--prod", token(NOW + 900)))],
        [secret(("payments--dev", token(NOW + 900)), kind="tenantry.dev/credential")],
        [{"type": SECRET_TYPE, "data": {"kubeconfig": "Lg=="}}],
        [{"type": SECRET_TYPE}],
    ],
)
def test_of_user_without_kubeconfig_is_an_error(secrets: list[dict]) -> None:
    with pytest.raises(TenantryError, match=r"keeps no kubeconfig of bob that leads to payments--dev. Create it with"):
        look(*secrets)


def test_of_user_expired_kubeconfig_is_an_error() -> None:
    with pytest.raises(TenantryError, match=r"the kubeconfig of bob for payments--dev has expired. Renew it"):
        look(secret(("payments--dev", token(NOW - 1))))


@pytest.mark.parametrize("name", ["Payments--dev", "payments--", "--dev", "payments--dev--x", "payments--../x"])
def test_run_invalid_name_is_an_error(name: str) -> None:
    with pytest.raises(TenantryError, match=r"^(tenant|name): "):
        kubeconfig_lookup.run(SimpleNamespace(), name, None, None, "1h")  # type: ignore[arg-type]


@pytest.mark.parametrize("lifetime", ["1m", "2d", "soon"])
def test_run_invalid_lifetime_is_an_error(lifetime: str) -> None:
    with pytest.raises(TenantryError, match=r"^lifetime: "):
        kubeconfig_lookup.run(SimpleNamespace(), "payments--dev", None, None, lifetime)  # type: ignore[arg-type]
