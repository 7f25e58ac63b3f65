"""Who is notified of failed jobs: templates of an administrator at the job templates with a schedule."""

from __future__ import annotations

from .conftest import Configure, rows
from .stand_in import StandIn

SCHEDULED = {"backup", "housekeeping", "report", "self_service"}


def notified(stand_in: StandIn) -> dict[str, list[str]]:
    return {
        stand_in.objects["job_templates"][number]["name"]: [
            stand_in.objects["notification_templates"][one]["name"] for one in ids
        ]
        for number, ids in stand_in.notified.items()
    }


def test_failed_jobs_of_schedules_are_reported_once(stand_in: StandIn, configure: Configure) -> None:
    configure()
    number = stand_in.named("organizations", "tenantry")["id"]
    stand_in.add("notification_templates", name="on call", organization=number, notification_type="webhook")
    check = configure(check=True, failure_notifications=["on call"])
    assert notified(stand_in) == {}
    result = configure(failure_notifications=["on call"])
    assert set(rows(result, changed=True)) == set(rows(check, changed=True)) == SCHEDULED
    assert notified(stand_in) == {name: ["on call"] for name in SCHEDULED}
    assert not configure(failure_notifications=["on call"])["changed"]


def test_unknown_notification_template_is_an_error(stand_in: StandIn, configure: Configure) -> None:
    result = configure(failure_notifications=["nobody"])
    assert 'the existing notification template "nobody" exists 0 times' in result["msg"]
    assert {row["name"] for row in result["results"] if row.get("error")} == SCHEDULED
    assert "report" in stand_in.names("job_templates")
