"""Keys to be looked at: each by one worker at a time, and again after a failure, later each time."""

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
# With more than these in waiting, each waits longer: nobody gets to ask without end by having ever more refused.
PATIENT = 200


class Again(Exception):
    """To be looked at again after some seconds; not a failure."""

    def __init__(self, seconds: float = FIRST_PAUSE) -> None:
        super().__init__(seconds)
        self.seconds = seconds


K = TypeVar("K", bound=Hashable)


class Queue(Generic[K]):
    def __init__(self, work: Callable[[K], Awaitable[None]], workers: int = 24) -> None:
        self._work = work
        self._workers = workers
        self._waiting: dict[K, None] = {}  # in order, each once
        self._busy: set[K] = set()
        self._failures: dict[K, int] = {}
        self._timers: dict[K, asyncio.TimerHandle] = {}
        self._something = asyncio.Semaphore(0)

    def add(self, key: K) -> None:
        if key not in self._waiting:
            self._waiting[key] = None
            self._something.release()

    def add_later(self, key: K, seconds: float) -> None:
        """After some seconds, or earlier if it was asked for before."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer and timer.when() <= loop.time() + seconds:
            return
        if timer:
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            for _worker in range(self._workers):
                group.create_task(self._serve())

    def _due(self, key: K) -> None:
        del self._timers[key]
        self.add(key)

    async def _serve(self) -> None:
        while True:
            await self._something.acquire()
            key = next((one for one in self._waiting if one not in self._busy), None)
            if key is None:  # only keys that others are at, who put them back when they are done
                continue
            del self._waiting[key]
            self._busy.add(key)
            try:
                await self._look_at(key)
            finally:
                self._busy.discard(key)
                if key in self._waiting:
                    self._something.release()

    async def _look_at(self, key: K) -> None:
        try:
            await self._work(key)
        except Again as again:
            self.add_later(key, again.seconds * self._patience())
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
        self.add_later(key, pause * self._patience() * random.uniform(0.7, 1.3))  # noqa: S311

    def _patience(self) -> float:
        return max(1.0, len(self._timers) / PATIENT)
