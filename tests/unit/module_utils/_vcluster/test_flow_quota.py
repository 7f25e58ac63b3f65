"""Items of the module vcluster that share a quota: which goes first, and what is promised meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Key
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    reconcile,
    upgrade,
)

from .example import SHARED, make_item
from .flow_world import World, item

NAMESPACE = Key("v1/Namespace", None, "payments--dev")
ETCD = {**SHARED, "servers": 3, "resources": {**SHARED["resources"], "cpu": "9", "memory": "9Gi"}}
SERVER = Key("apps/v1/StatefulSet", "payments--dev", "server")


@pytest.mark.parametrize("taken", [False, True])
def test_promise_of_one_that_waited_long_is_renewed(world: World, monkeypatch: pytest.MonkeyPatch, taken: bool) -> None:
    begun = promises.clock()

    def wait(*_of: Any) -> None:
        monkeypatch.setattr(promises, "clock", lambda: begun + promises.LASTS / 2)
        if taken:
            promises.update(world.hub, world.record(), lambda before: {**before, "payments--late": small})

    small = promises.Promise.of("hub", {"cpu": "1"})
    monkeypatch.setattr(upgrade, "wait_for_server", wait)
    late = item(name="late", expose=make_item(expose={"port": 30444})["expose"])
    first, second = world.run(item(), late)
    assert "error" not in first
    promise = promises.of(world.record())["payments--late"]
    if taken:
        assert "another run has taken what was promised to payments--late, because" in second["error"]
        assert (second["changed"], promise) == (False, small)
    else:
        assert "error" not in second
        assert (promise.pending, promise.resources["cpu"]) == (False, "2")


class Exchange:
    """Virtual clusters a and b share the quota of 64: a has 40 and gives, b has 20 and takes."""

    def __init__(self, world: World) -> None:
        self.world = world
        (*rows,) = world.run(self.item("b", 20), self.item("a", 40))
        assert not [row["error"] for row in rows if "error" in row]
        world.hub.writes.clear()

    def item(self, name: str, cpu: int, **changes: Any) -> dict[str, Any]:
        expose = make_item(expose={"port": 30443 + ord(name) - ord("a")})["expose"]
        return item(name=name, expose=expose, resources={"cpu": str(cpu), "memory": "4Gi"}, **changes)

    def promised(self) -> dict[str, str]:
        found = promises.of(self.world.record())
        assert not [one for one in found.values() if one.pending]
        return {name.removeprefix("payments--"): one.resources["cpu"] for name, one in found.items()}

    def limits(self) -> dict[str, str]:
        quotas = {one["metadata"]["namespace"]: one for one in self.world.hub.list("v1/ResourceQuota")}
        names = ("a", "b")
        return {
            name: quotas[f"payments--{name}"]["spec"]["hard"]["limits.cpu"]
            for name in names
            if f"payments--{name}" in quotas
        }


@pytest.fixture
def exchange(world: World) -> Exchange:
    return Exchange(world)


@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_frees_quota_goes_before_what_takes_it(exchange: Exchange, state: str) -> None:
    world = exchange.world
    seen: list[dict[str, str]] = []
    apply = world.hub.apply
    world.hub.apply = lambda obj, **options: (seen.append(exchange.limits()), apply(obj, **options))[1]  # type: ignore[method-assign]
    b, a = world.run(exchange.item("b", 50), exchange.item("a", 10, state=state))
    assert (b["name"], a["name"], b.get("error"), a.get("error")) == ("b", "a", None, None)
    assert max(sum(map(int, one.values())) for one in seen) <= 64
    left = {"b": "50"} if state == "absent" else {"a": "10", "b": "50"}
    assert (exchange.limits(), exchange.promised()) == (left, left)
    assert not world.warnings


@pytest.mark.parametrize("state", ["present", "absent"])
def test_what_is_not_freed_is_not_taken(exchange: Exchange, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    world, apply = exchange.world, exchange.world.hub.apply

    def fails(obj: dict, **options: Any) -> dict:
        if obj["metadata"].get("namespace") == "payments--a":
            raise ApiError("the host is dying")
        return apply(obj, **options)

    def stays(*_of: Any, **_options: Any) -> None:
        raise ApiError("the host is dying")

    monkeypatch.setattr(world.hub, "apply", fails)
    monkeypatch.setattr(world.hub, "delete", stays)
    new = exchange.item("c", 2)
    b, a, c = world.run(exchange.item("b", 50), exchange.item("a", 10, state=state), new)
    assert "the host is dying" in a["error"]
    for row in (b, c):
        assert "quota of tenant payments: cpu 52 asked for, but 24 left (40 of 64 used" in row["error"]
        assert (row["changed"], row["refused"]) == (False, True)
    assert exchange.limits() == exchange.promised() == {"a": "40", "b": "20"}
    monkeypatch.undo()


def test_deletion_without_wait_frees_nothing_yet(exchange: Exchange) -> None:
    b, a = exchange.world.run(exchange.item("b", 50), exchange.item("a", 10, state="absent"), wait=False)
    assert "cpu 50 asked for, but 24 left" in b["error"]
    assert "error" not in a


def test_what_fits_anyway_does_not_wait(exchange: Exchange) -> None:
    names: list[str] = []
    run_each = reconcile.run_each

    def each(hub: Any, items: list, *how: Any) -> list[dict]:
        names.append("".join(one.name for one in items))
        return run_each(hub, items, *how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "run_each", each)
        exchange.world.run(exchange.item("b", 24), exchange.item("a", 10))
        exchange.world.run(exchange.item("b", 50), exchange.item("a", 5), check=True)
        exchange.world.run(exchange.item("b", 60), exchange.item("a", 4))
    assert [one for one in names if one] == ["ba", "ba", "a", "b"]
