"""What the unit tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

SOURCES = ("HOST", "API_KEY", "VERIFY_SSL", "SSL_CA_CERT", "CERT_FILE", "KEY_FILE", "PROXY", "KUBECONFIG", "CONTEXT")


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An empty home directory, and no variable of this machine by which modules find a hub."""
    for name in (*(f"K8S_AUTH_{source}" for source in SOURCES), "KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"
