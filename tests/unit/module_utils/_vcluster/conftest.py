from __future__ import annotations

import pytest

from .fleet_world import FakeFleet
from .flow_world import World


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


@pytest.fixture
def fleet() -> FakeFleet:
    return FakeFleet()
