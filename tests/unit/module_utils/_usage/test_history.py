"""The history: what is counted, what is not, and what survives."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._usage import history
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import open_history

from .fleet import GIB, NOW, amounts, host, sample, simulated, vcluster

KEPT = timedelta(days=1100)
MINUTE = timedelta(minutes=1)


def add(path: Path, when: datetime, *vclusters: history.VClusterSample, **other: object) -> dict[str, int]:
    with open_history(path, writable=True) as opened:
        return opened.add(sample(*vclusters, time=when, **other), KEPT)  # type: ignore[arg-type]


def summed(path: Path, column: str, table: str = "hour") -> list[int]:
    with open_history(path, writable=False) as opened:
        return [one.sums[column] for one in opened.vclusters(table, 0)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def test_sample_counts_for_the_time_since_the_one_before(path: Path) -> None:
    assert add(path, NOW, vcluster()) == {"hub": 300}
    assert add(path, NOW + 10 * MINUTE, vcluster(requested=amounts(4, 4))) == {"hub": 600}
    # 09:00 to 09:02 and 08:57 to 09:00, then ten minutes.
    assert summed(path, "seconds") == [180, 720]
    assert summed(path, "cpu_requested") == [2000 * 180, 2000 * 120 + 4000 * 600]
    assert summed(path, "cpu_requested", "day") == [2000 * 300 + 4000 * 600]


def test_gap_is_not_counted_and_is_no_zero(path: Path) -> None:
    add(path, NOW, vcluster())
    assert add(path, NOW + timedelta(hours=5), vcluster()) == {"hub": 300}
    assert add(path, NOW + timedelta(hours=6), vcluster()) == {"hub": 3600}, "one each hour is no gap"
    assert sum(summed(path, "seconds")) == 300 + 300 + 3600


def test_gap_of_one_member_leaves_the_others(path: Path) -> None:
    both = (host(), host("edge"))
    add(path, NOW, clusters=both)
    assert add(path, NOW + 5 * MINUTE, clusters=(host(),)) == {"hub": 300}
    assert add(path, NOW + 10 * MINUTE, clusters=both) == {"hub": 300, "edge": 600}


@pytest.mark.parametrize("back", [0, 1, 4, 200])
def test_clock_set_back_counts_no_time_twice(path: Path, back: int) -> None:
    add(path, NOW, vcluster())
    later = NOW + 60 * MINUTE
    add(path, later, vcluster())
    assert add(path, later - back * MINUTE, vcluster()) == ({"hub": 300} if back == 200 else {})
    assert add(path, later + 5 * MINUTE, vcluster()) == {"hub": 300}
    assert min(summed(path, "seconds")) > 0


def test_clock_that_was_ahead_stops_nothing(path: Path) -> None:
    add(path, NOW + timedelta(days=3650), vcluster())
    add(path, NOW, vcluster())
    assert add(path, NOW + 5 * MINUTE, vcluster()) == {"hub": 300}


def test_new_virtual_cluster_counts_from_its_creation(path: Path) -> None:
    add(path, NOW)
    add(path, NOW + 10 * MINUTE, vcluster(created=NOW + 9 * MINUTE))
    assert summed(path, "seconds") == [60]


def test_use_that_is_not_measured_is_a_gap(path: Path) -> None:
    add(path, NOW, vcluster(used=None))
    add(path, NOW + 10 * MINUTE, vcluster(used=amounts(1, 2)))
    assert sum(summed(path, "measured")) == 600
    assert sum(summed(path, "cpu_used")) == 1000 * 600
    assert sum(summed(path, "cpu_allocated")) == 2000 * 900, "the request counts in any case"


def test_allocation_is_the_larger_of_request_and_use(path: Path) -> None:
    add(path, NOW, vcluster(used=amounts(3, 1)))
    assert sum(summed(path, "cpu_allocated")) == 3000 * 300
    assert sum(summed(path, "memory_allocated")) == 4 * 1024 * 300


def test_paused_time_is_counted(path: Path) -> None:
    add(path, NOW, vcluster(status="Paused", requested=amounts(0, 0), used=amounts(0, 0)))
    assert (sum(summed(path, "asleep")), sum(summed(path, "cpu_allocated"))) == (300, 0)
    assert sum(summed(path, "storage")) == 10 * 1024 * 300


def test_concurrent_writers_count_each_second_once(path: Path) -> None:
    add(path, NOW, vcluster())
    moments = [NOW + timedelta(seconds=10 * number) for number in range(1, 31)]
    with ThreadPoolExecutor(6) as pool:
        counted = list(pool.map(lambda moment: add(path, moment, vcluster()), moments))
    covered = sum(one.get("hub", 0) for one in counted)
    assert covered <= 300
    assert sum(summed(path, "seconds")) == 300 + covered
    assert add(path, moments[-1] + 5 * MINUTE, vcluster()) == {"hub": 300}


_WRITER = """
import sys
from pathlib import Path
from datetime import timedelta
from module_utils._usage.fleet import NOW, sample, vcluster
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import open_history
ones = [vcluster("payments", f"dev-{number}") for number in range(200)]
for minute in range(1, 10000):
    with open_history(Path(sys.argv[1]), writable=True) as opened:
        opened.add(sample(*ones, time=NOW + timedelta(minutes=minute)), timedelta(days=1100))
    print(minute, flush=True)
"""


def test_killed_writer_leaves_whole_samples(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for _run in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE, text=True, env=environment
        )
        assert writer.stdout
        assert writer.stdout.readline().strip() == "1"
        time.sleep(0.03)  # somewhere within the next samples
        writer.kill()
        writer.communicate()
    with open_history(path, writable=True) as opened:
        seconds = {one.name: 0 for one in opened.vclusters("day", 0)}
        for one in opened.vclusters("hour", 0):
            seconds[one.name] += one.sums["seconds"]
        of_days = sum(one.sums["seconds"] for one in opened.vclusters("day", 0))
    assert len(seconds) == 200
    assert len(set(seconds.values())) == 1, "each sample is there for all or for none"
    assert of_days == sum(seconds.values())


def test_file_is_private_and_reading_writes_nothing(path: Path) -> None:
    with open_history(path, writable=False) as opened:
        assert list(opened.vclusters("day", 0)) == []
        assert opened.first() is None
    assert not path.exists()
    add(path, NOW, vcluster())
    assert path.stat().st_mode & 0o777 == 0o600
    with open_history(path, writable=False) as opened, pytest.raises(sqlite3.OperationalError):
        opened.add(sample(vcluster(), time=NOW + MINUTE), KEPT)


def test_empty_file_is_an_empty_history(path: Path) -> None:
    """One that touch made, for its owner and mode."""
    path.touch()
    with open_history(path, writable=False) as opened:
        assert list(opened.vclusters("day", 0)) == []
    assert path.stat().st_size == 0
    assert add(path, NOW, vcluster()) == {"hub": 300}


def test_foreign_file_is_refused_and_kept(path: Path) -> None:
    path.write_text("something else\n" * 100)
    with pytest.raises(TenantryError, match=r"history: .*file is not a database.*move it away"):
        add(path, NOW)
    assert path.read_text().startswith("something else")


def test_later_format_is_refused(path: Path) -> None:
    add(path, NOW)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 3")
    connection.close()
    with pytest.raises(TenantryError, match=r"has format 3, and this release of tenantry\.kube reads formats up to 2"):
        add(path, NOW)


def test_format_1_is_converted_by_the_next_sample(path: Path) -> None:
    """Its hours have no peaks of limits, and a reader leaves the file as it is."""
    add(path, NOW, vcluster())
    connection = sqlite3.connect(path)
    for table in history.TABLES:
        for column in history.TAKEN:
            connection.execute(f"ALTER TABLE vcluster_{table} DROP COLUMN {column}")
    connection.execute("PRAGMA user_version = 1")
    connection.close()
    before = path.read_bytes()
    assert summed(path, "cpu_limited_peak") == [history.UNKNOWN, history.UNKNOWN]
    assert path.read_bytes() == before
    add(path, NOW + 60 * MINUTE, vcluster())
    # 08:57 to 09:00, 09:02 to 10:00 and two minutes: the second hour is known in part.
    assert summed(path, "cpu_limited_peak") == [history.UNKNOWN, history.UNKNOWN, 3000]
    assert summed(path, "seconds") == [180, 3600, 120]
    with sqlite3.connect(path) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_peaks_are_those_of_single_samples(path: Path) -> None:
    add(path, NOW, vcluster())
    add(path, NOW + 5 * MINUTE, vcluster(limited=amounts(9, 1), storage=Decimal(7 * GIB)))
    assert [summed(path, one, "day") for one in history.TAKEN] == [[9000], [6 * 1024], [10 * 1024]]


def test_missing_directory_is_an_error_of_one_line(tmp_path: Path) -> None:
    with pytest.raises(TenantryError, match=r"history: .* cannot be written: No such file.*Create its directory"):
        add(tmp_path / "nowhere" / "history.sqlite", NOW)


def test_old_hours_and_days_are_deleted(path: Path) -> None:
    for days in (0, 30, 31, 1200):
        add(path, NOW + timedelta(days=days), vcluster())
    assert len(summed(path, "seconds", "day")) == 4, "the clock may be wrong"
    add(path, NOW + timedelta(days=1210), vcluster())
    assert len(summed(path, "seconds", "day")) == 2
    assert len(summed(path, "seconds", "hour")) == 2 + 2, "each sample lies in two hours"


@pytest.mark.parametrize("ahead", [1, 30, 3650])
def test_clock_far_ahead_deletes_nothing(path: Path, ahead: int) -> None:
    """Nor does the first run with a right clock after it."""
    for days in (0, 2, 10):
        add(path, NOW + timedelta(days=days), vcluster())
    add(path, NOW + timedelta(days=10 + ahead, hours=9), vcluster())
    add(path, NOW + timedelta(days=10, minutes=5), vcluster())
    assert len(summed(path, "seconds", "day")) == 4
    assert len(summed(path, "seconds", "hour")) == 2 * 4, "each sample lies in two hours"


def test_what_is_later_than_now_is_not_read(path: Path) -> None:
    add(path, NOW + timedelta(days=3), vcluster())
    add(path, NOW, vcluster())
    until = int(NOW.timestamp())
    with open_history(path, writable=False) as opened:
        for table, count in (("hour", 2), ("day", 1)):
            assert len(list(opened.vclusters(table, 0, until))) == len(list(opened.clusters(table, 0, until))) == count


def test_three_years_of_300_virtual_clusters_fit_in_50_mib(path: Path) -> None:
    """
    Written as add() does, at the times that are kept: 1,100 days, and the hours of 21 days. A tenth of them, unless it
    is nightly: the size grows with the rows.
    """
    part = 1 if os.environ.get("TENANTRY_NIGHTLY") == "1" else 10
    samples = simulated(100, 300)
    one = next(samples)
    with open_history(path, writable=True) as opened:
        opened._connection.execute("BEGIN")
        for table, length, rows in (("day", 86400, 1100), ("hour", 3600, 21 * 24)):
            for number in range(rows // part):
                _fill(opened, one, table, length, number)
        opened._connection.execute("COMMIT")
    assert path.stat().st_size * part / 1024**2 <= 50


def _fill(opened: history.History, one: history.Sample, table: str, length: int, number: int) -> None:
    start = history.day_of(one.time) + number * length
    for each in one.vclusters:
        key = {"time": start, "series": opened._series(each)}
        # Amounts of no round number take the most bytes.
        sums = {name: value + number for name, value in history.vcluster_sums(each, length).items()}
        opened._upsert(f"vcluster_{table}", key, sums, history.vcluster_peaks(each))
