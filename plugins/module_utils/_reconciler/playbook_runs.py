# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Runs of playbooks: which are due, which run, and how they ended."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.metrics import RunStatistics

_log = logging.getLogger(__name__)
REPORT = "report"
# Runs for single tenants: in all, and those that began less than YOUNG seconds ago. Most take some seconds. One that
# waits for a request to become ready takes minutes, and must delay no other tenant.
MOST, MOST_YOUNG, YOUNG = 10, 4, 30
# Seconds after which a run counts as stuck.
LONGEST = 3600
# Seconds: several requests at once are one run; before a failed run is repeated, at first and at most.
DEBOUNCE = 0.2
RETRY, LONGEST_RETRY = 10, 300
# Seconds in which Ansible may end by itself.
GRACE = 10
# Reasons of a run that are logged.
MOST_REASONS = 10
# Bytes of a failed run's output that are logged.
OUTPUT = 32 * 1024


class Run(NamedTuple):
    """What is run: a playbook of the collection, for one tenant or for all."""

    playbook: str
    tenant: str | None = None

    def __str__(self) -> str:
        return f"{self.playbook} (tenant {self.tenant})" if self.tenant else self.playbook


@dataclass
class _Due:
    at: float
    reasons: list[str]


@dataclass
class _Running:
    process: subprocess.Popen[bytes]
    output: IO[bytes]
    began: float


class PlaybookRuns:
    """Starts what is due, the same run never twice at once. Used by one thread."""

    def __init__(self, inventory: Path, metrics: Path | None = None) -> None:
        self.statistics = RunStatistics()
        self._inventory = inventory
        self._variables = {REPORT: {"usage_report_metrics": str(metrics)}} if metrics else {}
        self._due: dict[Run, _Due] = {}
        self._running: dict[Run, _Running] = {}
        self._failures: dict[Run, int] = {}

    def __len__(self) -> int:
        """Return the number of runs that have not ended."""
        return len(self._running)

    def request(self, run: Run, reason: str, *, seconds: float = DEBOUNCE) -> None:
        """Make a run due in so many seconds, or earlier if it is already due."""
        at = time.monotonic() + seconds
        due = self._due.setdefault(run, _Due(at, []))
        due.at = min(due.at, at)
        if reason not in due.reasons and len(due.reasons) <= MOST_REASONS:
            due.reasons.append(reason if len(due.reasons) < MOST_REASONS else "others")

    def seconds_left(self) -> float | None:
        """Return the seconds until the next run is due. None if there is none that may start."""
        ahead = [due.at for run, due in self._due.items() if self._may_start(run)]
        return max(0.0, min(ahead) - time.monotonic()) if ahead else None

    def stuck(self) -> list[Run]:
        """Return the runs that do not end. For other threads too."""
        return [run for run, one in list(self._running.items()) if time.monotonic() - one.began > LONGEST]

    def start_due(self) -> None:
        """Start the runs that are due, the longest due first."""
        for run in sorted(self._due, key=lambda run: self._due[run].at):
            if self._may_start(run) and self._due[run].at <= time.monotonic():
                _log.info("%s begins: %s", run, "; ".join(self._due.pop(run).reasons))
                variables = self._variables.get(run.playbook, {})
                self._running[run] = _Running(*_started(run, self._inventory, variables), time.monotonic())

    def collect(self) -> None:
        """Log the runs that have ended. Make failed ones due again."""
        for run, running in list(self._running.items()):
            if (code := running.process.poll()) is not None:
                del self._running[run]
                self._ended(run, running, code)

    def stop(self) -> None:
        """End all runs. The next reconciler repeats what they have not done."""
        for running in self._running.values():
            running.process.terminate()
        end = time.monotonic() + GRACE
        for running in self._running.values():
            try:
                running.process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                running.process.kill()
        self._running.clear()

    def _may_start(self, run: Run) -> bool:
        """Runs for all tenants, one of each playbook, neither wait for those of single tenants nor delay them."""
        if run in self._running or not run.tenant:
            return run not in self._running
        ages = [time.monotonic() - one.began for other, one in self._running.items() if other.tenant]
        return len(ages) < MOST and sum(age < YOUNG for age in ages) < MOST_YOUNG

    def _ended(self, run: Run, running: _Running, code: int) -> None:
        seconds = time.monotonic() - running.began
        self.statistics.add(run.playbook, seconds, succeeded=code == 0, now=time.time())
        with running.output as output:
            if code == 0:
                self._failures.pop(run, None)
                _log.info("%s succeeded in %.1f s", run, seconds)
                return
            failures = self._failures[run] = self._failures.get(run, 0) + 1
            again = min(RETRY * 2 ** min(failures - 1, 8), LONGEST_RETRY)
            _log.error("%s failed with exit code %s in %.1f s; repeated in %s s", run, code, seconds, again)
            for line in _tail(output):
                _log.error("%s | %s", run, line)
        self.request(run, f"repeated after failure {failures}", seconds=again)


def _started(run: Run, inventory: Path, variables: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    command = [sys.executable, "-m", "ansible", "playbook", "-i", str(inventory), f"tenantry.kube.{run.playbook}"]
    given = {**variables, **({"tenantry_tenant": run.tenant} if run.tenant else {})}
    if given:
        command += ["-e", json.dumps(given)]
    output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the run
    environment = os.environ | {"ANSIBLE_NOCOLOR": "1"}
    # This is no module, which would have run_command.
    process = subprocess.Popen(  # pylint: disable=ansible-bad-function
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
    )
    return process, output


def _tail(output: IO[bytes]) -> Iterator[str]:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(0, size - OUTPUT))
    text = output.read().decode(errors="replace")
    yield from (line.rstrip() for line in text.splitlines() if line.strip())
