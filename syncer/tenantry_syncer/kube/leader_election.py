"""Leader election among the syncers of a virtual cluster with several servers, by a Lease in the virtual cluster."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime

from tenantry_syncer.kube.client import Api, ApiError
from tenantry_syncer.kube.resources import LEASE

_log = logging.getLogger(__name__)
NAME, NAMESPACE = "tenantry-syncer", "kube-system"
# Seconds: the duration of the lease, when a leader that cannot renew it stops, and the renewal interval.
SECONDS = 15
STOP_SECONDS = 10.0
RENEW_SECONDS = 3.0


class LeadershipLost(Exception):
    """Another syncer may be the leader now."""


class LeaderElector:
    """Compares no clocks: a lease has expired once it was seen unchanged for its whole duration."""

    def __init__(self, api: Api, identity: str) -> None:
        self._api = api
        self._identity = identity
        self._seen: tuple[str, float] = ("", 0.0)  # resource version of another's lease, and when it was first seen

    async def acquire(self) -> None:
        """Wait until this syncer is the leader."""
        while True:
            try:
                if await self._acquire_or_renew():
                    _log.info("became leader")
                    return
            except ApiError as error:
                _log.warning("lease: %s", error)
            await asyncio.sleep(RENEW_SECONDS)

    async def renew(self) -> None:
        """Renew the lease until it is lost; raises LeadershipLost before another syncer can acquire it."""
        renewed = time.monotonic()
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            begun = time.monotonic()
            try:
                async with asyncio.timeout(renewed + STOP_SECONDS - begun):
                    is_leader = await self._acquire_or_renew()
            except (ApiError, TimeoutError) as error:
                _log.warning("lease: %s", error)
                if time.monotonic() - renewed >= STOP_SECONDS:
                    raise LeadershipLost("could not renew the lease") from None
                continue
            if not is_leader:
                raise LeadershipLost("another syncer holds the lease")
            renewed = begun

    async def _acquire_or_renew(self) -> bool:
        """Try to acquire or renew the lease; return whether this syncer holds it."""
        lease = await self._api.get(LEASE.path(NAMESPACE, NAME))
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": SECONDS,
            "renewTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        }
        try:
            if lease is None:
                manifest = {
                    "apiVersion": LEASE.api_version,
                    "kind": LEASE.name,
                    "metadata": {"name": NAME},
                    "spec": spec,
                }
                await self._api.create(LEASE.path(NAMESPACE), manifest)
                return True
            if lease["spec"].get("holderIdentity") != self._identity and not self._has_expired(lease):
                return False
            await self._api.replace(LEASE.path(NAMESPACE, NAME), {**lease, "spec": {**lease["spec"], **spec}})
        except ApiError as error:
            if error.status == 409:  # another syncer was faster
                return False
            raise
        return True

    def _has_expired(self, lease: dict) -> bool:
        version = lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = version, time.monotonic()
        return time.monotonic() - self._seen[1] > lease["spec"].get("leaseDurationSeconds", SECONDS)
