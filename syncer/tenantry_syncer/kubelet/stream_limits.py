"""Limit the number of open streams. Each takes up to half a megabyte of the syncer's memory.

A kubelet does not learn which user sends a request, so the limits are shared by pod: a pod may hold as many streams of
a kind as are still free. Thus a pod without streams always gets one, and followed logs never block exec.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping

from tenantry_syncer.kubelet.paths import StreamRequest

FOLLOWED, READ, INTERACTIVE = "followed logs", "reads of logs", "exec, attach and port-forward streams"
MAX_PER_OBJECT = {FOLLOWED: 96, READ: 16, INTERACTIVE: 32}
RETRY_SECONDS = {FOLLOWED: 30, READ: 1, INTERACTIVE: 5}


class TooManyStreams(Exception):
    """The pod has reached its share of streams; retry after `seconds`."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class StreamLimits:
    """Counts open streams by sort and pod."""

    def __init__(self, most: Mapping[str, int] | None = None) -> None:
        most = MAX_PER_OBJECT if most is None else most
        self._most = most
        self._open = {sort: Counter[tuple[str, str]]() for sort in most}

    @contextlib.contextmanager
    def acquire(self, request: StreamRequest) -> Iterator[None]:
        """Count a stream while the context lasts. Raises TooManyStreams if the pod has reached its share."""
        sort, pod = kind_of_stream(request), (request.namespace, request.pod)
        held = self._open[sort]
        free = self._most[sort] - held.total()
        if held[pod] >= free:
            whose = f"{held[pod]} of pod {request.pod}, {held.total()} of all pods"
            raise TooManyStreams(f"too many {sort} are open ({whose}). Close some or retry.", RETRY_SECONDS[sort])
        held[pod] += 1
        try:
            yield
        finally:
            held[pod] -= 1
            if not held[pod]:
                del held[pod]


def kind_of_stream(request: StreamRequest) -> str:
    """Return the sort of a stream, each of which has its own limit."""
    if not request.is_log:
        return INTERACTIVE
    return FOLLOWED if ("follow", "true") in request.query else READ
