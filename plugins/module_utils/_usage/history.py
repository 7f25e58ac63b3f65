# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The history of samples: one SQLite file, with the sums of each hour and of each day (UTC).

A sample counts for the time since the one before, on each cluster of the fleet. Amounts are multiplied by that time and
added to the hours and days in one transaction, so that all sums agree to the unit, whatever interrupts a run. Units are
seconds times thousandths of a core, MiB or pieces, as whole numbers.

The journal is SQLite's default rather than WAL, which needs shared memory and so fails on network file systems.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import (
    Amounts,
    ClusterSample,
    Sample,
    VClusterSample,
)

FORMAT = 2
# A sample after a longer time is one after a gap. It counts for the short time only: nobody knows what was in between.
LONGEST = timedelta(minutes=90)
AFTER_GAP = timedelta(minutes=5)
HOURS_KEPT = timedelta(days=21)
BUSY_SECONDS = 60
HOUR, DAY = 3600, 86400
END_OF_TIME = 2**62
MEBI = 1024 * 1024

# What is summed up for virtual clusters and for clusters of the fleet. `asleep` and `measured` are seconds.
VCLUSTER_SUMS = (
    *("seconds", "asleep", "measured"),
    *("cpu_requested", "cpu_limited", "cpu_used", "cpu_allocated"),
    *("memory_requested", "memory_limited", "memory_used", "memory_allocated"),
    *("storage", "gpus", "pods", "node_ports", "load_balancers"),
)
PEAKS = ("cpu_peak", "memory_peak")  # of use, in thousandths of a core and MiB
# The most that a ResourceQuota counted in a sample. Format 1 has none of them: null in the file, UNKNOWN when read.
TAKEN = ("cpu_limited_peak", "memory_limited_peak", "storage_peak")
UNKNOWN = -1
CLUSTER_SUMS = (
    *("seconds", "measured"),
    *("cpu_capacity", "cpu_used", "cpu_idle"),
    *("memory_capacity", "memory_used", "memory_idle"),
    *("gpus_capacity", "gpus_idle"),
)
_IDLE = {"cpu": "cpu_allocated", "memory": "memory_allocated", "gpus": "gpus"}
SERIES = ("tenant", "name", "cluster", "tier", "mode", "cpu_promised", "memory_promised", "storage_promised")
TABLES = {"hour": HOUR, "day": DAY}


@dataclass(frozen=True)
class Usage:
    """The sums of one virtual cluster in one hour or day, and what it was promised (as in a series)."""

    time: int  # when the hour or day began, in seconds since the epoch
    tenant: str
    name: str
    cluster: str
    tier: str
    promised: Mapping[str, int]  # thousandths of a core, MiB
    sums: Mapping[str, int]


@dataclass(frozen=True)
class ClusterUsage:
    """The sums of one cluster of the fleet in one hour or day."""

    time: int
    cluster: str
    sums: Mapping[str, int]


class History:
    """An open history file."""

    def __init__(self, connection: sqlite3.Connection, path: Path, found: int) -> None:
        self._connection = connection
        self._path = path
        self._format = found

    def add(self, sample: Sample, kept: timedelta) -> dict[str, int]:
        """Add a sample, and delete what is older than `kept`. Return the seconds it counts for, by cluster.

        A cluster whose time is counted already, by a concurrent run or before the clock was set back, is left out.
        """
        counted = {}
        with _transaction(self._connection):
            for cluster in sample.clusters:
                begin, end = self._uncounted(cluster.name, sample.time)
                if begin >= end:
                    continue
                row = (cluster.name, begin, end, cluster.used is not None)
                self._connection.execute("INSERT INTO sample VALUES (?, ?, ?, ?)", row)
                self._count(cluster, sample.of_cluster(cluster.name), begin, end)
                counted[cluster.name] = end - begin
            self._prune(int(sample.time.timestamp()), kept)
        return counted

    def vclusters(self, table: str, since: int, until: int = END_OF_TIME) -> Iterator[Usage]:
        """Yield the sums of virtual clusters by `hour` or `day` that began in that time, in order of time."""
        taken = [f"coalesce({one}, {UNKNOWN})" if self._format > 1 else str(UNKNOWN) for one in TAKEN]
        columns = (*SERIES, *VCLUSTER_SUMS, *PEAKS, *taken)
        found = self._connection.execute(
            f"SELECT time, {', '.join(columns)} FROM vcluster_{table} "  # noqa: S608 - names from this file
            "JOIN series ON series.id = series WHERE time BETWEEN ? AND ? ORDER BY time, tenant, name",
            (since, until),
        )
        for time, tenant, name, cluster, tier, _mode, cpu, memory, storage, *sums in found:
            promised = {"cpu": cpu, "memory": memory, "storage": storage}
            named = dict(zip((*VCLUSTER_SUMS, *PEAKS, *TAKEN), sums, strict=True))
            yield Usage(time, tenant, name, cluster, tier, promised, named)

    def clusters(self, table: str, since: int, until: int = END_OF_TIME) -> Iterator[ClusterUsage]:
        """Yield the sums of clusters of the fleet in the same way."""
        found = self._connection.execute(
            f"SELECT time, cluster, {', '.join(CLUSTER_SUMS)} FROM cluster_{table} "  # noqa: S608 - as above
            "WHERE time BETWEEN ? AND ? ORDER BY time, cluster",
            (since, until),
        )
        for time, cluster, *sums in found:
            yield ClusterUsage(time, cluster, dict(zip(CLUSTER_SUMS, sums, strict=True)))

    def first(self) -> int | None:
        """Return when the first day begins that is kept, or None."""
        return self._connection.execute("SELECT min(time) FROM cluster_day").fetchone()[0]

    def _uncounted(self, cluster: str, now: datetime) -> tuple[int, int]:
        """Return the time that a sample of now counts for, which is empty if another one covers it."""
        end = int(now.timestamp())
        before, after = self._connection.execute(
            "SELECT max(CASE WHEN until <= :end THEN until END), "
            "min(CASE WHEN until > :end THEN since END) FROM sample WHERE cluster = :cluster",
            {"end": end, "cluster": cluster},
        ).fetchone()
        if after is not None and after < end:
            return end, end
        if before is None or end - before > LONGEST.total_seconds():
            return end - int(AFTER_GAP.total_seconds()), end
        return before, end

    def _count(self, cluster: ClusterSample, found: tuple[VClusterSample, ...], begin: int, end: int) -> None:
        for start, stop in _split(begin, end, HOUR):
            of_all: dict[str, int] = dict.fromkeys(_IDLE, 0)
            for one in found:
                seconds = stop - max(start, int(one.created.timestamp()))
                if seconds <= 0:
                    continue
                sums = vcluster_sums(one, seconds)
                for resource, column in _IDLE.items():
                    of_all[resource] += sums[column]
                key = {"series": self._series(one)}
                for table, length in TABLES.items():
                    self._upsert(
                        f"vcluster_{table}", {"time": start - start % length, **key}, sums, vcluster_peaks(one)
                    )
            sums = _cluster_sums(cluster, stop - start, of_all)
            for table, length in TABLES.items():
                self._upsert(f"cluster_{table}", {"time": start - start % length, "cluster": cluster.name}, sums, {})

    def _series(self, one: VClusterSample) -> int:
        promised = (*_units(one.promised), _whole(one.promised_storage / MEBI))
        key = (one.tenant, one.name, one.cluster, one.tier, one.mode, *promised)
        where = " AND ".join(f"{column} = ?" for column in SERIES)
        query = f"SELECT id FROM series WHERE {where}"  # noqa: S608 - names from this file
        if row := self._connection.execute(query, key).fetchone():
            return row[0]
        made = self._connection.execute(
            f"INSERT INTO series ({', '.join(SERIES)}) VALUES ({_marks(SERIES)}) RETURNING id",  # noqa: S608 - as above
            key,
        )
        return made.fetchone()[0]

    def _upsert(self, table: str, key: Mapping, sums: Mapping[str, int], peaks: Mapping[str, int]) -> None:
        row = {**key, **sums, **peaks}
        updates = [f"{one} = {one} + excluded.{one}" for one in sums]
        updates += [f"{one} = max({one}, excluded.{one})" for one in peaks]
        self._connection.execute(
            f"INSERT INTO {table} ({', '.join(row)}) VALUES ({_marks(row)}) "  # noqa: S608 - names from this file
            f"ON CONFLICT DO UPDATE SET {', '.join(updates)}",
            tuple(row.values()),
        )

    def _prune(self, now: int, kept: timedelta) -> None:
        """Delete what is old. A clock far ahead deletes nothing: now is at most a day after a sample of a day ago."""
        query = "SELECT max(until) FROM sample WHERE until <= ?"
        newest = self._connection.execute(query, (now - DAY,)).fetchone()[0]
        if newest is None:
            return
        days, hours = (newest + DAY - int(min(one, kept).total_seconds()) for one in (kept, HOURS_KEPT))
        for table, oldest in (("hour", hours), ("day", days)):
            for kind in ("vcluster", "cluster"):
                self._connection.execute(f"DELETE FROM {kind}_{table} WHERE time < ?", (oldest,))  # noqa: S608
        # A later clock may have been wrong, so only old samples are deleted.
        self._connection.execute("DELETE FROM sample WHERE until < ?", (hours,))


@contextmanager
def open_history(path: Path, *, writable: bool) -> Iterator[History]:
    """Open the history. A new file is created with mode 0600 if it is writable.

    Else, one that is missing or empty is an empty history in memory.
    """
    try:
        connection = _connect(path, writable=writable)
    except sqlite3.Error as error:
        raise _problem(path, error) from error
    try:
        yield History(connection, path, _prepare(connection, path, writable=writable))
    except sqlite3.Error as error:
        raise _problem(path, error) from error
    finally:
        connection.close()


def vcluster_sums(one: VClusterSample, seconds: int) -> dict[str, int]:
    """Return what a sample adds to the sums if it counts for so many seconds."""

    def times(amounts: Amounts | None) -> list[int]:
        known = amounts or Amounts()
        return [_whole(known.cpu * 1000 * seconds), _whole(known.memory * seconds / MEBI)]

    parts = [times(part) for part in (one.requested, one.limited, one.used, one.allocated)]
    pieces = [_whole(amount * seconds) for amount in (one.gpus, one.pods, one.node_ports, one.load_balancers)]
    values = [
        *(seconds, seconds if one.status == "Paused" else 0, seconds if one.used is not None else 0),
        *(cpu for cpu, _memory in parts),
        *(memory for _cpu, memory in parts),
        *(_whole(one.storage * seconds / MEBI), *pieces),
    ]
    return dict(zip(VCLUSTER_SUMS, values, strict=True))


def _cluster_sums(cluster: ClusterSample, seconds: int, allocated: Mapping[str, int]) -> dict[str, int]:
    capacity = {
        "cpu": _whole(cluster.capacity.cpu * 1000 * seconds),
        "memory": _whole(cluster.capacity.memory * seconds / MEBI),
        "gpus": _whole(cluster.gpus * seconds),
    }
    idle = {resource: max(0, amount - allocated[resource]) for resource, amount in capacity.items()}
    used = cluster.used or Amounts()
    values = [
        *(seconds, seconds if cluster.used is not None else 0),
        *(capacity["cpu"], _whole(used.cpu * 1000 * seconds), idle["cpu"]),
        *(capacity["memory"], _whole(used.memory * seconds / MEBI), idle["memory"]),
        *(capacity["gpus"], idle["gpus"]),
    ]
    return dict(zip(CLUSTER_SUMS, values, strict=True))


def vcluster_peaks(one: VClusterSample) -> dict[str, int]:
    """Return what a sample has of that of which the largest amount counts."""
    values = (*_units(one.used or Amounts()), *_units(one.limited), _whole(one.storage / MEBI))
    return dict(zip((*PEAKS, *TAKEN), values, strict=True))


def _units(amounts: Amounts) -> tuple[int, int]:
    return _whole(amounts.cpu * 1000), _whole(amounts.memory / MEBI)


def _whole(amount: Decimal) -> int:
    return int(amount.to_integral_value())


def _split(begin: int, end: int, length: int) -> Iterator[tuple[int, int]]:
    """Yield the parts of a time that lie in one hour each."""
    while begin < end:
        stop = min(end, begin - begin % length + length)
        yield begin, stop
        begin = stop


def _marks(columns: Mapping | tuple) -> str:
    return ", ".join("?" * len(columns))


def _connect(path: Path, *, writable: bool) -> sqlite3.Connection:
    if not writable and (not path.exists() or not path.stat().st_size):
        return sqlite3.connect(":memory:", isolation_level=None)
    if writable:
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise TenantryError(f"history: {path} cannot be written: {error.strerror}. Create its directory") from None
    mode = "rw" if writable else "ro"
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


def _prepare(connection: sqlite3.Connection, path: Path, *, writable: bool) -> int:
    """Create the tables, or convert those of an earlier format if the file is writable. Return the format."""
    found = _format_of(connection)
    if found > FORMAT:
        raise TenantryError(
            f"history: {path} has format {found}, and this release of tenantry.kube reads formats up to {FORMAT}. "
            "Use the newer release that wrote it"
        )
    if found == FORMAT or (found and not writable):
        return found
    with _transaction(connection):
        # Another run may have done it since.
        for statement in {0: _schema, 1: _from_format_1}.get(_format_of(connection), tuple)():
            connection.execute(statement)
    return FORMAT


def _format_of(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _from_format_1() -> Iterator[str]:
    for table in TABLES:
        for column in TAKEN:
            yield f"ALTER TABLE vcluster_{table} ADD COLUMN {column} INTEGER"
    yield "PRAGMA user_version = 2"


def _schema() -> Iterator[str]:
    columns = {name: f"{name} INTEGER NOT NULL" for name in (*VCLUSTER_SUMS, *CLUSTER_SUMS, *PEAKS)}
    of_vclusters = ", ".join(
        [*(columns[name] for name in (*VCLUSTER_SUMS, *PEAKS)), *(f"{one} INTEGER" for one in TAKEN)]
    )
    of_clusters = ", ".join(columns[name] for name in CLUSTER_SUMS)
    yield (
        "CREATE TABLE IF NOT EXISTS sample (cluster TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL, "
        "measured INTEGER NOT NULL, PRIMARY KEY (cluster, until)) WITHOUT ROWID"
    )
    yield (
        "CREATE TABLE IF NOT EXISTS series (id INTEGER PRIMARY KEY, tenant TEXT NOT NULL, name TEXT NOT NULL, "
        "cluster TEXT NOT NULL, tier TEXT NOT NULL, mode TEXT NOT NULL, cpu_promised INTEGER NOT NULL, "
        "memory_promised INTEGER NOT NULL, storage_promised INTEGER NOT NULL, "
        f"UNIQUE ({', '.join(SERIES)}))"
    )
    for table in TABLES:
        yield (
            f"CREATE TABLE IF NOT EXISTS vcluster_{table} (time INTEGER NOT NULL, series INTEGER NOT NULL, "
            f"{of_vclusters}, PRIMARY KEY (time, series)) WITHOUT ROWID"
        )
        yield (
            f"CREATE TABLE IF NOT EXISTS cluster_{table} (time INTEGER NOT NULL, cluster TEXT NOT NULL, "
            f"{of_clusters}, PRIMARY KEY (time, cluster)) WITHOUT ROWID"
        )
    yield f"PRAGMA user_version = {FORMAT}"


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _problem(path: Path, error: sqlite3.Error) -> TenantryError:
    return TenantryError(
        f"history: {path} cannot be used: {one_line(error)}. Check that it is a history of tenantry.kube and can be "
        "written, or move it away to begin a new one"
    )


def day_of(time: datetime) -> int:
    """Return when the day of that time began, in UTC."""
    return int(time.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
