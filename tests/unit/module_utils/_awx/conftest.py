"""The module awx_configuration, run as Ansible runs it, against the stand-in for a controller."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._awx import reconcile
from ansible_collections.tenantry.kube.plugins.modules import awx_configuration
from module_args import patch_module_args
from syncer.authority import Authority

from .serving import serving
from .stand_in import ADMIN_TOKEN, StandIn

Configure = Callable[..., dict[str, Any]]
AfterRun = Callable[..., None]

STATES: dict[str, dict[str, Any]] = {}

SECRETS = {
    "hub_token": "secret-token-of-the-hub",
    "snapshot_passphrase": "secret-passphrase-of-snapshots",
    "snapshot_access_key": "secret-access-key",
    "snapshot_secret_key": "secret-key-of-the-bucket",
}
OPTIONS = {
    "project_url": "https://git.example.com/tenants.git",
    "execution_environment_image": "registry.example.com/tenantry/ee:0.1.0",
    "hub_host": "https://hub.example.com:6443",
    "hub_ca_cert": "-----BEGIN CERTIFICATE-----\nsecret-ca-of-the-hub\n-----END CERTIFICATE-----",
    "sizes": ["small", "large"],
    "tenants": [{"name": "payments", "quota": {"cpu": 8}, "vclusters": [{"name": "dev"}]}, {"name": "research"}],
    **SECRETS,
}


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def stand_in() -> StandIn:
    return StandIn()


@pytest.fixture
def address(stand_in: StandIn, authority: Authority) -> Iterator[str]:
    with serving(stand_in, authority.server_context()) as found:
        yield found


@pytest.fixture
def ca_path(authority: Authority, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_text(authority.pem)
    return str(path)


@pytest.fixture
def configure(
    address: str, ca_path: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Configure:
    """Run the module with these options over OPTIONS, and return its result. `raw` is its whole output."""
    monkeypatch.setattr(reconcile, "POLL_SECONDS", 0.01)
    monkeypatch.setenv("CONTROLLER_HOST", address)
    monkeypatch.setenv("CONTROLLER_OAUTH_TOKEN", ADMIN_TOKEN)

    def configure(*, check: bool = False, diff: bool = True, **options: Any) -> dict[str, Any]:
        given = {**OPTIONS, "ca_path": ca_path, **options, "_ansible_check_mode": check, "_ansible_diff": diff}
        arguments = {name: value for name, value in given.items() if value is not None}
        with patch_module_args(arguments), pytest.raises(SystemExit) as caught:
            awx_configuration.main()
        output = capsys.readouterr().out
        result = json.loads(output)
        result.pop("_ansible_new_secrets", None)  # for the controller, which masks them
        result["raw"] = json.dumps(result)
        assert bool(caught.value.code) == bool(result.get("failed"))
        return result

    return configure


@pytest.fixture
def after_run(stand_in: StandIn, configure: Configure) -> AfterRun:
    """Bring the stand-in into the state after a run with these options. It runs once for all tests."""

    def after_run(**options: Any) -> None:
        key = json.dumps(options)
        if key not in STATES:
            result = configure(**options)
            assert not result.get("failed"), result
            STATES[key] = stand_in.state()
        stand_in.restore(STATES[key])
        stand_in.requests.clear()

    return after_run


def rows(result: dict[str, Any], *, kind: str | None = None, **having: Any) -> list[str]:
    """Return the names of the rows of a kind, or of all, with these values."""
    return [
        row["name"]
        for row in result["results"]
        if kind in (None, row["kind"]) and all(row.get(key) == value for key, value in having.items())
    ]
