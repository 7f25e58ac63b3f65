# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""
How long k3s's own certificates are valid at least, and when a restart is due that renews them.

k3s issues them for a year. Only at its start it renews those that end soon, within 90 days at the latest
(https://docs.k3s.io/cli/certificate). So all that a process uses is valid for 90 days after its start, whatever came
before.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import AGENT, K3S_CONTAINER, SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection

VALID_AFTER_START = timedelta(days=90)
RENEWED_BEFORE = timedelta(days=30)


def oldest_start(host: Cluster, namespace: str) -> datetime | None:
    """Return when the oldest running k3s process of a virtual cluster started, or None if none runs."""
    starts = [start for pod in connection.pods_of(host, namespace, SERVER, AGENT) if (start := start_of(pod))]
    return min(starts, default=None)


def start_of(pod: dict) -> datetime | None:
    """Return when the k3s process of a server's or agent's pod started, or None if none runs in it."""
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        running = (status.get("state") or {}).get("running")
        if status["name"] == K3S_CONTAINER and running:
            return moment(running["startedAt"])
    return None


def valid_until(started: datetime) -> datetime:
    """Return the time until which all certificates of a process started then are valid."""
    return started + VALID_AFTER_START


def renewal_due(started: datetime) -> datetime:
    """Return the time from which a restart is due."""
    return valid_until(started) - RENEWED_BEFORE
