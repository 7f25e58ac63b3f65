"""Two teams on the stand-in: each user launches the workflows of their own team, for their own tenant only."""

from __future__ import annotations

import json
from typing import Any

import pytest

from .conftest import AfterRun
from .schema import Failure
from .stand_in import ADMIN_TOKEN, StandIn

CREATE = {"tenantry_vcluster": "test", "tenantry_size": "small", "tenantry_ttl": "1d", "tenantry_confirm": ""}
DELETE = {"tenantry_vcluster": "test", "tenantry_confirm": "test"}
ANSWERS = {
    "create virtual cluster": CREATE,
    "delete virtual cluster": DELETE,
    "pause or resume virtual cluster": {"tenantry_vcluster": "test", "tenantry_state": "resumed"},
    "extend virtual cluster": {"tenantry_vcluster": "dev", "tenantry_ttl": "7d"},
}
TEMPLATES, WORKFLOWS = "job_templates", "workflow_job_templates"
TENANTS = [{"name": name, "vclusters": [{"name": "dev"}]} for name in ("payments", "research")]


@pytest.fixture
def configured(stand_in: StandIn, after_run: AfterRun) -> StandIn:
    after_run(tenants=TENANTS)
    return stand_in


def launched(stand_in: StandIn, token: str, template: str, answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """Return the variables of the job, of a workflow if the template is a tenant's."""
    kind = WORKFLOWS if ": " in template else TEMPLATES
    number = stand_in.named(kind, template)["id"]
    url = f"/api/v2/{kind}/{number}/launch/"
    return json.loads(stand_in.handle("POST", url, token, {"extra_vars": answers, **more})["extra_vars"])


def status(stand_in: StandIn, token: str, template: str, answers: dict[str, Any]) -> int:
    try:
        launched(stand_in, token, template, answers)
    except Failure as failure:
        return failure.status
    return 201


def answers_for(template: str) -> dict[str, Any]:
    """Valid answers for every survey, with those that no survey has left out."""
    title = template.partition(": ")[2]
    everything = {
        "tenantry_tenant": "payments",
        "tenantry_version": "v1.37.2+k3s1",
        **DELETE,
        "tenantry_state": "paused",
    }
    return ANSWERS.get(title, everything)


@pytest.mark.parametrize(("tenant", "other"), [("payments", "research"), ("research", "payments")])
def test_user_launches_only_templates_of_their_team(configured: StandIn, tenant: str, other: str) -> None:
    token = configured.add_user("alice", tenant)
    found = {name: status(configured, token, name, answers_for(name)) for name in configured.names("job_templates")}
    own = {f"{tenant}: {title}" for title in ANSWERS}
    assert {name for name, code in found.items() if code == 201} == own
    assert {code for name, code in found.items() if name not in own} == {403}
    assert {f"{other}: {title}" for title in ANSWERS} <= found.keys() - own
    # The same requests with the right: what is refused above is refused for the right alone.
    assert {status(configured, ADMIN_TOKEN, name, answers_for(name)) for name in found} == {201}


def test_user_without_team_launches_nothing(configured: StandIn) -> None:
    token = configured.add_user("nobody")
    assert {status(configured, token, name, answers_for(name)) for name in configured.names("job_templates")} == {403}


@pytest.mark.parametrize(("tenant", "other"), [("payments", "research"), ("research", "payments")])
@pytest.mark.parametrize("title", ANSWERS)
def test_launch_cannot_replace_the_tenant(configured: StandIn, title: str, tenant: str, other: str) -> None:
    token = configured.add_user("alice", tenant)
    given = {**ANSWERS[title], "tenantry_tenant": other, "tenantry_mode": "dedicated", "selected_tenant": other}
    assert status(configured, token, f"{tenant}: {title}", given) == 400
    assert launched(configured, token, f"{tenant}: {title}", ANSWERS[title])["tenantry_tenant"] == tenant


def bulk(stand_in: StandIn, token: str, kind: str, name: str, answers: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the variables of the jobs that a bulk job with variables of its own starts."""
    one = {"unified_job_template": stand_in.named(kind, name)["id"], "extra_data": answers}
    body = {"jobs": [one], "extra_vars": {"tenantry_tenant": "research", "ansible_connection": "local"}}
    return stand_in.handle("POST", "/api/v2/bulk/job_launch/", token, body)["jobs"]


@pytest.mark.parametrize("title", ANSWERS)
def test_bulk_job_cannot_replace_the_tenant(configured: StandIn, title: str) -> None:
    """AWX lets variables of a bulk job, or of a workflow, replace those of a job template, but not of a workflow."""
    token, name = configured.add_user("alice", "payments"), f"payments: {title}"
    [variables] = bulk(configured, token, WORKFLOWS, name, ANSWERS[title])
    assert variables == {"tenantry_tenant": "payments", **ANSWERS[title]}
    with pytest.raises(Failure, match="400"):
        bulk(configured, token, TEMPLATES, name, ANSWERS[title])
    # The positive control: with the right to launch the job template, the tenant is replaced.
    [variables] = bulk(configured, ADMIN_TOKEN, TEMPLATES, name, ANSWERS[title])
    assert variables["tenantry_tenant"] == "research"


def test_user_launches_no_job_template(configured: StandIn) -> None:
    token = configured.add_user("alice", "payments")
    for name in configured.names(TEMPLATES):
        url = f"/api/v2/{TEMPLATES}/{configured.named(TEMPLATES, name)['id']}/launch/"
        with pytest.raises(Failure, match="403"):
            configured.handle("POST", url, token, {"extra_vars": answers_for(name)})


def test_launch_of_an_administrator_sets_the_tenant(configured: StandIn) -> None:
    """The positive control: a survey that asks for the tenant does set it."""
    given = {**CREATE, "tenantry_tenant": "research"}
    assert launched(configured, ADMIN_TOKEN, "create_vcluster", given)["tenantry_tenant"] == "research"


@pytest.mark.parametrize(
    "answers",
    [
        {**CREATE, "tenantry_size": "huge"},
        {**CREATE, "tenantry_ttl": "3650d"},
        {**CREATE, "tenantry_vcluster": ""},
        {**CREATE, "tenantry_vcluster": "x" * 54},  # with the tenant's name, 64 characters
        {**CREATE, "tenantry_vcluster": ["a", "b"]},
    ],
)
def test_answer_out_of_bounds_is_refused(configured: StandIn, answers: dict[str, Any]) -> None:
    token = configured.add_user("alice", "payments")
    assert status(configured, token, "payments: create virtual cluster", answers) == 400
    longest = {**CREATE, "tenantry_vcluster": "x" * 53}
    assert status(configured, token, "payments: create virtual cluster", longest) == 201


def test_no_prompt_of_a_tenants_template_is_open(configured: StandIn) -> None:
    for kind, name in [(one, name) for one in (TEMPLATES, WORKFLOWS) for name in configured.names(one)]:
        template = configured.named(kind, name)
        opened = {field for field, value in template.items() if field.startswith("ask_") and value}
        assert opened == (
            set() if ": " in name or kind == WORKFLOWS else {"ask_diff_mode_on_launch", "ask_job_type_on_launch"}
        ), name
