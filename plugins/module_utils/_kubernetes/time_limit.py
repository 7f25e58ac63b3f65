# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Limit the time that a run spends on one virtual cluster.

Its administrators can make its API server slow or silent: by webhooks, by an API group that they serve, by many
objects. A limit for each request does not limit a run, which makes many.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError

# Uncounted seconds of each request, so that many quick ones over a slow network never reach the limit.
ALLOWANCE = 0.1


class TimeLimit:
    """Counts the time in which at least one request is active. When it is used up, all requests fail."""

    def __init__(self, seconds: float, what: str) -> None:
        self.seconds = seconds
        self._what = what
        self._lock = threading.Lock()
        self._spent = 0.0
        self._active = self._requests = 0
        self._since = 0.0
        self._timer: threading.Timer | None = None
        self.reason = ""  # why the limit ended; empty before

    def end(self, reason: str) -> None:
        """End the limit now. The first `reason` is kept."""
        self.reason = self.reason or reason

    @contextmanager
    def running(self, abort: Callable[[], None]) -> Iterator[float]:
        """Count one request, and yield the seconds left for it. `abort` ends all active requests."""
        left = self._begin(abort)
        try:
            yield left
        except Exception:
            if self.reason:  # the error that the abort causes is not the reason
                raise ApiError(self.reason) from None
            raise
        finally:
            self._finish()

    def _begin(self, abort: Callable[[], None]) -> float:
        with self._lock:
            if self.reason:
                raise ApiError(self.reason)
            self._active += 1
            if self._active > 1:
                self._requests += 1
                return self._left()
            self._since, self._requests = time.monotonic(), 1
            left = self._left()
            self._timer = threading.Timer(left, self._expire, [abort])
            self._timer.daemon = True
            self._timer.start()
            return left

    def _left(self) -> float:
        return self.seconds - self._spent - (time.monotonic() - self._since) + ALLOWANCE * self._requests

    def _finish(self) -> None:
        with self._lock:
            self._active -= 1
            if self._active == 0:
                if self._timer:
                    self._timer.cancel()
                self._spent += max(0.0, time.monotonic() - self._since - ALLOWANCE * self._requests)

    def _expire(self, abort: Callable[[], None]) -> None:
        self.end(
            f"{self._what} took more than {self.seconds:g} s of this run, which continues with the others; find out "
            "why its API server is slow (webhooks, APIServices, the number of objects) or raise timeout, then run again"
        )
        abort()
