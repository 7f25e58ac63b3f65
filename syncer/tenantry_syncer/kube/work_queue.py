"""A work queue: one worker at a time processes a key; failures are retried with exponential back-off."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from tenantry_syncer.kube.client import ApiError, Gone

_log = logging.getLogger(__name__)
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 30.0
# With more delayed keys than this, every delay grows in proportion, so that rejected objects cannot flood the host.
SLOW_AT = 200


class RequeueAfter(Exception):
    """Process the key again after some seconds; not a failure."""

    def __init__(self, seconds: float = FIRST_PAUSE) -> None:
        super().__init__(seconds)
        self.seconds = seconds


K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Keys to process, with a fixed number of workers."""

    def __init__(self, work: Callable[[K], Awaitable[None]], workers: int = 24) -> None:
        self._work = work
        self._workers = workers
        self._queued: dict[K, None] = {}  # in order, each once
        self._processing: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._available = asyncio.Semaphore(0)
        self.is_open = True  # a closed queue drops keys

    def add(self, key: K) -> None:
        """Queue a key, once."""
        if self.is_open and key not in self._queued:
            self._queued[key] = None
            self._available.release()

    def add_later(self, key: K, seconds: float) -> None:
        """Add a key after some seconds, or earlier if an earlier time is already set."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer and timer.when() <= loop.time() + seconds:
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._timer_fired, key)

    async def run(self) -> None:
        """Process keys until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _worker in range(self._workers):
                group.create_task(self._run_worker())

    def _timer_fired(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    async def _run_worker(self) -> None:
        while True:
            await self._available.acquire()
            key = next((one for one in self._queued if one not in self._processing), None)
            if key is None:  # other workers process all queued keys and release them when done
                continue
            del self._queued[key]
            self._processing.add(key)
            try:
                await self._process(key)
            finally:
                self._processing.discard(key)
                if key in self._queued:
                    self._available.release()

    async def _process(self, key: K) -> None:
        try:
            await self._work(key)
        except RequeueAfter as again:
            self._failures.pop(key, None)
            self.add_later(key, again.seconds * self._slowdown())
            return
        except (ApiError, Gone) as error:
            self._failed(key, error)
            return
        except Exception as error:
            _log.exception("%s", key)
            self._failed(key, error)
            return
        self._failures.pop(key, None)

    def _failed(self, key: K, error: Exception) -> None:
        count = self._failures[key] = self._failures.get(key, 0) + 1
        pause = min(FIRST_PAUSE * 2 ** (count - 1), LONGEST_PAUSE)
        if count > 3:
            _log.warning("%s: %s (attempt %d)", key, error, count)
        self.add_later(key, pause * self._slowdown() * random.uniform(0.7, 1.3))  # noqa: S311

    def _slowdown(self) -> float:
        return max(1.0, len(self._timers) / SLOW_AT)
