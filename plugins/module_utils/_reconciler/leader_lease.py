# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Leader election among reconcilers, by a Lease on the hub: one runs playbooks, others wait."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import LEASE
from ansible_collections.tenantry.kube.plugins.module_utils._platform.reconciler import LEASE_NAME, lease

# Seconds: the duration of the lease, when a leader that cannot renew it must stop, and the interval of renewals.
DURATION = 15
STOP_AFTER = 10
RENEW_EVERY = 3


class LeaderLease:
    """Compares no clocks: another's lease has expired once it was seen unchanged for its whole duration."""

    def __init__(self, namespace: str, holder: str) -> None:
        self.holder = holder
        self.current = ""  # the holder, when the lease was last read
        self._namespace = namespace
        self._seen: tuple[str, float] = ("", 0.0)  # resource version of another's lease, and when it was first seen

    def acquire_or_renew(self, hub: Cluster) -> bool:
        """Return whether this reconciler is the leader now. Raise an ApiError if the hub does not answer."""
        found = hub.get(LEASE, LEASE_NAME, self._namespace)
        held = {"holderIdentity": self.holder, "leaseDurationSeconds": DURATION, "renewTime": _now()}
        try:
            if found is None:
                hub.create(lease(self._namespace, held))
            else:
                self.current = found["spec"].get("holderIdentity") or ""
                if self.current not in ("", self.holder) and not self._has_expired(found):
                    return False
                self._update(hub, found, held)
        except ApiError as error:
            if error.status == 409:  # another one was faster
                return False
            raise
        self.current = self.holder
        return True

    def release(self, hub: Cluster) -> None:
        """Let the next reconciler begin at once, if this one is the leader."""
        found = hub.get(LEASE, LEASE_NAME, self._namespace)
        if found and found["spec"].get("holderIdentity") == self.holder:
            self._update(hub, found, {"holderIdentity": ""})

    def _update(self, hub: Cluster, found: dict, spec: dict) -> None:
        version = {"resourceVersion": found["metadata"]["resourceVersion"]}
        hub.merge(LEASE, LEASE_NAME, self._namespace, {"metadata": version, "spec": spec})

    def _has_expired(self, found: dict) -> bool:
        version = found["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = version, time.monotonic()
        return time.monotonic() - self._seen[1] > found["spec"].get("leaseDurationSeconds", DURATION)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
