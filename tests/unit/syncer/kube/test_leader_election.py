"""One of several syncers is the leader; another takes over only after its lease has expired."""

from __future__ import annotations

import asyncio

import pytest
from tenantry_syncer.kube import leader_election
from tenantry_syncer.kube.client import ApiError
from tenantry_syncer.kube.leader_election import LeaderElector, LeadershipLost

LEASE = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/tenantry-syncer"


class Store:
    """One object with a resource version, as in an API server; unreachable while `down`."""

    def __init__(self) -> None:
        self.lease: dict | None = None
        self.version = 0
        self.down = False

    async def get(self, path: str) -> dict | None:
        assert path == LEASE
        self._answer()
        return self.lease

    async def create(self, path: str, body: dict) -> dict:
        self._answer()
        if self.lease:
            raise ApiError(409, "AlreadyExists", path)
        return self._put(body)

    async def replace(self, _path: str, body: dict) -> dict:
        self._answer()
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise ApiError(409, "Conflict", "")
        return self._put(body)

    def _answer(self) -> None:
        if self.down:
            raise ApiError(0, "Unreachable", "")

    def _put(self, body: dict) -> dict:
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.lease


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("SECONDS", 0.3), ("STOP_SECONDS", 0.2), ("RENEW_SECONDS", 0.02)):
        monkeypatch.setattr(leader_election, name, seconds)


def test_acquire_waits_until_lease_expires():
    async def main():
        store = Store()
        first, second = LeaderElector(store, "server-0"), LeaderElector(store, "server-1")
        await first.acquire()
        keeping = asyncio.create_task(first.renew())
        waiting = asyncio.create_task(second.acquire())
        await asyncio.sleep(0.6)
        assert not waiting.done()
        keeping.cancel()
        await asyncio.wait_for(waiting, 2)
        assert store.lease["spec"]["holderIdentity"] == "server-1"

    asyncio.run(main())


def test_acquire_with_same_identity_is_immediate():
    async def main():
        store = Store()
        await LeaderElector(store, "server-0").acquire()
        await asyncio.wait_for(LeaderElector(store, "server-0").acquire(), 0.2)

    asyncio.run(main())


def test_renew_stops_before_lease_expires():
    async def main():
        store = Store()
        first = LeaderElector(store, "server-0")
        await first.acquire()
        store.down = True
        with pytest.raises(LeadershipLost):
            await asyncio.wait_for(first.renew(), leader_election.SECONDS)

    asyncio.run(main())


def test_renew_stops_if_another_holds_lease():
    async def main():
        store = Store()
        first = LeaderElector(store, "server-0")
        await first.acquire()
        store._put({**store.lease, "spec": {"holderIdentity": "server-1", "leaseDurationSeconds": 15}})
        with pytest.raises(LeadershipLost, match="another"):
            await asyncio.wait_for(first.renew(), 2)

    asyncio.run(main())


def test_acquire_concurrently_has_one_leader():
    async def main():
        store = Store()
        held = await asyncio.gather(
            *(LeaderElector(store, f"server-{number}")._acquire_or_renew() for number in range(3))
        )
        assert sorted(held) == [False, False, True]

    asyncio.run(main())
