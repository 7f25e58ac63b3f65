# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Watch the requests of tenants on the hub, and tell what changed in them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import attempt

_log = logging.getLogger(__name__)
SECONDS = 60  # of a watch; then the requests are listed again, with a new connection and the current token
RETRY_AFTER = 3


@dataclass(frozen=True)
class Change:
    """A request that was created, changed or deleted. Its status does not count."""

    namespace: str
    reason: str


@dataclass(frozen=True)
class _Seen:
    namespace: str
    name: str
    generation: int
    phase: str

    @classmethod
    def of(cls, request: dict) -> _Seen:
        meta, status = request["metadata"], request.get("status") or {}
        phase = ": ".join(filter(None, (status.get("phase"), status.get("message"))))
        return cls(meta["namespace"], meta["name"], meta.get("generation", 0), phase)


class RequestWatch(threading.Thread):
    """Watches one kind until the process ends. Calls `changed` for each change."""

    def __init__(self, connect: Callable[[], Cluster], kind: str, changed: Callable[[Change], None]) -> None:
        super().__init__(daemon=True, name=kind)
        self.listed = threading.Event()  # from then on, no change is missed
        self.alive_at = time.monotonic()
        self._connect, self._changed = connect, changed
        self._kind, self._kind_name = kind, kind.rpartition("/")[2]
        self._known: dict[str, _Seen] = {}  # by UID
        self._trouble: str | None = None

    def run(self) -> None:
        """List and watch, again and again. A fault is a line of the log, once."""
        while True:
            problem, _done = attempt(self._watch)
            if problem != self._trouble and problem:
                _log.warning("watching %s: %s", self._kind_name, problem)
            self._trouble = problem
            self.alive_at = time.monotonic()
            if problem:
                time.sleep(RETRY_AFTER)

    def _watch(self) -> None:
        hub = self._connect()
        with closing(hub):
            found = {request["metadata"]["uid"]: request for request in hub.list(self._kind)}
            for uid in self._known.keys() - found.keys():
                self._forget(uid)
            for request in found.values():
                self._see(request)
            self.listed.set()
            self.alive_at = time.monotonic()
            for event, request in hub.watch(self._kind, timeout=SECONDS):
                self.alive_at = time.monotonic()
                if event == "DELETED":
                    self._forget(request["metadata"]["uid"])
                else:
                    self._see(request)

    def _see(self, request: dict) -> None:
        uid, now = request["metadata"]["uid"], _Seen.of(request)
        before, self._known[uid] = self._known.get(uid), now
        if not self.listed.is_set():
            return
        name = f"{self._kind_name} {now.namespace}/{now.name}"
        if now.phase and (before is None or before.phase != now.phase):
            _log.info("%s is %s", name, now.phase)
        if before is None or before.generation != now.generation:
            self._changed(Change(now.namespace, f"{name} {'changed' if before else 'appeared'}"))

    def _forget(self, uid: str) -> None:
        if gone := self._known.pop(uid, None):
            self._changed(Change(gone.namespace, f"{self._kind_name} {gone.namespace}/{gone.name} was deleted"))
