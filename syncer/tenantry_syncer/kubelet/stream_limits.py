"""How many streams there may be at once. Each takes up to half a megabyte of the syncer's memory.

A kubelet is not told which user asks: logs are asked for by the API server itself, without a word of whose request it
is. So a pod is what shares are given to: one may hold as many streams of a sort as are still free. However many hold
as many as they can get, there is room for one that has none; and logs that are followed never take the room of exec.
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
    """No further stream at present; `seconds` after which it may be worth another try."""

    def __init__(self, message: str, seconds: int) -> None:
        super().__init__(message)
        self.seconds = seconds


class StreamLimits:
    def __init__(self, most: Mapping[str, int] | None = None) -> None:
        most = MAX_PER_OBJECT if most is None else most
        self._most = most
        self._open = {sort: Counter[tuple[str, str]]() for sort in most}

    @contextlib.contextmanager
    def acquire(self, request: StreamRequest) -> Iterator[None]:
        """Raises Busy where the request's pod has its share."""
        sort, pod = kind_of_stream(request), (request.namespace, request.pod)
        held = self._open[sort]
        free = self._most[sort] - held.total()
        if held[pod] >= free:
            whose = f"{held[pod]} of pod {request.pod} and {held.total()} of all pods"
            raise TooManyStreams(f"too many {sort} are open ({whose}); close some, or try again", RETRY_SECONDS[sort])
        held[pod] += 1
        try:
            yield
        finally:
            held[pod] -= 1
            if not held[pod]:
                del held[pod]


def kind_of_stream(request: StreamRequest) -> str:
    if not request.is_log:
        return INTERACTIVE
    return FOLLOWED if ("follow", "true") in request.query else READ
