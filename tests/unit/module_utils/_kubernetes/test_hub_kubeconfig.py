"""Where the kubeconfig of the hub comes from, if no option names it."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import hub_kubeconfig

PEM = "-----BEGIN CERTIFICATE-----\n"
VARIABLES = {"K8S_AUTH_HOST": "https://awx.example.com:6443", "K8S_AUTH_API_KEY": "token-of-awx"}


@pytest.fixture(autouse=True)
def home(no_hub: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(hub_kubeconfig, "ACCOUNT", tmp_path / "account")
    return no_hub


def kubeconfig(path: Path, name: str) -> Path:
    config = {
        "current-context": name,
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}"}}],
        "users": [{"name": name, "user": {"token": f"token-of-{name}"}}],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config))
    return path


def found(path: str | None = None, context: str | None = None) -> tuple[str, str]:
    """The server, and the credential for it."""
    config = hub_kubeconfig.load(path, context)
    address = config["clusters"][0]["cluster"]["server"]
    assert hub_kubeconfig.server(path, context) == address
    return address, config["users"][0]["user"]["token"]


@pytest.fixture
def all_there(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, object]:
    """Every source, by what takes it away; the first one wins."""
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path / "kubectl.yaml", "kubectl")))
    default = kubeconfig(home / ".kube/config", "default")
    in_pod(monkeypatch)
    return {
        "https://awx.example.com:6443": lambda: monkeypatch.delenv("K8S_AUTH_HOST"),
        "https://kubectl": lambda: monkeypatch.delenv("KUBECONFIG"),
        "https://default": default.unlink,
        "https://10.43.0.1:443": lambda: monkeypatch.delenv("KUBERNETES_SERVICE_HOST"),
    }


def in_pod(monkeypatch: pytest.MonkeyPatch, host: str = "10.43.0.1") -> None:
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    hub_kubeconfig.ACCOUNT.mkdir()
    (hub_kubeconfig.ACCOUNT / "ca.crt").write_text(PEM)
    (hub_kubeconfig.ACCOUNT / "token").write_text("token-of-pod\n")


def test_sources_have_an_order(all_there: dict, tmp_path: Path) -> None:
    option = kubeconfig(tmp_path / "option.yaml", "option")
    assert found(str(option)) == ("https://option", "token-of-option")
    for address, take_away in all_there.items():
        assert found()[0] == address
        take_away()
    with pytest.raises(TenantryError, match=r"^kubeconfig: no kubeconfig of the hub was given or found\. Set the"):
        found()


def test_user_without_a_home_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container with a random UID."""

    def nowhere(path: Path) -> Path:
        if str(path).startswith("~"):
            raise RuntimeError("Could not determine home directory.")
        return path

    in_pod(monkeypatch)
    monkeypatch.setattr(Path, "expanduser", nowhere)
    assert found() == ("https://10.43.0.1:443", "token-of-pod")


def test_variables_of_awx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text(PEM)
    for name, value in {**VARIABLES, "K8S_AUTH_VERIFY_SSL": "True", "K8S_AUTH_SSL_CA_CERT": str(authority)}.items():
        monkeypatch.setenv(name, value)
    assert found() == ("https://awx.example.com:6443", "token-of-awx")
    cluster = hub_kubeconfig.load(None, None)["clusters"][0]["cluster"]
    assert base64.b64decode(cluster["certificate-authority-data"]).decode() == PEM


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("K8S_AUTH_VERIFY_SSL", "False", r"^K8S_AUTH_VERIFY_SSL: is off, but certificates are always verified"),
        ("K8S_AUTH_HOST", "http://awx.example.com", r"^K8S_AUTH_HOST: server .* is not an https:// address"),
        (
            "K8S_AUTH_API_KEY",
            "",
            r"^K8S_AUTH_API_KEY: is missing for K8S_AUTH_HOST\. Set it, or ",
        ),
        ("K8S_AUTH_SSL_CA_CERT", "/none", r"^K8S_AUTH_HOST: certificate-authority: cannot read /none: No such file"),
    ],
)
def test_variables_that_are_not_enough(monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str) -> None:
    for variable, text in {**VARIABLES, name: value}.items():
        monkeypatch.setenv(variable, text)
    with pytest.raises(TenantryError, match=message):
        hub_kubeconfig.load(None, None)


@pytest.mark.parametrize(
    ("value", "message"),
    [("/a:/b", "KUBECONFIG: has several files"), ("/none", "KUBECONFIG: cannot read /none: No such file")],
)
def test_kubeconfig_of_kubectl_that_cannot_be_used(monkeypatch: pytest.MonkeyPatch, value: str, message: str) -> None:
    monkeypatch.setenv("KUBECONFIG", value)
    with pytest.raises(TenantryError, match=message):
        found()


@pytest.mark.parametrize(
    ("host", "server"), [("10.43.0.1", "https://10.43.0.1:443"), ("fd00::1", "https://[fd00::1]:443")]
)
def test_service_account_of_the_pod(monkeypatch: pytest.MonkeyPatch, host: str, server: str) -> None:
    in_pod(monkeypatch, host)
    assert found() == (server, "token-of-pod")
    assert "certificate-authority-data" in hub_kubeconfig.load(None, None)["clusters"][0]["cluster"]


def test_users_get_the_address_that_the_reconciler_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_kubeconfig.server_for_users("https://10.43.0.1:443") == "https://10.43.0.1:443"
    monkeypatch.setenv("TENANTRY_HUB_SERVER", "https://hub.example.com:6443")
    assert hub_kubeconfig.server_for_users("https://10.43.0.1:443") == "https://hub.example.com:6443"
