"""Events in the virtual cluster: those of the host about synced objects, and the syncer's own about rejections."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime
from typing import NoReturn

import aiohttp

from tenantry_syncer import naming
from tenantry_syncer.kube.client import ApiError, Gone
from tenantry_syncer.kube.resources import EVENT, INGRESS, POD, PVC, SERVICE, Kind
from tenantry_syncer.kube.work_queue import RequeueAfter
from tenantry_syncer.sync_context import SyncContext
from tenantry_syncer.translate import hosts_file

# Seconds. The host may accept later what it rejects now: a quota has room again, a policy has changed.
REJECTED_RETRY_SECONDS = 10.0
_REJECTION_STATUSES = (400, 403, 413, 422)
SOURCE = "tenantry-syncer"
_ABOUT = {kind.name: kind for kind in (POD, PVC, SERVICE, INGRESS)}
_log = logging.getLogger(__name__)


class Events:
    """Copies events of the host, and creates events about rejections."""

    def __init__(self, context: SyncContext) -> None:
        self._context = context

    async def reject(self, kind: Kind, obj: dict, reason: str, message: str) -> None:
        """Record a warning about an object or a part of it that is not synced; repetitions only raise its count."""
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
        except ApiError as error:  # the rejection holds with or without an event
            _log.debug("event about %s: %s", obj["metadata"]["name"], error)

    async def host_rejected(self, kind: Kind, obj: dict, host: dict, error: ApiError) -> NoReturn:
        """Record the host's rejection of `host` and raise RequeueAfter; re-raise an error that is not a rejection."""
        if not await self.report_rejection(kind, obj, host, error):
            raise error
        raise RequeueAfter(REJECTED_RETRY_SECONDS) from None

    @staticmethod
    def is_rejection(error: ApiError) -> bool:
        """Return whether the host rejected the object, so that a retry alone does not help."""
        return error.status in _REJECTION_STATUSES

    async def reject_parts(self, kind: Kind, obj: dict, messages: list[str]) -> NoReturn:
        """Record the host's rejections of parts of an object and raise RequeueAfter."""
        for message in messages:
            await self.reject(kind, obj, "HostRefused", message)
        raise RequeueAfter(REJECTED_RETRY_SECONDS) from None

    async def report_rejection(self, kind: Kind, obj: dict, host: dict, error: ApiError) -> bool:
        """Record an event if the error is a rejection of `host`; return whether it is."""
        if not self.is_rejection(error):
            return False
        await self.reject(kind, obj, "HostRefused", self._context.to_virtual_message(error.message, host, obj))
        return True

    async def run(self) -> None:
        """Copy the host's events from now on until cancelled; earlier ones may be missed."""
        path = EVENT.path(self._context.config.namespace)
        while True:
            try:
                await self._follow(path, await self._context.host.api.version(path))
            except (Gone, ApiError, aiohttp.ClientError, TimeoutError, ValueError) as error:
                _log.warning("could not watch events: %s", error)
                await asyncio.sleep(2)

    async def _follow(self, path: str, version: str) -> None:
        async for change, event in self._context.host.api.watch(path, version):
            if change in ("ADDED", "MODIFIED"):
                try:
                    await self._sync_status(event)
                except ApiError as error:
                    # Usually the namespace is being deleted and rejects new objects.
                    _log.debug("event %s: %s", event["metadata"]["name"], error)

    async def _sync_status(self, event: dict) -> None:
        about = event.get("involvedObject") or {}
        kind = _ABOUT.get(about.get("kind", ""))
        host_object = self._context.host.get(kind, "", about.get("name", "")) if kind else None
        key = naming.virtual_key(host_object) if host_object else None
        obj = self._context.virtual.get(kind, *key) if kind and key else None
        if kind is None or host_object is None or obj is None or not self._context.is_host_object_of(host_object, obj):
            return
        if event.get("type") == "Normal" and f"{{{hosts_file.NAME}}}" in about.get("fieldPath", ""):
            return  # about the container that the syncer adds
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
        translated = {
            **_event(obj, kind, event["metadata"]["uid"]),
            **{name: event[name] for name in same if event.get(name)},
            "message": self._context.to_virtual_message(event.get("message", ""), host_object, obj),
            "source": {"component": (event.get("source") or {}).get("component", "")},
        }
        if translated.get("eventTime"):
            translated["reportingInstance"] = SOURCE
        if about.get("fieldPath"):
            translated["involvedObject"]["fieldPath"] = about["fieldPath"]
        await self._write(translated)

    async def _write(self, event: dict) -> None:
        api, metadata = self._context.virtual.api, event["metadata"]
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
    """Return an Event whose name derives from `identity`, so that a restart creates no duplicates."""
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
