# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Wait on watches under one deadline, and report the reason when it passes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import EVENT

T = TypeVar("T")

LONGEST_WATCH = 30  # seconds; then requested again, so that a connection that died silently is noticed
SHORTEST_WATCH = 2
PAUSE = 0.3  # seconds between attempts while the API server does not answer
SHORT_PAUSE = 0.1
REASON_INTERVAL = 4  # seconds between two looks at the reason for a wait


class Deadline:
    """A point in time that several waits share. `progress` receives what each waits for, and new reasons."""

    def __init__(self, seconds: float, progress: Callable[[str, str], None] | None = None) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds
        self._progress = progress
        self._reported: dict[str, str] = {}

    def again(self) -> Deadline:
        """As long once more, from now on."""
        return Deadline(self.seconds, self._progress)

    def remaining(self) -> float:
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining() == 0

    def pause(self, seconds: float = PAUSE) -> None:
        """Sleep for so many seconds, but not past the deadline."""
        time.sleep(min(seconds, self.remaining()))

    def watch_seconds(self) -> int:
        """Return how long to watch until the reason is read, or the object is requested, again."""
        return max(1, min(REASON_INTERVAL if self._progress else LONGEST_WATCH, round(self.remaining())))

    def report(self, what: str, reason: Callable[[], str]) -> None:
        """Report progress if the reason is a new one."""
        if self._progress and not self.expired and (text := reason()) and self._reported.get(what) != text:
            self._reported[what] = text
            self._progress(what, text)


def retry(action: Callable[[], T], again: Callable[[ApiError], bool], deadline: Deadline) -> T:
    """Return the action's result. Repeat it while `again(error)` holds and the deadline has not passed."""
    while True:
        try:
            return action()
        except ApiError as error:
            if deadline.expired or not again(error):
                raise
        deadline.pause(SHORT_PAUSE)


def is_forbidden(error: ApiError) -> bool:
    """Return whether the error is a 403: an API server applies new rights some moments after storing them."""
    return error.status == 403


def wait_for(
    cluster: Cluster,
    kind: str,
    name: str,
    namespace: str | None,
    ready: Callable[[dict], bool],
    deadline: Deadline,
    *,
    what: str,
    explain: Callable[[], str] | None = None,
) -> dict:
    """Return the object when `ready(object)` holds. Raise a TenantryError at the deadline, or if `ready` raises one.

    The object is read once even if the deadline has passed, because earlier waits may have used it up.
    """
    last: dict | None = None
    trouble = ""

    def reason() -> str:
        found = _if_answered(explain or partial(explanation, cluster, last, name, namespace))
        return "; ".join(filter(None, [found, trouble]))

    while True:
        try:
            for event, obj in cluster.watch(kind, namespace, name=name, timeout=deadline.watch_seconds()):
                last, trouble = (None if event == "DELETED" else obj), ""
                if last is not None and ready(last):
                    return last
                if deadline.expired:
                    break
        except ApiError as error:
            if not error.transient:
                raise
            trouble = str(error)
            deadline.pause()
        if deadline.expired:
            raise _too_late(f"{what}: not ready within", deadline, reason())
        deadline.report(what, reason)


def wait_gone(cluster: Cluster, kind: str, name: str, namespace: str | None, deadline: Deadline, *, what: str) -> None:
    """Return when the object does not exist. Raise a TenantryError when the deadline passes."""
    trouble = ""
    while True:
        try:
            last = cluster.get(kind, name, namespace)
            if last is None:
                return
            trouble = _hindrances(last)
            if deadline.expired:
                break
            since = last["metadata"]["resourceVersion"]
            for event, obj in cluster.watch(
                kind, namespace, name=name, resource_version=since, timeout=deadline.watch_seconds()
            ):
                if event == "DELETED":
                    return
                trouble = _hindrances(obj)
                if deadline.expired:
                    break
        except ApiError as error:
            if not error.transient or deadline.expired:
                raise
            trouble = str(error)
            deadline.pause()
        deadline.report(what, partial(str, trouble))
    raise _too_late(f"{what}: not gone within", deadline, trouble)


def wait_until_none(cluster: Cluster, kind: str, namespace: str, deadline: Deadline) -> None:
    """Return when the namespace has no object of this kind, or when the deadline passes."""
    while not deadline.expired:
        left = {obj["metadata"]["uid"] for obj in cluster.list(kind, namespace)}
        if not left:
            return
        # Not longer: what was deleted between the two requests has no event.
        for event, obj in cluster.watch(kind, namespace, timeout=SHORTEST_WATCH):
            if event == "DELETED":
                left.discard(obj["metadata"]["uid"])
            if not left or deadline.expired:
                break


def _too_late(what: str, deadline: Deadline, reason: str) -> TenantryError:
    return TenantryError(
        f"{what} {deadline.seconds:g} s: {reason or 'no reason was reported'}. "
        "Remove the cause or raise wait_timeout, then run again"
    )


def _if_answered(explain: Callable[[], str]) -> str:
    """Return the reason, or an empty string if the API server does not answer, which is the reason then."""
    try:
        return explain()
    except TenantryError:
        return ""


def explanation(cluster: Cluster, obj: dict | None, name: str, namespace: str | None) -> str:
    """Return the last problem of an object or its dependents: a condition or a warning event. Empty if none."""
    if obj is None:
        reasons = [f"{name} does not exist"]
    else:
        reasons = [
            one_condition(c)
            for c in obj.get("status", {}).get("conditions") or []
            if c.get("status") == "False" and (c.get("message") or c.get("reason"))
        ][-1:]
        reasons += [one_condition(state) for state in _waiting(obj)]
    try:
        warning = _last_warning(cluster.list(EVENT, namespace), name) if namespace else ""
    except ApiError:  # the wait's own failure matters more
        warning = ""
    return "; ".join(filter(None, [*reasons, warning]))


def _waiting(pod: dict) -> list[dict]:
    """Return the waiting states of a pod's containers, such as a failed pull or a crash."""
    status = pod.get("status", {})
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    return [state["waiting"] for container in containers if "waiting" in (state := container.get("state") or {})]


def _last_warning(events: list[dict], name: str) -> str:
    """Return the newest warning event about the object, or about objects named after it, such as its pods."""

    def concerns(event: dict) -> bool:
        about = event["involvedObject"].get("name", "")
        return event.get("type") == "Warning" and (about == name or about.startswith(f"{name}-"))

    def when(event: dict) -> str:
        return event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"]

    warnings = sorted(filter(concerns, events), key=when)
    if not warnings:
        return ""
    newest = warnings[-1]
    about = newest["involvedObject"]
    return one_line(f"{about.get('kind')} {about.get('name')}: {newest.get('reason')}: {newest.get('message')}")


def _hindrances(obj: dict) -> str:
    """Return what delays a deletion: finalizers and, for a namespace, remaining content."""
    finalizers = obj["metadata"].get("finalizers") or []
    reasons = [f"finalizer {', '.join(finalizers)} on {obj['kind']} {obj['metadata']['name']}"] if finalizers else []
    for condition in obj.get("status", {}).get("conditions") or []:
        if condition.get("status") == "True" and condition.get("message"):
            reasons.append(one_condition(condition))
    return "; ".join(reasons)


def one_condition(condition: dict) -> str:
    """Return a condition as `reason: message`."""
    reason, message = condition.get("reason") or condition.get("type"), condition.get("message")
    return one_line(f"{reason}: {message}" if message else reason)
