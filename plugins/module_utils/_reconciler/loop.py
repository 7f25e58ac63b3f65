# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The loop of the reconciler: the playbooks for requests as they change, others on a schedule, under a Lease."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    TENANT_USER_REQUEST,
    VIRTUAL_CLUSTER_REQUEST,
)
from ansible_collections.tenantry.kube.plugins.module_utils._module import attempt
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import leader_lease, metrics
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.leader_lease import LeaderLease
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.platform_rights import grant_missing
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.playbook_runs import PlaybookRuns, Run
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.request_watch import (
    SECONDS as WATCH_SECONDS,
)
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.request_watch import (
    Change,
    RequestWatch,
)

_log = logging.getLogger(__name__)
KINDS = (VIRTUAL_CLUSTER_REQUEST, TENANT_USER_REQUEST)
SELF_SERVICE = "self_service"
# Seconds: between two looks at running playbooks, and at the longest between two turns of the loop.
TURN, LONGEST_TURN = 0.2, 1.0
# Seconds without a sign of life after which a part counts as stuck.
STUCK = 60
# Seconds for all requests of one look at the hub with their retries: a leader that stopped renewing at STOP_AFTER has
# ended one before another reconciler may begin.
LOOK = 5


@dataclass(frozen=True)
class LoopOptions:
    """What runs, how often, and under which name."""

    inventory: Path
    schedule: Mapping[str, int]  # seconds by playbook
    holder: str
    namespace: str
    metrics: Path | None = None  # what the playbook report writes for Prometheus


class Loop:
    """One reconciler, from its start to its end."""

    def __init__(self, options: LoopOptions, connect: Callable[[], Cluster]) -> None:
        self.options = options
        self._connect = connect
        self._changes: queue.SimpleQueue[Change | None] = queue.SimpleQueue()
        self._watches = [RequestWatch(connect, kind, self._changes.put) for kind in KINDS]
        self._runs = PlaybookRuns(options.inventory, options.metrics)
        self._lease = LeaderLease(options.namespace, options.holder)
        self._leads = False
        self._stopped = False
        self._next: dict[str, float] = {}  # when each playbook of the schedule is due
        self._alive_at = time.monotonic()
        self._renewed_at = self._tried_at = float("-inf")

    def stop(self) -> None:
        """End the loop soon. For handlers of signals."""
        self._stopped = True
        self._changes.put(None)

    def unhealthy(self) -> str:
        """Return what is stuck, or an empty string."""
        now = time.monotonic()
        parts = {"loop": self._alive_at}
        if self._leads:
            parts |= {f"watch of {one.name}": one.alive_at + WATCH_SECONDS for one in self._watches}
        stuck = [name for name, at in parts.items() if now - at > STUCK]
        return ", ".join(f"{name} is stuck" for name in [*stuck, *map(str, self._runs.stuck())])

    def unready(self) -> str:
        """Return why requests are not served by this process, or an empty string."""
        if not self._leads:
            return f"waiting for the lease, which {self._lease.current or 'nobody'} holds"
        return "" if self._is_watching() else "the requests are not listed yet"

    def metrics(self) -> str:
        """Return the metrics for Prometheus."""
        return metrics.render(self._runs.statistics, leads=self._leads, report=self.options.metrics)

    def run(self) -> int:
        """Run until stop() is called, or the lease is lost. Return the exit code."""
        try:
            while not self._stopped:
                self._alive_at = time.monotonic()
                if not self._keep_lease():
                    return 1
                if self._leads and self._is_watching():
                    self._turn()
                self._wait()
        finally:
            self._runs.stop()
        self._release()
        return 0

    def _is_watching(self) -> bool:
        return all(watch.listed.is_set() for watch in self._watches)

    def _keep_lease(self) -> bool:
        """Acquire or renew the lease if it is time to. Return False if it was lost."""
        began, before, holds = time.monotonic(), self._lease.current, None
        if began - self._tried_at >= leader_lease.RENEW_EVERY:
            self._tried_at = began
            problem, holds = attempt(self._with_hub(self._lease.acquire_or_renew))
            if holds:
                self._renewed_at = began
                self._begin()
            elif problem:
                _log.warning("lease: %s", problem)
            elif not self._leads and self._lease.current != before:
                _log.info("waiting for the lease, which %s holds", self._lease.current)
        if self._leads and (holds is False or self._must_stop()):
            _log.error("the lease is lost, and another reconciler may run")
            return False
        return True

    def _must_stop(self) -> bool:
        return time.monotonic() - self._renewed_at > leader_lease.STOP_AFTER

    def _begin(self) -> None:
        if not self._leads:
            self._leads = True
            _log.info("leader: %s", self.options.holder)
            for watch in self._watches:
                watch.start()

    def _turn(self) -> None:
        self._runs.collect()
        for playbook, seconds in self.options.schedule.items():
            if self._next.get(playbook, float("-inf")) <= time.monotonic():
                reason = f"every {seconds} s" if playbook in self._next else "start of the reconciler"
                self._next[playbook] = time.monotonic() + seconds
                self._runs.request(Run(playbook), reason, seconds=0)
        if self._runs.seconds_left() == 0:
            problem, _done = attempt(self._with_hub(grant_missing))
            if problem:
                _log.warning("rights: %s", problem)
            if not self._must_stop():
                self._runs.start_due()

    def _wait(self) -> None:
        """Wait for a change, a run that is due, or the next look at running playbooks."""
        seconds = TURN if self._runs else min(LONGEST_TURN, self._runs.seconds_left() or LONGEST_TURN)
        try:
            change = self._changes.get(timeout=seconds)
            while change:
                self._take(change)
                change = self._changes.get_nowait()
        except queue.Empty:
            pass

    def _take(self, change: Change) -> None:
        if tenant := naming.tenant_of(change.namespace):
            self._runs.request(Run(SELF_SERVICE, tenant), change.reason)

    def _release(self) -> None:
        problem, _done = attempt(self._with_hub(self._lease.release)) if self._leads else (None, None)
        _log.info("stopped%s", f"; the lease was not released: {problem}" if problem else "")

    def _with_hub(self, do: Callable[[Cluster], bool | None]) -> Callable[[], bool | None]:
        """A new connection each time, with the current token of the pod."""

        def run() -> bool | None:
            with closing(self._connect().limited(LOOK)) as hub:
                return do(hub)

        return run
