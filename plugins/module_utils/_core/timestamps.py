# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Points in time, as Kubernetes and RFC 3339 write them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def clock() -> datetime:
    """Return the current time in UTC. Tests replace it."""
    return datetime.now(UTC)


def moment(text: str) -> datetime:
    """Parse a point in time in Kubernetes' format."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)


def stamp(when: datetime) -> str:
    """Format a point in time as Kubernetes does, in whole seconds of UTC."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339(seconds: float) -> str:
    """Format seconds since the epoch as Kubernetes does."""
    return stamp(datetime.fromtimestamp(seconds, UTC))
