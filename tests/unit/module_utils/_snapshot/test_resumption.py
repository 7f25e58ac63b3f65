"""QUO-7: a restore into a paused virtual cluster takes its resources from the quota again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.resumption import Resumptions, resume
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState

from .._vcluster.example import SHARED
from .._vcluster.flow_world import World


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> World:
    """The quota has 64 CPUs, of which the paused dev had 40."""
    world = World(monkeypatch)
    whole = {**SHARED, "resources": {**SHARED["resources"], "cpu": "40"}}
    for state in ("present", "paused"):
        assert "error" not in world.one(**whole, state=state)
    return world


def resumptions(world: World, *, check: bool = False) -> Resumptions:
    context: Any = SimpleNamespace(hub=world.hub, cluster=None, check_mode=check, warn=world.warnings.append)
    with registry.open_fleet(context) as fleet:
        places = FleetState(fleet)
        return Resumptions(context, places, [places.found["payments--dev"]])


def limit(world: World) -> str:
    found = world.hub.get("v1/ResourceQuota", "vcluster", "payments--dev")
    assert found
    return found["spec"]["hard"]["limits.cpu"]


def promise(world: World) -> promises.Promise:
    return promises.of(world.record())["payments--dev"]


def test_restore_takes_a_promise_and_then_the_resources(paused: World) -> None:
    run = resumptions(paused)
    assert run.problems == {}
    assert (promise(paused).counted["cpu"], promise(paused).held, limit(paused)) == ("40", True, "250m")
    namespace = paused.hub.get("v1/Namespace", "payments--dev")
    found = resume(VirtualCluster(paused.hub, namespace))  # type: ignore[arg-type]  # a fake
    assert (found.record.paused, limit(paused)) == (None, "40")
    assert resume(found) is found
    run.settled([{"namespace": "payments--dev"}])
    assert (promise(paused).counted["cpu"], promise(paused).pending) == ("40", False)


def test_restore_is_refused_when_the_quota_is_used_up(paused: World) -> None:
    more = {**SHARED, "resources": {**SHARED["resources"], "cpu": "30"}}
    more["expose"] = {"type": "NodePort", "port": 30444, "address": "192.0.2.10"}
    assert "error" not in paused.one(**more, name="other")
    for check in (True, False):
        run = resumptions(paused, check=check)
        assert run.problems["payments--dev"].startswith("payments--dev is paused and has no room to resume: quota of")
        run.settled([{"namespace": "payments--dev", "error": run.problems["payments--dev"]}])
    assert (promise(paused).counted["cpu"], promise(paused).pending, limit(paused)) == ("250m", False, "250m")
