# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Lifetime, sleep and deletion protection of a virtual cluster. Pure: the time is an argument."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import VClusterRecord

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WINDOW = re.compile(r"([a-z,-]+)(?: ([0-9]{2}):([0-9]{2})-([0-9]{2}):([0-9]{2}))?", re.ASCII)


@dataclass(frozen=True)
class Window:
    """A period that begins at a time of some days of the week."""

    days: frozenset[int]
    start: int  # minutes after midnight
    minutes: int

    def begun(self, now: datetime) -> datetime | None:
        """Return when the current period began, or None. By local time, so that clock changes do not shift nights."""
        for back in range(2):
            day = now.date() - timedelta(days=back)
            opened = datetime(day.year, day.month, day.day) + timedelta(minutes=self.start)
            closes, local = opened + timedelta(minutes=self.minutes), now.replace(tzinfo=None)
            if day.weekday() in self.days and opened <= local < closes:
                return opened.replace(tzinfo=now.tzinfo)
        return None

    def next_begin(self, now: datetime, within: timedelta) -> datetime | None:
        """Return when a period begins after `now`, but not later than `within`, or None."""
        for ahead in range(within.days + 2):
            day = now.date() + timedelta(days=ahead)
            opens = datetime(day.year, day.month, day.day, tzinfo=now.tzinfo) + timedelta(minutes=self.start)
            if day.weekday() in self.days and now < opens <= now + within:
                return opens
        return None


@dataclass(frozen=True)
class Sleep:
    """When a virtual cluster is paused: after idle time, and in periods."""

    idle: int | None  # seconds
    windows: tuple[Window, ...]
    zone: tzinfo

    def begun(self, now: datetime) -> datetime | None:
        """Return when the current period began, or None."""
        begun = [window.begun(now.astimezone(self.zone)) for window in self.windows]
        return max((one for one in begun if one), default=None)

    def next_begin(self, now: datetime, within: timedelta) -> datetime | None:
        """Return when the first period begins after `now`, but not later than `within`, or None."""
        found = [window.next_begin(now.astimezone(self.zone), within) for window in self.windows]
        return min((one for one in found if one), default=None)


@dataclass(frozen=True)
class LifecyclePolicy:
    """The lifecycle options as given."""

    deletion_protection: bool = False
    ttl: str | None = None
    sleep: dict | None = None


def parse_lifecycle_policy(item: dict, *, lasting: bool = True) -> LifecyclePolicy:
    """Validate the lifecycle options. `lasting` says whether the data outlives the pods."""
    ttl, given = item.get("ttl"), item.get("sleep")
    if ttl is not None:
        _lifetime(ttl)
    sleep = None
    if given is not None:
        sleep = {key: value for key, value in given.items() if value is not None}
        parse_sleep(sleep)
        if not lasting:
            raise TenantryError("sleep: needs a volume, and persistence.type is none. Omit one of them")
    return LifecyclePolicy(bool(item.get("deletion_protection")), ttl, sleep)


def parse_sleep(given: dict) -> Sleep:
    """Validate the option sleep. Raise a TenantryError."""
    idle, schedule = given.get("idle"), given.get("schedule")
    if not idle and not schedule:
        raise TenantryError("sleep: has neither idle nor schedule. Set one of them, or omit sleep")
    seconds = quantities.seconds(idle, "sleep.idle", "10m", "365d") if idle else None
    return periods(schedule or [], given.get("timezone"), "sleep.schedule", "sleep.timezone", seconds)


def periods(
    schedule: Sequence[str], timezone: str | None, field: str, zone_field: str, idle: int | None = None
) -> Sleep:
    """Validate periods of the week, such as `mon-fri 20:00-06:00`. Raise a TenantryError that names the field."""
    return Sleep(idle, tuple(_window(text, field) for text in schedule), _zone(timezone or "UTC", zone_field))


def expiry(created: str, record: VClusterRecord) -> datetime | None:
    """Return the time of deletion by `ttl`, or None."""
    if not record.ttl:
        return None
    return moment(created) + timedelta(seconds=_lifetime(record.ttl))


def check_may_be_deleted(name: str, record: VClusterRecord) -> None:
    """Raise a TenantryError if deletion_protection is on."""
    if record.deletion_protection:
        raise TenantryError(
            f"deletion_protection: is on for virtual cluster {name}, so it is not deleted. Run the module with "
            "state: present and deletion_protection: false first"
        )


def rotation_age(text: str | None) -> timedelta | None:
    """The age of CAs that are to be replaced; None: any."""
    return timedelta(seconds=quantities.seconds(text, "rotate_older_than", "1d", "3650d")) if text is not None else None


def _lifetime(ttl: str) -> int:
    return quantities.seconds(ttl, "ttl", "1h", "3650d")


def _window(text: str, field: str) -> Window:
    match = _WINDOW.fullmatch(text)
    if not match:
        raise TenantryError(
            f"{field}: {shown(text)} is not days and times. Use the form 'mon-fri 20:00-06:00', or "
            "'sat,sun' for whole days"
        )
    days = frozenset(day for part in match[1].split(",") for day in _days(part, text, field))
    if match[2] is None:
        return Window(days, 0, 24 * 60)
    start, end = _minutes(match[2], match[3], text, field), _minutes(match[4], match[5], text, field)
    if start == end:
        raise TenantryError(f"{field}: {shown(text)} ends when it begins. Set two different times")
    return Window(days, start, (end - start) % (24 * 60))  # an end before the start is one of the next day


def _days(part: str, text: str, field: str) -> list[int]:
    first, dash, last = part.partition("-")
    if first not in DAYS or (dash and last not in DAYS):
        raise TenantryError(f"{field}: {shown(text)} has an unknown day. Use {', '.join(DAYS)}")
    begin = DAYS.index(first)
    end = DAYS.index(last) if dash else begin
    return [(begin + step) % 7 for step in range((end - begin) % 7 + 1)]


def _minutes(hours: str, minutes: str, text: str, field: str) -> int:
    if int(hours) > 23 or int(minutes) > 59:
        raise TenantryError(f"{field}: {shown(text)} has an invalid time. Use 00:00 to 23:59")
    return int(hours) * 60 + int(minutes)


def _zone(name: str, field: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
        raise TenantryError(
            f"{field}: {shown(name)} is not a known time zone. Use one such as Europe/Berlin, or UTC"
        ) from None
