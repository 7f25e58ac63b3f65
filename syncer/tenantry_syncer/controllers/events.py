"""Events: the host's, told inside of the object they are about; and the syncer's own refusals."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import NoReturn

import aiohttp

from tenantry_syncer import naming
from tenantry_syncer.kube.client import ApiError, Gone
from tenantry_syncer.kube.resources import CLAIM, EVENT, INGRESS, POD, SERVICE, Kind
from tenantry_syncer.kube.work_queue import Again
from tenantry_syncer.sync_context import Sides
from tenantry_syncer.translate import hosts_file

# The host may let in later what it refuses now: a quota has room again, a policy was changed. Seconds.
REFUSED_AGAIN = 10.0
_REFUSALS = (400, 403, 413, 422)
SOURCE = "tenantry-syncer"
_ABOUT = {kind.name: kind for kind in (POD, CLAIM, SERVICE, INGRESS)}
_log = logging.getLogger(__name__)


class Events:
    def __init__(self, sides: Sides) -> None:
        self._sides = sides

    async def refuse(self, kind: Kind, obj: dict, reason: str, message: str) -> None:
        """Tell the tenant, on the object itself, why it does not come to be. The same is counted, not repeated."""
        now = _now()
        event = {
            **_event(obj, kind, f"{reason}/{message}"),
            "type": "Warning",
            "reason": reason,
            "message": message[:1024],
            "source": {"component": SOURCE},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._write(event)
        except ApiError as error:  # what is refused is so whether it can be told or not
            _log.debug("event about %s: %s", obj["metadata"]["name"], error)

    async def host_refused(self, kind: Kind, obj: dict, host: dict, error: ApiError) -> NoReturn:
        """Tell what the host said to `host`, and have the object looked at again later. Raises what is no refusal."""
        if not await self.tell_refusal(kind, obj, host, error):
            raise error
        raise Again(REFUSED_AGAIN) from None

    @staticmethod
    def is_refusal(error: ApiError) -> bool:
        return error.status in _REFUSALS

    async def refuse_parts(self, kind: Kind, obj: dict, messages: list[str]) -> NoReturn:
        """Tell what the host said to parts of an object, and have it looked at again later."""
        for message in messages:
            await self.refuse(kind, obj, "HostRefused", message)
        raise Again(REFUSED_AGAIN) from None

    async def tell_refusal(self, kind: Kind, obj: dict, host: dict, error: ApiError) -> bool:
        """Whether it was a refusal of `host`, which is told then."""
        if not self.is_refusal(error) or error.is_about("metadata.uid"):  # of another object of that name
            return False
        await self.refuse(kind, obj, "HostRefused", self._sides.told(error.message, host, obj))
        return True

    async def run(self) -> None:
        """For ever: the host's events, from now on. Those of before are in nobody's way if they are missed."""
        path = EVENT.path(self._sides.config.namespace)
        while True:
            try:
                await self._follow(path, await self._sides.host.api.version(path))
            except (Gone, ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _log.warning("watching events: %s", error)
                await asyncio.sleep(2)

    async def _follow(self, path: str, version: str) -> None:
        async for change, event in self._sides.host.api.watch(path, version):
            if change in ("ADDED", "MODIFIED"):
                try:
                    await self._tell(event)
                except ApiError as error:
                    # Most often the namespace is being deleted, where nothing new can be made.
                    _log.debug("event %s: %s", event["metadata"]["name"], error)

    async def _tell(self, event: dict) -> None:
        about = event.get("involvedObject") or {}
        kind = _ABOUT.get(about.get("kind", ""))
        copy = self._sides.host.get(kind, "", about.get("name", "")) if kind else None
        key = naming.virtual_key(copy) if copy else None
        obj = self._sides.inside.get(kind, *key) if kind and key else None
        if kind is None or copy is None or obj is None or not self._sides.is_copy(copy, obj):
            return
        if event.get("type") == "Normal" and f"{{{hosts_file.NAME}}}" in about.get("fieldPath", ""):
            return  # a container that nobody inside has asked for
        same = (
            "type",
            "reason",
            "firstTimestamp",
            "lastTimestamp",
            "count",
            "eventTime",
            "action",
            "reportingComponent",
        )
        made = {
            **_event(obj, kind, event["metadata"]["uid"]),
            **{name: event[name] for name in same if event.get(name)},
            "message": self._sides.told(event.get("message", ""), copy, obj),
            "source": {"component": (event.get("source") or {}).get("component", "")},
        }
        if made.get("eventTime"):
            made["reportingInstance"] = SOURCE
        if about.get("fieldPath"):
            made["involvedObject"]["fieldPath"] = about["fieldPath"]
        await self._write(made)

    async def _write(self, event: dict) -> None:
        api, metadata = self._sides.inside.api, event["metadata"]
        try:
            await api.create(EVENT.path(metadata["namespace"]), event)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            path = EVENT.path(metadata["namespace"], metadata["name"])
            known = await api.read(path) or {}
            count = max(event.get("count", 0), known.get("count", 0) + 1)
            await api.merge(path, {"count": count, "lastTimestamp": event.get("lastTimestamp") or _now()})


def _event(obj: dict, kind: Kind, identity: str) -> dict:
    """The same identity gives the same name, so that a restart tells nothing twice."""
    metadata = obj["metadata"]
    namespace = metadata.get("namespace", "default")
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{metadata['name'][:200].rstrip('-.')}.{naming.digest(metadata['uid'] + identity, 16)}",
            "namespace": namespace,
        },
        "involvedObject": {
            "apiVersion": kind.api_version,
            "kind": kind.name,
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
