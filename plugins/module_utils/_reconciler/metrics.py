# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The metrics of the reconciler in Prometheus' text format: its own, and those of the last report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class RunStatistics:
    """What has ended since the start. Written by the thread of the loop, read by those of the endpoint."""

    ended: Counter[tuple[str, str]] = field(default_factory=Counter)  # by playbook and result
    seconds: dict[str, float] = field(default_factory=dict)  # of the last run, by playbook
    succeeded_at: dict[str, float] = field(default_factory=dict)  # since the epoch, by playbook

    def add(self, playbook: str, seconds: float, *, succeeded: bool, now: float) -> None:
        """Count a run that has ended."""
        for result in ("succeeded", "failed"):  # a rate needs both from the beginning
            self.ended[playbook, result] += int(succeeded == (result == "succeeded"))
        self.seconds[playbook] = seconds
        if succeeded:
            self.succeeded_at[playbook] = now


def render(statistics: RunStatistics, *, leads: bool, report: Path | None) -> str:
    """Return all metrics. Those of the report are missing until it was written."""
    lines = [
        *_head("leader", "gauge", "Whether this process has the Lease."),
        f"tenantry_reconciler_leader {int(leads)}",
        *_head("runs_total", "counter", "Runs of playbooks that have ended."),
        *(
            f'tenantry_reconciler_runs_total{{playbook="{playbook}",result="{result}"}} {count}'
            for (playbook, result), count in sorted(statistics.ended.copy().items())
        ),
        *_head("last_run_seconds", "gauge", "How long the last run of a playbook took."),
        *_by_playbook("last_run_seconds", statistics.seconds, 3),
        *_head("last_success_timestamp_seconds", "gauge", "When the last successful run of a playbook ended."),
        *_by_playbook("last_success_timestamp_seconds", statistics.succeeded_at, 0),
    ]
    text = ""
    if report:
        with suppress(FileNotFoundError):
            text = report.read_text()
    return "\n".join([*lines, text])


def _head(name: str, kind: str, meaning: str) -> Iterator[str]:
    yield f"# HELP tenantry_reconciler_{name} {meaning}"
    yield f"# TYPE tenantry_reconciler_{name} {kind}"


def _by_playbook(name: str, values: dict[str, float], places: int) -> Iterator[str]:
    for playbook, value in sorted(values.copy().items()):
        yield f'tenantry_reconciler_{name}{{playbook="{playbook}"}} {value:.{places}f}'
