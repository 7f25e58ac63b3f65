"""The module against a stand-in for AWX's API: what it creates, leaves, refuses and deletes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import OPTIONS, SECRETS, AfterRun, Configure, rows
from .launches import ADMIN, ADMIN_DEFINITION, EXECUTE, EXECUTE_DEFINITION, READ
from .schema import Failure
from .stand_in import StandIn

PAYMENTS = ["payments: create virtual cluster", "payments: delete virtual cluster", "payments: extend virtual cluster",
            "payments: pause or resume virtual cluster"]  # fmt: skip
RESEARCH = ["research: create virtual cluster", "research: delete virtual cluster",
            "research: pause or resume virtual cluster"]  # fmt: skip
ADMINS = ["audit", "backup", "create_vcluster", "delete_vcluster", "housekeeping", "offboard", "onboard",
          "pause_vcluster", "report", "restore", "restore_drill", "self_service", "upgrade"]  # fmt: skip


def test_first_run_creates_everything(stand_in: StandIn, configure: Configure) -> None:
    result = configure()
    assert not result.get("failed"), result
    assert result["changed"]
    assert {kind: stand_in.names(kind) for kind in stand_in.objects} == {
        "organizations": ["tenantry"],
        "notification_templates": [],
        "teams": ["payments", "research"],
        "credential_types": ["tenantry snapshot passphrase"],
        "credentials": ["tenantry.kube hub", "tenantry.kube snapshot bucket", "tenantry.kube snapshot passphrase"],
        "execution_environments": ["tenantry execution environment"],
        "projects": ["tenantry.kube"],
        "inventories": ["tenantry.kube"],
        "inventory_sources": ["tenantry.kube"],
        "job_templates": sorted([*ADMINS, *PAYMENTS, *RESEARCH]),
        "schedules": ["backup", "housekeeping", "report", "self_service"],
        "workflow_job_templates": sorted(["onboard with approval", *PAYMENTS, *RESEARCH]),
        "workflow_job_template_nodes": ["approval", "check", "onboard", "report", *["run"] * 7],
    }
    created = [one for objects in stand_in.objects.values() for one in objects.values() if not one.get("managed")]
    assert [
        one["name"]
        for one in created
        if "name" in one and not one["description"].endswith("(managed by tenantry.kube)")
    ] == []


def test_created_credentials_have_the_secrets_and_reach_their_jobs(stand_in: StandIn, after_run: AfterRun) -> None:
    after_run()
    hub = stand_in.named("credentials", "tenantry.kube hub")
    assert hub["inputs"] == {
        "host": OPTIONS["hub_host"],
        "bearer_token": SECRETS["hub_token"],
        "verify_ssl": True,
        "ssl_ca_cert": OPTIONS["hub_ca_cert"],
    }

    def attached(template: str) -> list[str]:
        numbers = stand_in.attached[stand_in.named("job_templates", template)["id"]]
        return [stand_in.objects["credentials"][number]["name"] for number in numbers]

    assert attached("onboard") == attached(PAYMENTS[0]) == ["tenantry.kube hub"]
    snapshots = ["tenantry.kube hub", "tenantry.kube snapshot passphrase", "tenantry.kube snapshot bucket"]
    assert attached("backup") == attached("restore") == snapshots


def test_kubeconfig_has_a_credential_type_of_its_own(stand_in: StandIn, configure: Configure, tmp_path: Path) -> None:
    path = tmp_path / "hub.yaml"
    path.write_text("clusters: []\nusers:\n- user:\n    token: secret-of-the-kubeconfig\n")
    given = {**dict.fromkeys(["hub_host", "hub_token", "hub_ca_cert"]), "hub_kubeconfig": str(path)}
    as_dictionary = {**given, "hub_kubeconfig": yaml.safe_load(path.read_text())}
    result = configure(**given)
    assert not result.get("failed"), result
    hub = stand_in.named("credentials", "tenantry.kube hub")
    assert hub["inputs"] == {"kubeconfig": path.read_text()}
    injectors = stand_in.objects["credential_types"][hub["credential_type"]]["injectors"]
    assert injectors["env"] == {"K8S_AUTH_KUBECONFIG": "{{ tower.filename }}"}
    assert "secret-of-the-kubeconfig" not in result["raw"]
    assert not configure(**as_dictionary)["changed"]
    assert configure(**as_dictionary, update_secrets=True)["changed"]
    assert stand_in.named("credentials", "tenantry.kube hub")["inputs"] == {"kubeconfig": path.read_text()}


def test_second_run_writes_nothing(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    result = configure()
    assert not result["changed"]
    assert stand_in.writes == []
    assert rows(result, changed=True) == []
    assert len(result["results"]) == 43
    assert result["diff"] == []


def test_check_writes_nothing_and_predicts_the_same(stand_in: StandIn, configure: Configure) -> None:
    predicted = configure(check=True)
    assert stand_in.writes == []
    done = configure()
    assert not done.get("failed")
    assert [row["actions"] for row in predicted["results"]] == [row["actions"] for row in done["results"]]
    assert predicted["changed"]


def test_check_of_a_change_writes_nothing(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    options = {"tenants": [{"name": "research"}], "project_branch": "next", "sizes": ["small"], "schedules": {}}
    predicted = configure(check=True, **options)
    assert stand_in.writes == []
    done = configure(**options)
    assert [row["actions"] for row in predicted["results"]] == [row["actions"] for row in done["results"]]
    assert rows(done, kind="project", changed=True) == ["tenantry.kube"]


@pytest.mark.parametrize(
    ("kind", "name", "more"),
    [
        ("organizations", "tenantry", {}),
        ("credential_types", "tenantry snapshot passphrase", {"kind": "cloud"}),
        ("execution_environments", "tenantry execution environment", {"image": "other"}),
    ],
)
def test_foreign_object_is_refused(
    stand_in: StandIn, configure: Configure, kind: str, name: str, more: dict[str, Any]
) -> None:
    before = dict(stand_in.add(kind, name=name, **more))
    result = configure()
    assert (
        f'{name}: the {kind[:-1].replace("_", " ")} "{name}" exists, and this module did not create it' in result["msg"]
    )
    assert stand_in.named(kind, name) == before


def test_foreign_organization_stops_everything(stand_in: StandIn, configure: Configure) -> None:
    stand_in.add("organizations", name="tenantry")
    result = configure()
    assert stand_in.writes == []
    assert {row.get("not_done") for row in result["results"][1:]} == {'the organization "tenantry" failed'}


def test_foreign_team_stops_only_its_tenant(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run(tenants=[])
    organization = stand_in.named("organizations", "tenantry")["id"]
    before = dict(stand_in.add("teams", name="payments", organization=organization))
    result = configure()
    assert stand_in.named("teams", "payments") == before
    assert result["failed"]
    assert sorted(rows(result, kind="job_template", not_done='the team "payments" failed')) == PAYMENTS
    assert set(RESEARCH) <= set(rows(result, changed=True))
    assert [name for name in stand_in.names("job_templates") if name.startswith("payments")] == []


def test_foreign_objects_of_other_names_stay(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    organization = stand_in.named("organizations", "tenantry")["id"]
    team = stand_in.add("teams", name="operators", organization=organization)
    audit = stand_in.named("job_templates", "audit")
    own = stand_in.add("job_templates", name="own", project=audit["project"], playbook="report.yml")
    mine = stand_in.add(
        "schedules",
        name="mine",
        unified_job_template=own["id"],
        rrule="DTSTART:20260101T000000Z RRULE:FREQ=DAILY;INTERVAL=1",
    )
    result = configure(tenants=[])
    assert not result.get("failed"), result
    assert stand_in.names("teams") == ["operators"]
    assert {"own"} <= set(stand_in.names("job_templates"))
    assert [team["id"], own["id"], mine["id"]] == [
        stand_in.named(kind, name)["id"]
        for kind, name in [("teams", "operators"), ("job_templates", "own"), ("schedules", "mine")]
    ]


def test_removed_tenant_is_gone(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    result = configure(tenants=[OPTIONS["tenants"][0]])
    assert stand_in.names("teams") == ["payments"]
    assert stand_in.names("job_templates") == sorted([*ADMINS, *PAYMENTS])
    assert stand_in.names("workflow_job_templates") == sorted(["onboard with approval", *PAYMENTS])
    deleted = [row["name"] for row in result["results"] if row["actions"] and row["actions"][0]["action"] == "delete"]
    assert deleted == [*RESEARCH, *RESEARCH, "research"]
    assert not configure(tenants=[OPTIONS["tenants"][0]])["changed"]


def test_credential_that_is_no_longer_set_is_gone(
    stand_in: StandIn, configure: Configure, after_run: AfterRun, tmp_path: Path
) -> None:
    after_run()
    path = tmp_path / "hub.yaml"
    path.write_text("clusters: []\n")
    without = dict.fromkeys(["hub_host", "hub_token", "hub_ca_cert", "snapshot_access_key", "snapshot_secret_key"])
    own = {
        "inputs": {"username": "u", "password": "p"},
        "organization": stand_in.named("organizations", "tenantry")["id"],
    }
    aws = next(number for number, one in stand_in.objects["credential_types"].items() if one.get("namespace") == "aws")
    stand_in.add("credentials", name="own", credential_type=aws, **own)
    result = configure(**without, hub_kubeconfig=str(path))
    assert not result.get("failed"), result
    assert stand_in.names("credentials") == ["own", "tenantry.kube hub", "tenantry.kube snapshot passphrase"]
    assert stand_in.named("credentials", "tenantry.kube hub")["inputs"] == {"kubeconfig": path.read_text()}
    onboard = stand_in.named("job_templates", "onboard")["id"]
    assert stand_in.attached[onboard] == [stand_in.named("credentials", "tenantry.kube hub")["id"]]


def test_failed_credential_is_not_deleted(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    number = stand_in.named("credentials", "tenantry.kube hub")["id"]
    stand_in.refuse = {("PATCH", f"credentials/{number}"): 500}
    result = configure(update_secrets=True)
    assert result["msg"].startswith(f"tenantry.kube hub: PATCH credentials/{number}: 500 refused by the test")
    assert stand_in.named("credentials", "tenantry.kube hub")["id"] == number


def test_removed_schedule_is_gone(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    rule = "DTSTART:20260101T000000Z RRULE:FREQ=HOURLY;INTERVAL=1"
    configure(schedules={"report": rule, "backup": ""})
    assert stand_in.names("schedules") == ["report"]
    assert stand_in.named("schedules", "report")["rrule"] == rule


def test_changes_of_others_are_reverted(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run()
    template, workflow = (stand_in.named(kind, PAYMENTS[0]) for kind in ("job_templates", "workflow_job_templates"))
    others = {"ask_variables_on_launch": True, "extra_vars": json.dumps({"tenantry_tenant": "research"})}
    payments, research = (stand_in.named("teams", name)["id"] for name in ("payments", "research"))
    for one in (template, workflow):
        one |= others
        stand_in.surveys[one["id"]] = {"name": "", "description": "", "spec": []}
        stand_in.roles[one["id"] + EXECUTE] |= {"teams": {research}, "users": {1}}
        stand_in.roles[one["id"] + ADMIN] |= {"teams": {payments}, "users": {1}}
    stand_in.attached[template["id"]].clear()
    stand_in.roles[template["id"] + READ]["teams"].clear()
    result = configure()
    changed = [row for row in result["results"] if row["changed"]]
    assert [[action["action"] for action in row["actions"]] for row in changed] == [
        ["update", "remove_survey", "attach", "revoke", "revoke", "revoke", "grant"],
        ["update", "set_survey", "revoke", "revoke", "revoke", "grant"],
    ]
    assert [row["actions"][0]["paths"] for row in changed] == [["ask_variables_on_launch", "extra_vars"]] * 2
    for one, teams in ((template, set()), (workflow, {payments})):
        assert stand_in.roles[one["id"] + EXECUTE] == {"teams": teams, "users": set()}
        assert stand_in.roles[one["id"] + ADMIN] == {"teams": set(), "users": {1}}
    assert stand_in.roles[template["id"] + READ]["teams"] == {payments}


def test_role_assignments_of_others_are_reverted(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    """AWX does not show in the roles of an object what is assigned by its API of role assignments."""
    after_run()
    template = stand_in.named("workflow_job_templates", PAYMENTS[0])["id"]
    payments, research = (stand_in.named("teams", name)["id"] for name in ("payments", "research"))
    change, run, view = (stand_in.define_role(name, name, "view") for name in ("change", "execute", "view"))
    for definition in (ADMIN_DEFINITION, EXECUTE_DEFINITION, run):
        stand_in.assign(definition, template, team=research)
    stand_in.assign(change, template, team=payments)
    stand_in.assign(run, template, user=1)
    kept = [stand_in.assign(view, template, team=research), stand_in.assign(ADMIN_DEFINITION, template, user=1),
            stand_in.assign(run, template, team=payments)]  # fmt: skip
    token = stand_in.add_user("bob", "research")
    answers = {"extra_vars": {"tenantry_vcluster": "a", "tenantry_size": "small", "tenantry_ttl": "1d"}}
    launch = ("POST", f"/api/v2/workflow_job_templates/{template}/launch/", token, answers)
    assert stand_in.handle(*launch)["workflow_job"]
    predicted, done = configure(check=True), configure()
    for result in (predicted, done):
        [row] = [row for row in result["results"] if row["changed"]]
        assert [action["target"] for action in row["actions"]] == [
            "research",
            "research",
            "research",
            "payments",
            "root",
        ]
    assert sorted(stand_in.assignments) == kept
    with pytest.raises(Failure, match="403"):
        stand_in.handle(*launch)
    assert not configure()["changed"]


def test_roles_are_reverted_once(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    """AWX shows the roles of an object among the assignments too, and deletes both together."""
    after_run()
    template = stand_in.named("workflow_job_templates", PAYMENTS[0])["id"]
    research = stand_in.named("teams", "research")["id"]
    stand_in.roles[template + EXECUTE] |= {"users": {1}}
    stand_in.roles[template + EXECUTE]["teams"].add(research)
    stand_in.roles[template + ADMIN]["teams"].add(research)
    [row] = [row for row in configure()["results"] if row["changed"]]
    assert [action["action"] for action in row["actions"]] == ["revoke", "revoke", "revoke"]


def test_controller_without_role_assignments_is_configured(stand_in: StandIn, configure: Configure) -> None:
    stand_in.refuse = {("GET", "role_definitions"): 404}
    assert not configure().get("failed")
    assert not configure()["changed"]


def test_unreadable_role_assignments_are_an_error(stand_in: StandIn, configure: Configure) -> None:
    stand_in.refuse = {("GET", "role_definitions"): 500}
    result = configure()
    assert f"{PAYMENTS[0]}: GET role_definitions: 500 refused by the test" in result["msg"]


def test_failed_item_hides_no_other(stand_in: StandIn, configure: Configure, after_run: AfterRun) -> None:
    after_run(tenants=[])
    stand_in.refuse = {("POST", "teams"): 500, ("POST", "schedules"): 500}
    stand_in.objects["schedules"].clear()
    result = configure(sizes=["small"])
    assert result["failed"]
    assert rows(result, kind="job_template", changed=True) == ["create_vcluster", "restore", "restore_drill"]
    errors = [row["name"] for row in result["results"] if row.get("error")]
    assert errors == ["payments", "research", "self_service", "housekeeping", "backup", "report"]
    assert result["msg"].startswith("payments: POST teams: 500 refused by the test. ")


def test_failed_update_of_the_project_is_an_error(stand_in: StandIn, configure: Configure) -> None:
    stand_in.update_result = "failed"
    result = configure()
    assert "tenantry.kube: the last update of the project is failed. Correct project_url" in result["msg"]
    assert stand_in.names("job_templates") == []
    assert stand_in.names("teams") == ["payments", "research"]


def test_running_job_of_a_removed_tenant_is_an_error(
    stand_in: StandIn, configure: Configure, after_run: AfterRun
) -> None:
    after_run()
    number = stand_in.named("job_templates", RESEARCH[0])["id"]
    stand_in.active_jobs = {number: [71, 72]}
    result = configure(tenants=[OPTIONS["tenants"][0]])
    assert (
        f"DELETE job_templates/{number}: 409 Resource is being used by running jobs.; jobs 71, 72. "
        "Wait until its jobs have ended, then run again"
    ) in result["msg"]
    assert stand_in.names("teams") == ["payments"]


def test_existing_credential_is_looked_up(stand_in: StandIn, configure: Configure) -> None:
    aws = next(number for number, one in stand_in.objects["credential_types"].items() if one.get("namespace") == "aws")
    organization = stand_in.add("organizations", name="Default")["id"]
    inputs = {"username": "u", "password": "p"}
    git = stand_in.add("credentials", name="git", organization=organization, credential_type=aws, inputs=inputs)
    assert not configure(project_credential="git").get("failed")
    assert stand_in.named("projects", "tenantry.kube")["credential"] == git["id"]
    assert 'the existing credential "gti" exists 0 times' in configure(project_credential="gti")["msg"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"controller_host": "http://awx.example.com"},
            'controller_host: "http://awx.example.com" is not an https:// address',
        ),
        ({"hub_host": "http://hub"}, 'hub_host: "http://hub" is not an https:// address'),
        ({"hub_token": None}, "hub_host, hub_token: both are required without hub_kubeconfig"),
        ({"hub_kubeconfig": "/nonexistent"}, "hub_kubeconfig: not together with hub_host, hub_token and hub_ca_cert"),
        ({"snapshot_secret_key": None}, "snapshot_access_key, snapshot_secret_key: only one is set"),
        ({"tenants": [{"name": "Payments"}]}, 'tenants[0].name: "Payments" is not a valid name'),
        ({"tenants": [{"name": "a"}, {"name": "a"}]}, 'tenants: "a" is given twice'),
        ({"ttls": []}, "ttls: is empty"),
        ({"ttls": ["1y"]}, 'ttls: "1y" is not a duration'),
        ({"schedules": {"upgrade": "x"}}, 'schedules: "upgrade" has no schedule'),
        ({"schedules": {"backup": "daily"}}, 'schedules.backup: "daily" is not a rule that a controller accepts'),
        ({"project_url": ""}, "project_url: is empty"),
    ],
)
def test_invalid_options_are_refused(
    stand_in: StandIn, configure: Configure, options: dict[str, Any], message: str
) -> None:
    result = configure(**options)
    assert message in result["msg"]
    assert "\n" not in result["msg"]
    assert stand_in.requests == []


def test_wrong_token_is_one_error(configure: Configure) -> None:
    result = configure(controller_oauthtoken="expired-token-of-nobody")
    assert "401 Authentication credentials were not provided. Use a valid token" in result["msg"]
    assert "\n" not in result["msg"]
    assert "expired-token-of-nobody" not in result["raw"]


def test_untrusted_certificate_is_refused(stand_in: StandIn, configure: Configure) -> None:
    result = configure(ca_path=None)
    assert "is not trusted. Set ca_path to the file of its CA" in result["msg"]
    assert stand_in.requests == []
