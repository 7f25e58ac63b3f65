"""Users by the answer of a survey."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.tenantry.kube.plugins.filter.survey_users import FilterModule

survey_users = FilterModule().filters()["survey_users"]


def user(name: str, role: str = "developer") -> dict[str, Any]:
    return {"name": name, "role": role, "access": [{"vcluster": "dev"}]}


def known(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "role": "developer", "access": {}, "oidc": "", "credentials": [], **more}


@pytest.mark.parametrize(
    "answer",
    ["alice:admin, bob", "alice:admin,bob,", "alice:admin\nbob\n", " alice:admin  bob ", ["alice:admin", "bob", ""]],
)
def test_survey_users_text_and_lists_are_the_same(answer: Any) -> None:
    assert survey_users(answer, "dev") == [user("alice", "admin"), user("bob")]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("alice:owner", 'tenantry_users: "alice:owner" has no role of viewer, developer, admin'),
        ("alice:platform_operator", "has no role of"),
        ("Alice", 'tenantry_users: "Alice"'),
        ([{"name": "alice"}], "tenantry_users: "),
        ([7], "tenantry_users: "),
        ("bob, bob:admin", 'tenantry_users: "bob" is given twice'),
        ('bob","role":"admin', "tenantry_users: "),
    ],
)
def test_survey_users_invalid_answer_is_an_error(answer: Any, message: str) -> None:
    with pytest.raises(AnsibleFilterError) as caught:
        survey_users(answer, "dev")
    assert message in str(caught.value)


def test_survey_users_one_of_the_inventory_is_left_to_it() -> None:
    assert survey_users("alice bob", "dev", but=["alice"]) == [user("bob")]


@pytest.mark.parametrize(
    ("more", "due"),
    [
        ({}, False),
        ({"access": {"dev": "viewer"}}, False),
        ({"access": {"dev": "developer", "prod": "viewer"}}, False),
        ({"access": {"dev": "developer"}}, True),
        ({"access": {"dev": "developer"}, "oidc": "user oidc:bob"}, False),
        ({"access": {"dev": "developer"}, "credentials": [{"vcluster": "hub"}]}, False),
    ],
)
def test_survey_users_with_access_stay_unless_a_run_created_them(more: dict[str, Any], due: bool) -> None:
    assert survey_users("bob", "dev", known=[known("bob", **more)]) == ([user("bob")] if due else [])


def test_survey_users_without_access_are_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="bob exists and may enter prod only"):
        survey_users("bob", "dev", known=[known("bob", access={"prod": "viewer"})])
