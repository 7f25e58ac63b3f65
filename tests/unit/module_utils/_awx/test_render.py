"""The desired objects, without any controller."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._awx import objects as kinds
from ansible_collections.tenantry.kube.plugins.module_utils._awx.objects import Desired, differing, redacted
from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import DEFAULT_SCHEDULES, DEFAULT_TTLS, Options
from ansible_collections.tenantry.kube.plugins.module_utils._awx.render import desired
from ansible_collections.tenantry.kube.plugins.module_utils._awx.surveys import ADMIN_PLAYBOOKS

from .conftest import OPTIONS

ROOT = Path(__file__).resolve().parents[4]
NOT_GIVEN = dict.fromkeys(
    ["project_branch", "project_credential", "execution_environment_credential", "hub_kubeconfig"]
)
DEFAULTS = {
    "organization": "tenantry",
    "inventory_path": "inventory/hosts.yml",
    "ttls": DEFAULT_TTLS,
    "schedules": DEFAULT_SCHEDULES,
    "controller_host": "https://awx.example.com",
    "controller_oauthtoken": "token",
    "api_prefix": "/api/v2/",
    "ca_path": None,
    "timeout": 30,
    "update_secrets": False,
    "wait_timeout": 300,
    "failure_notifications": [],
}


def rendered(**options: Any) -> list[Desired]:
    return desired(Options.of({**NOT_GIVEN, **DEFAULTS, **OPTIONS, **options}))


def templates(**options: Any) -> dict[str, Desired]:
    return {one.name: one for one in rendered(**options) if one.kind == kinds.JOB_TEMPLATE}


def workflows(**options: Any) -> dict[str, Desired]:
    return {one.name: one for one in rendered(**options) if one.kind == kinds.WORKFLOW}


def questions(template: Desired) -> dict[str, dict[str, Any]]:
    return {one["variable"]: one for one in (template.survey or {"spec": []})["spec"]}


def test_every_object_is_behind_those_it_refers_to() -> None:
    known = set()
    for one in rendered():
        looked_up = {ref for ref in one.references() if ref.kind in (kinds.FOREIGN_CREDENTIAL, kinds.BUILT_IN_TYPE)}
        assert set(one.references()) - looked_up <= known, one.name
        known.add(one.ref)
    assert len(known) == len(rendered())


def test_every_playbook_of_the_project_that_jobs_can_run_has_a_template() -> None:
    """`platform` and `site` need files of the administrator, `join` kubeconfigs of members, `awx` a token of AWX."""
    files = {path.stem for path in (ROOT / "awx/project").glob("*.yml")}
    assert files - ADMIN_PLAYBOOKS.keys() == {"platform", "site", "join", "awx"}
    assert {template.fields["playbook"] for template in templates().values()} == {
        f"{name}.yml" for name in ADMIN_PLAYBOOKS
    }


def test_playbooks_read_the_variables_of_the_surveys() -> None:
    shared = "".join(path.read_text() for path in (ROOT / "playbooks/vars").glob("*.yml"))
    shared += "".join(path.read_text() for path in (ROOT / "playbooks/tasks").glob("*.yml"))
    for name, template in templates().items():
        read = set(re.findall(r"\w+", shared + (ROOT / "playbooks" / template.fields["playbook"]).read_text()))
        asked = questions(template) | (questions(workflows()[name]) if template.reader else {})
        assert asked.keys() - read == set(), name
        assert json.loads(template.fields["extra_vars"]).keys() - read == set(), name


def test_surveys_ask_what_the_documentation_says() -> None:
    page = (ROOT / "docs/awx.md").read_text()
    documented: dict[str, set[str]] = {}
    for names, text in re.findall(r"^\| (`.*?`) \| (.*) \|$", page, re.MULTILINE):
        for name in re.findall(r"`(\w+)`", names):
            documented[name] = set(re.findall(r"`(tenantry_(?:tenant|vcluster|confirm|version))`", text))
    found = templates()
    for name in ADMIN_PLAYBOOKS:
        assert documented[name] <= questions(found[name]).keys() | {"tenantry_confirm"}, name
        assert (documented[name] == set()) == (found[name].survey is None), name


def test_tenant_is_fixed_and_in_no_survey() -> None:
    own = {name: one for name, one in workflows().items() if one.team}
    assert own.keys() == {name for name, one in templates().items() if one.reader}
    assert {name.partition(": ")[0] for name in own} == {"payments", "research"}
    for name, one in own.items():
        tenant = name.partition(": ")[0]
        template = templates()[name]
        for fields in (one.fields, template.fields):
            assert json.loads(fields["extra_vars"]) == {"tenantry_tenant": tenant}
        assert one.team == template.reader == (kinds.TEAM, tenant)
        assert template.team is template.survey is None
        assert "tenantry_tenant" not in questions(one)
        assert one.fields["ask_variables_on_launch"] is False
        assert {"tenantry_vcluster"} <= questions(one).keys() <= {
            "tenantry_vcluster", "tenantry_size", "tenantry_ttl", "tenantry_state", "tenantry_confirm"}  # fmt: skip


def test_choices_are_those_of_the_options() -> None:
    asked = questions(workflows(ttls=["2d", "4d"])["payments: create virtual cluster"])
    assert (asked["tenantry_size"]["choices"], asked["tenantry_size"]["default"]) == ("small\nlarge", "small")
    assert (asked["tenantry_ttl"]["choices"], asked["tenantry_ttl"]["default"]) == ("2d\n4d", "2d")
    assert asked["tenantry_vcluster"]["max"] == 63 - len("payments--")
    extend = questions(workflows()["payments: extend virtual cluster"])
    assert extend["tenantry_vcluster"]["choices"] == "dev"


def test_without_sizes_tenants_create_nothing() -> None:
    names = [name for name, one in templates(sizes=[]).items() if one.reader]
    assert [name for name in names if "create" in name] == []
    assert "research: delete virtual cluster" in names


@pytest.mark.parametrize("secret", ["snapshot_passphrase", "snapshot_access_key"])
def test_without_a_secret_there_is_no_credential(secret: str) -> None:
    given = {secret: None, **({"snapshot_secret_key": None} if "key" in secret else {})}
    with_all = {one.name for one in rendered() if one.kind == kinds.CREDENTIAL}
    without = {one.name for one in rendered(**given) if one.kind == kinds.CREDENTIAL}
    assert len(with_all - without) == 1
    assert {ref.name for ref in templates(**given)["backup"].credentials} == without


def test_secrets_are_not_compared_but_their_presence_is() -> None:
    secrets = frozenset({"token"})
    wanted = {"inputs": {"host": "h", "token": "t"}}
    assert differing(wanted, {"inputs": {"host": "h", "token": "$encrypted$"}}, secrets) == []
    assert differing(wanted, {"inputs": {"host": "other", "token": "$encrypted$"}}, secrets) == ["inputs"]
    assert differing(wanted, {"inputs": {"host": "h"}}, secrets) == ["inputs"]
    assert redacted(wanted, secrets) == {"inputs": {"host": "h", "token": "<redacted>"}}


def test_unknown_field_of_a_controller_never_differs() -> None:
    assert differing({"ask_labels_on_launch": False, "name": "a"}, {"name": "a"}, frozenset()) == []


def test_extra_vars_are_compared_as_data() -> None:
    assert differing({"extra_vars": '{"a": 1}'}, {"extra_vars": '{\n"a":1}'}, frozenset()) == []
    assert differing({"extra_vars": '{"a": 1}'}, {"extra_vars": "a: 2"}, frozenset()) == ["extra_vars"]
