# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A notice: one thing that somebody should know before it hurts. Pure."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

TTL = "ttl"
SLEEP = "sleep"
QUOTA = "quota"
IDLE = "idle"
CREDENTIAL = "credential"
CERTIFICATE = "certificate"
SNAPSHOT = "snapshot"
MEMBER = "member"
REQUEST = "request"
KINDS = (TTL, SLEEP, QUOTA, IDLE, CREDENTIAL, CERTIFICATE, SNAPSHOT, MEMBER, REQUEST)


@dataclass(frozen=True)
class Notice:
    """What is the matter with what, and what to do.

    The first of the keys identifies the notice over all runs. It begins with the kind. Further keys are those of
    notices that this one includes.
    """

    level: str  # of _usage.advice
    tenant: str  # empty: the fleet
    about: str
    text: str
    remedy: str
    keys: tuple[str, ...]
    due: datetime | None = None  # when it happens, if that is known

    @property
    def kind(self) -> str:
        return kind_of(self.keys[0])

    @property
    def identity(self) -> str:
        """A short name of the notice, by which receivers recognize it."""
        return hashlib.sha256(self.keys[0].encode()).hexdigest()[:16]

    @property
    def line(self) -> str:
        return f"{self.about} {self.text}. {self.remedy}."


def kind_of(key: str) -> str:
    """Return the kind of the notice that has this key."""
    return key.partition(" ")[0]
