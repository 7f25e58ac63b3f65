"""The metrics of the reconciler."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._reconciler import metrics
from ansible_collections.tenantry.kube.plugins.module_utils._reconciler.metrics import RunStatistics


def values(text: str) -> dict[str, str]:
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_runs_are_counted_by_playbook_and_result(tmp_path: Path) -> None:
    statistics = RunStatistics()
    statistics.add("report", 2.5, succeeded=True, now=1000)
    statistics.add("report", 0.25, succeeded=False, now=2000)
    statistics.add("housekeeping", 60, succeeded=False, now=3000)
    assert values(metrics.render(statistics, leads=True, report=tmp_path / "none")) == {
        "tenantry_reconciler_leader": "1",
        'tenantry_reconciler_runs_total{playbook="housekeeping",result="failed"}': "1",
        'tenantry_reconciler_runs_total{playbook="housekeeping",result="succeeded"}': "0",
        'tenantry_reconciler_runs_total{playbook="report",result="failed"}': "1",
        'tenantry_reconciler_runs_total{playbook="report",result="succeeded"}': "1",
        'tenantry_reconciler_last_run_seconds{playbook="housekeeping"}': "60.000",
        'tenantry_reconciler_last_run_seconds{playbook="report"}': "0.250",
        'tenantry_reconciler_last_success_timestamp_seconds{playbook="report"}': "1000",
    }


def test_the_last_report_follows(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("tenantry_report_timestamp_seconds 5\n")
    text = metrics.render(RunStatistics(), leads=False, report=tmp_path / "report")
    assert values(text) == {"tenantry_reconciler_leader": "0", "tenantry_report_timestamp_seconds": "5"}
    assert text.endswith("\n")
    assert metrics.render(RunStatistics(), leads=False, report=None).endswith("\n")
