"""Runs of the module, and receivers for notices with a certificate of an authority of the tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from syncer.authority import Authority

from .receivers import Mailbox, Webhook, mail_server, webhook
from .runs import Runs


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def ca_path(authority: Authority) -> str:
    path = Path(authority.directory) / "ca.pem"
    path.write_text(authority.pem)
    return str(path)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def mailbox(authority: Authority) -> Iterator[Mailbox]:
    """A mail server with STARTTLS that requires a user."""
    with mail_server(authority.server_context()) as found:
        yield found


@pytest.fixture
def other() -> Iterator[Webhook]:
    with webhook() as found:
        yield found


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(monkeypatch)
