"""The module against the stand-in: what it keeps secret, and secrets that change."""

from __future__ import annotations

import json

import pytest

from .conftest import SECRETS, AfterRun, Configure, rows
from .stand_in import ADMIN_TOKEN, StandIn


@pytest.mark.parametrize("check", [False, True])
def test_secrets_are_in_no_result(stand_in: StandIn, configure: Configure, check: bool) -> None:
    results = [
        configure(check=check),
        configure(check=check, update_secrets=True, hub_host="https://other.example.com:6443"),
    ]
    for result in results:
        assert result["diff"]
        assert [secret for secret in [*SECRETS.values(), ADMIN_TOKEN] if secret in result["raw"]] == []
        # For a controller, the CA is a secret too. Ansible shows what it was given of options that are none.
        told = {key: value for key, value in result.items() if key not in ("invocation", "raw")}
        assert "secret-ca-of-the-hub" not in json.dumps(told)


def test_secrets_are_in_no_error(stand_in: StandIn, configure: Configure) -> None:
    stand_in.refuse = {("POST", "credentials"): 400}
    result = configure()
    assert len(rows(result, kind="credential")) == 3
    assert [secret for secret in SECRETS.values() if secret in result["raw"]] == []


def test_changed_secret_is_written_when_asked(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    assert not configure(hub_token="another-token-of-the-hub")["changed"]
    result = configure(hub_token="another-token-of-the-hub", update_secrets=True)
    assert rows(result, changed=True) == [
        "tenantry.kube hub", "tenantry.kube snapshot passphrase", "tenantry.kube snapshot bucket"]  # fmt: skip
    assert stand_in.named("credentials", "tenantry.kube hub")["inputs"]["bearer_token"] == "another-token-of-the-hub"
