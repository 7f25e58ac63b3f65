# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What a target was sent, so that it gets each notice once. Pure.

A run claims notices before it sends them, and releases them if that failed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._notices.model import Notice, kind_of

# A matter that ended and begins again within this time, such as of a member that comes and goes, is the same one.
SAME_WITHIN = timedelta(hours=1)
# After this time, the run that claimed notices was killed before it recorded the outcome.
CLAIM_LASTS = timedelta(minutes=10)


@dataclass(frozen=True)
class Claim:
    """Notices that a run sends now. Nobody else sends them, even if nothing more is heard of that run."""

    at: datetime
    keys: tuple[str, ...]
    digest: str = ""  # before the run


@dataclass(frozen=True)
class Ledger:
    """The keys of notices that were sent, with the time when their matter ended or None, and the claims of runs."""

    sent: Mapping[str, datetime | None] = field(default_factory=dict)
    claims: Mapping[str, Claim] = field(default_factory=dict)
    digest: str = ""  # the day whose digest was sent

    @classmethod
    def of(cls, text: str) -> Ledger:
        """Parse a ledger. Raise a TenantryError, because an empty one would send everything again."""
        try:
            found = json.loads(text)
            return cls(
                {key: moment(ended) if ended else None for key, ended in found["sent"].items()},
                {
                    run: Claim(moment(one["at"]), tuple(one["keys"]), one["digest"])
                    for run, one in found["claims"].items()
                },
                found["digest"],
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            raise TenantryError("the record of what was sent is damaged") from None

    def as_text(self) -> str:
        """Return what `of` parses."""
        claims = {
            run: {"at": stamp(one.at), "keys": one.keys, "digest": one.digest} for run, one in self.claims.items()
        }
        sent = {key: ended and stamp(ended) for key, ended in self.sent.items()}
        return json.dumps(
            {"sent": sent, "claims": claims, "digest": self.digest}, sort_keys=True, separators=(",", ":")
        )

    def fresh(self, notices: Iterable[Notice]) -> list[Notice]:
        """Return the notices that were neither sent nor claimed."""
        known = {*self.sent, *(key for one in self.claims.values() for key in one.keys)}
        return [one for one in notices if one.keys[0] not in known]

    def settled(self, present: frozenset[str], unknown: frozenset[str], now: datetime) -> Ledger:
        """Forget matters that have ended a while ago. Of a kind in `unknown`, nobody knows which have."""
        sent: dict[str, datetime | None] = {}
        for key, recorded in self.sent.items():
            ended = min(recorded, now) if recorded else None  # a clock may have been ahead
            is_unknown = kind_of(key) in unknown
            if ended and now - ended >= SAME_WITHIN and not is_unknown:
                continue  # if it is present, it is another matter
            if key in present:
                sent[key] = None
            else:
                sent[key] = ended if is_unknown else ended or now
        return replace(self, sent=sent)

    def is_due(self, day: str) -> bool:
        """Return whether the digest of this day was not sent yet. A clock that was ahead may have left a later day."""
        tomorrow = str(date.fromisoformat(day) + timedelta(days=1))
        return not day <= self.digest <= tomorrow

    def interrupted(self, now: datetime) -> tuple[Ledger, int]:
        """End the claims of runs that were killed, and return the number of their notices, which may have been sent.

        So are claims of a clock that was ahead.
        """
        late = {run: one for run, one in self.claims.items() if abs(now - one.at) > CLAIM_LASTS}
        found = self
        for run in late:
            found = found.delivered(run)
        return found, sum(len(one.keys) for one in late.values())

    def claimed(
        self, run: str, notices: Sequence[Notice], now: datetime, digest: str, before: str | None = None
    ) -> Ledger:
        """Claim these notices for a run, and the digest of that day, which may have none.

        If the run sent other messages of that digest, `before` is the digest before them.
        """
        if not notices:
            return replace(self, digest=digest)
        keys = tuple(key for one in notices for key in one.keys)
        claim = Claim(now, keys, self.digest if before is None else before)
        return replace(self, claims={**self.claims, run: claim}, digest=digest)

    def delivered(self, run: str) -> Ledger:
        """Record that the notices of a claim were sent, or may have been."""
        keys = self.claims[run].keys if run in self.claims else ()
        return replace(self, sent={**self.sent, **dict.fromkeys(keys)}, claims=self._without(run))

    def released(self, run: str) -> Ledger:
        """Record that the notices of a claim were not sent, so that the next run tries again."""
        digest = self.claims[run].digest if run in self.claims else self.digest
        return replace(self, claims=self._without(run), digest=digest)

    def _without(self, run: str) -> dict[str, Claim]:
        return {name: one for name, one in self.claims.items() if name != run}
