"""Of several syncers beside as many servers one works: who holds a lease inside the virtual cluster."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from tenantry_syncer.kube.client import Api, ApiError
from tenantry_syncer.kube.resources import LEASE

_log = logging.getLogger(__name__)
NAME, NAMESPACE = "tenantry-syncer", "kube-system"
# Who has not renewed it for so long has lost it. He stops before that, by his own clock.
SECONDS = 15
STOP_SECONDS = 10.0
RENEW_SECONDS = 3.0


class LeadershipLost(Exception):
    """Another may be working now."""


class LeaderElector:
    """No clocks are compared: a lease has run out when it was seen unchanged for as long as it lasts."""

    def __init__(self, api: Api, identity: str) -> None:
        self._api = api
        self._identity = identity
        self._seen: tuple[str, float] = ("", 0.0)  # the version of another's lease, and since when

    async def acquire(self) -> None:
        """Wait for it, however long that is."""
        while True:
            try:
                if await self._acquire_or_renew():
                    _log.info("this syncer works now")
                    return
            except ApiError as error:
                _log.warning("lease: %s", error)
            await asyncio.sleep(RENEW_SECONDS)

    async def renew(self) -> None:
        """For ever; raises Lost in time before another can have it."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            begun = time.monotonic()
            try:
                async with asyncio.timeout(renewed + STOP_SECONDS - begun):
                    held = await self._acquire_or_renew()
            except (ApiError, TimeoutError) as error:
                _log.warning("lease: %s", error)
                if time.monotonic() - renewed >= STOP_SECONDS:
                    raise LeadershipLost("the lease could not be renewed") from None
                continue
            if not held:
                raise LeadershipLost("another syncer has the lease")
            renewed = begun

    async def _acquire_or_renew(self) -> bool:
        """Take or renew it; whether it is ours now."""
        lease = await self._api.get(LEASE.path(NAMESPACE, NAME))
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": SECONDS,
            "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        try:
            if lease is None:
                made = {"apiVersion": LEASE.api_version, "kind": LEASE.name, "metadata": {"name": NAME}, "spec": spec}
                await self._api.create(LEASE.path(NAMESPACE), made)
                return True
            if lease["spec"].get("holderIdentity") != self._identity and not self._has_expired(lease):
                return False
            await self._api.replace(LEASE.path(NAMESPACE, NAME), {**lease, "spec": {**lease["spec"], **spec}})
        except ApiError as error:
            if error.status == 409:  # somebody was faster
                return False
            raise
        return True

    def _has_expired(self, lease: dict) -> bool:
        version = lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = version, time.monotonic()
        return time.monotonic() - self._seen[1] > lease["spec"].get("leaseDurationSeconds", SECONDS)
