"""Runs of playbooks, with small programs in the place of Ansible."""

from __future__ import annotations

import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import playbook_runs
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.playbook_runs import PlaybookRuns, Run

PAYMENTS, RESEARCH, ALL = Run("self_service", "payments"), Run("self_service", "research"), Run("self_service")
Program = Callable[[str], list[Run]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> Program:
    """Replaces Ansible by a program, and returns the list of the runs that were started."""

    def replace(text: str) -> list[Run]:
        started: list[Run] = []

        def start(run: Run, _inventory: Path, _variables: Mapping[str, str]) -> tuple:
            started.append(run)
            output = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the run
            return subprocess.Popen([sys.executable, "-c", text], stdout=output), output

        monkeypatch.setattr(playbook_runs, "_started", start)
        return started

    return replace


@pytest.fixture
def runs(caplog: pytest.LogCaptureFixture) -> PlaybookRuns:
    caplog.set_level(logging.INFO)
    return PlaybookRuns(Path("inventory.yml"))


def finish(runs: PlaybookRuns) -> None:
    for running in runs._running.values():
        running.process.wait(timeout=30)
    runs.collect()


def test_changes_of_one_tenant_are_one_run_with_all_reasons(
    program: Program, runs: PlaybookRuns, caplog: pytest.LogCaptureFixture
) -> None:
    started = program("")
    for reason in ("one appeared", "two appeared", "one appeared"):
        runs.request(PAYMENTS, reason, seconds=0)
    runs.start_due()
    assert started == [PAYMENTS]
    assert "self_service (tenant payments) begins: one appeared; two appeared" in caplog.messages
    finish(runs)
    assert len(runs) == 0
    assert runs.seconds_left() is None


def test_a_change_during_a_run_is_another_run_after_it(program: Program, runs: PlaybookRuns) -> None:
    started = program("import time; time.sleep(60)")
    runs.request(PAYMENTS, "one", seconds=0)
    runs.start_due()
    runs.request(PAYMENTS, "two", seconds=0)
    runs.request(RESEARCH, "three", seconds=0)
    runs.start_due()
    assert started == [PAYMENTS, RESEARCH]
    assert runs.seconds_left() is None, "nothing can be started before the first ends"
    runs._running[PAYMENTS].process.kill()
    runs._running[PAYMENTS].process.wait(timeout=30)
    runs.collect()
    runs.start_due()
    assert started == [PAYMENTS, RESEARCH, PAYMENTS]
    runs.stop()
    assert len(runs) == 0


def test_what_is_not_due_yet_waits(program: Program, runs: PlaybookRuns) -> None:
    started = program("")
    runs.request(ALL, "later", seconds=60)
    runs.start_due()
    assert started == []
    assert 50 < (runs.seconds_left() or 0) <= 60
    runs.request(ALL, "now", seconds=0)
    runs.start_due()
    assert started == [ALL]
    finish(runs)


def of_tenants(count: int) -> list[Run]:
    return [Run("self_service", f"t{number}") for number in range(count)]


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, in its only item."""
    at = [1000.0]
    monkeypatch.setattr(playbook_runs.time, "monotonic", lambda: at[0])
    return at


def begin(runs: PlaybookRuns, wanted: list[Run]) -> None:
    for number, run in enumerate(wanted):
        runs.request(run, "one", seconds=number / 1000 - 1)
    runs.start_due()


def test_no_more_than_a_few_begin_at_once(program: Program, runs: PlaybookRuns) -> None:
    started = program("import time; time.sleep(60)")
    begin(runs, of_tenants(playbook_runs.MOST_YOUNG + 2))
    assert started == of_tenants(playbook_runs.MOST_YOUNG)
    assert runs.seconds_left() is None, "none of the others may start"
    runs.stop()


def test_runs_that_take_long_keep_no_others_waiting(program: Program, runs: PlaybookRuns, now: list[float]) -> None:
    """As for requests that do not become ready. The number of all is limited, too."""
    started = program("import time; time.sleep(60)")
    begin(runs, of_tenants(playbook_runs.MOST + 1))
    for _young in range(playbook_runs.MOST):
        now[0] += playbook_runs.YOUNG
        runs.start_due()
    assert started == of_tenants(playbook_runs.MOST)
    assert runs.seconds_left() is None
    runs.stop()


def test_runs_for_all_and_those_of_tenants_do_not_wait_for_each_other(program: Program, runs: PlaybookRuns) -> None:
    started = program("import time; time.sleep(60)")
    housekeeping = Run("housekeeping")
    begin(runs, [ALL, *of_tenants(playbook_runs.MOST_YOUNG), housekeeping])
    assert started == [ALL, *of_tenants(playbook_runs.MOST_YOUNG), housekeeping]
    runs.stop()


def test_a_run_that_does_not_end_is_named(program: Program, runs: PlaybookRuns, now: list[float]) -> None:
    program("import time; time.sleep(60)")
    begin(runs, [PAYMENTS])
    now[0] += playbook_runs.LONGEST - 1
    begin(runs, [RESEARCH])
    assert runs.stuck() == []
    now[0] += 2
    assert runs.stuck() == [PAYMENTS]
    runs.stop()


def test_of_many_reasons_the_first_are_kept(
    program: Program, runs: PlaybookRuns, caplog: pytest.LogCaptureFixture
) -> None:
    """A developer may create and delete requests all the time."""
    program("")
    for number in range(1000):
        runs.request(PAYMENTS, f"VirtualClusterRequest tenant-payments/{number} appeared", seconds=0)
    runs.start_due()
    began = caplog.messages[-1]
    assert began.endswith(f"tenant-payments/{playbook_runs.MOST_REASONS - 1} appeared; others")
    finish(runs)


def test_a_failed_run_is_logged_and_repeated_later_each_time(
    program: Program, runs: PlaybookRuns, caplog: pytest.LogCaptureFixture
) -> None:
    program("print('fatal: no room'); raise SystemExit(2)")
    for seconds in (10, 20):
        runs.request(ALL, "try", seconds=0)
        runs.start_due()
        finish(runs)
        assert seconds - 5 < (runs.seconds_left() or 0) <= seconds
    assert "self_service | fatal: no room" in caplog.messages
    program("")
    runs.request(ALL, "try", seconds=0)
    runs.start_due()
    finish(runs)
    assert runs.seconds_left() is None
    assert runs._failures == {}


def test_only_the_end_of_long_output_is_logged(
    program: Program, runs: PlaybookRuns, caplog: pytest.LogCaptureFixture
) -> None:
    program("print('x' * 100_000); print('the end'); raise SystemExit(1)")
    runs.request(ALL, "try", seconds=0)
    runs.start_due()
    finish(runs)
    assert caplog.messages[-1].endswith("the end")
    assert max(map(len, caplog.messages)) < playbook_runs.OUTPUT + 100


def test_a_run_that_ignores_the_end_is_killed(
    program: Program, runs: PlaybookRuns, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(playbook_runs, "GRACE", 0.2)
    ready = tmp_path / "ready"
    program(
        "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )
    runs.request(ALL, "try", seconds=0)
    runs.start_due()
    process = runs._running[ALL].process
    while not ready.exists():
        assert process.poll() is None
    runs.stop()
    assert process.wait(timeout=30) == -9


def test_runs_are_counted(program: Program, runs: PlaybookRuns) -> None:
    for text in ("", "raise SystemExit(2)"):
        program(text)
        runs.request(PAYMENTS, "one", seconds=0)
        runs.start_due()
        finish(runs)
    assert dict(runs.statistics.ended) == {("self_service", "succeeded"): 1, ("self_service", "failed"): 1}
    assert set(runs.statistics.succeeded_at) == {"self_service"}


def test_only_the_report_learns_where_metrics_are_written(monkeypatch: pytest.MonkeyPatch) -> None:
    runs, found = PlaybookRuns(Path("inventory.yml"), Path("metrics.prom")), {}

    def start(run: Run, _inventory: Path, variables: Mapping[str, str]) -> tuple:
        found[run.playbook] = variables
        return subprocess.Popen([sys.executable, "-c", ""]), tempfile.TemporaryFile()

    monkeypatch.setattr(playbook_runs, "_started", start)
    for playbook in ("report", "housekeeping"):
        runs.request(Run(playbook), "now", seconds=0)
    runs.start_due()
    runs.stop()
    assert found == {"report": {"usage_report_metrics": "metrics.prom"}, "housekeeping": {}}
