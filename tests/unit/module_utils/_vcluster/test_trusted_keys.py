"""The CAs and keys that an API server trusts, and which of them are new."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import trusted_keys
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca

OURS, K3S, PROXY, EVE = (client_ca.make(name)["ca.crt"] for name in ("ours", "k3s", "proxy", "eve"))


class Api:
    def __init__(self, clients: str = OURS + K3S, proxies: str = PROXY, keys: tuple[str, ...] = ("a",)) -> None:
        self.data = {"client-ca-file": clients, "requestheader-client-ca-file": proxies}
        self.keys = keys

    def get(self, *_of: str) -> dict[str, Any] | None:
        return {"data": self.data} if self.data["client-ca-file"] else None

    def text(self, path: str) -> str:
        assert path == "/openid/v1/jwks"
        return json.dumps({"keys": [{"kid": key, "kty": "RSA"} for key in self.keys]})


class Host:
    """With the Secret alone."""

    def __init__(self) -> None:
        self.secret: dict[str, Any] = {"metadata": {}, "data": {}}

    def get(self, *_of: str) -> dict[str, Any]:
        return self.secret

    def merge(self, _kind: str, name: str, _namespace: str, body: dict[str, Any]) -> None:
        assert name == "client-ca"
        self.secret["metadata"] = body["metadata"]


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    monkeypatch.setattr(trusted_keys, "certificate", lambda _secret: OURS)
    host = Host()
    for early in (Api(clients=OURS), Api(clients="")):  # a moment after the start
        trusted_keys.keep(host, early, "guild--dev")
        assert trusted_keys.noted(host.secret) is None
    trusted_keys.keep(host, Api(), "guild--dev")
    trusted_keys.keep(host, Api(clients=OURS + EVE), "guild--dev")  # once, and no more
    return host.secret


@pytest.mark.parametrize(
    ("api", "kinds"),
    [
        (Api(), []),
        (Api(clients=K3S + OURS + K3S), []),
        (Api(clients=K3S.replace("\n", "\r\n")), []),
        (Api(clients=OURS + K3S + EVE), ["ConfigMap"]),
        (Api(clients=OURS + EVE), ["ConfigMap"]),
        (Api(proxies=PROXY + EVE), ["ConfigMap"]),
        (Api(keys=("a", "b")), ["Key"]),
        (Api(clients=EVE, proxies=EVE, keys=("b",)), ["ConfigMap", "ConfigMap", "Key"]),
    ],
)
def test_what_is_trusted_and_was_not_before_is_a_finding(secret: dict[str, Any], api: Api, kinds: list[str]) -> None:
    assert [one["kind"] for one in trusted_keys.findings(api, secret, OURS)] == kinds


def test_where_nothing_was_noted_there_is_no_finding() -> None:
    for unknown in (None, {"metadata": {}}):
        assert trusted_keys.findings(Api(clients=EVE), unknown, OURS) == []


@pytest.mark.parametrize(
    "piece", [trusted_keys._BEGIN, trusted_keys._END, f"{trusted_keys._BEGIN}A{trusted_keys._END}"]
)
def test_what_an_administrator_publishes_takes_no_time(piece: str) -> None:
    begun = time.monotonic()
    trusted_keys._fingerprints(piece * (1_000_000 // len(piece)))
    assert time.monotonic() - begun < 2


def test_of_a_bundle_each_certificate_counts() -> None:
    first, second = (client_ca.make(name)["ca.crt"] for name in ("a", "b"))
    both = trusted_keys._fingerprints(f"{first}\nnonsense\n{second}-----BEGIN CERTIFICATE-----cut")
    assert both == [*trusted_keys._fingerprints(first), *trusted_keys._fingerprints(second)]
    assert len(set(both)) == 2
