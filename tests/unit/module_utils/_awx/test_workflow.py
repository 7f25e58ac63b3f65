"""The workflow: its nodes, their order, and what others did to it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from .conftest import AfterRun, Configure
from .schema import Failure
from .stand_in import StandIn

ORDER = ["check", "approval", "onboard", "report"]


def nodes(stand_in: StandIn) -> dict[str, dict[str, Any]]:
    workflow = stand_in.named("workflow_job_templates", "onboard with approval")["id"]
    found = stand_in.objects["workflow_job_template_nodes"].values()
    return {node["identifier"]: node for node in found if node["workflow_job_template"] == workflow}


def assert_complete(stand_in: StandIn) -> None:
    found = nodes(stand_in)
    onboard, report = (stand_in.named("job_templates", name)["id"] for name in ("onboard", "report"))
    assert {name: node["job_type"] for name, node in found.items()} == {**dict.fromkeys(ORDER), "check": "check"}
    assert [found[name]["unified_job_template"] for name in ("check", "onboard", "report")] == [
        onboard,
        onboard,
        report,
    ]
    assert found["approval"]["summary_fields"]["unified_job_template"]["unified_job_type"] == "workflow_approval"
    for name, following in zip(ORDER, [*ORDER[1:], None], strict=True):
        assert found[name]["success_nodes"] == ([found[following]["id"]] if following else [])
        assert found[name]["failure_nodes"] == found[name]["always_nodes"] == []


def test_workflow_waits_for_an_approval(stand_in: StandIn, after_run: AfterRun) -> None:
    after_run()
    assert_complete(stand_in)
    workflow = stand_in.named("workflow_job_templates", "onboard with approval")
    assert [question["variable"] for question in stand_in.surveys[workflow["id"]]["spec"]] == ["tenantry_tenant"]


def skip_approval(stand_in: StandIn) -> None:
    found = nodes(stand_in)
    found["check"]["always_nodes"].append(found["onboard"]["id"])


def replace_approval(stand_in: StandIn) -> None:
    nodes(stand_in)["approval"] |= {"unified_job_template": stand_in.named("job_templates", "report")["id"]}
    nodes(stand_in)["approval"].pop("summary_fields")


def delete_approval(stand_in: StandIn) -> None:
    stand_in._delete("workflow_job_template_nodes", nodes(stand_in)["approval"]["id"])


def run_instead_of_check(stand_in: StandIn) -> None:
    nodes(stand_in)["check"]["job_type"] = None


def add_node(stand_in: StandIn) -> None:
    workflow = stand_in.named("workflow_job_templates", "onboard with approval")["id"]
    number = stand_in._create("workflow_job_template_nodes", {"workflow_job_template": workflow, "identifier": "x"})[
        "id"
    ]
    nodes(stand_in)["check"]["success_nodes"].append(number)


CHANGES = [
    (skip_approval, ["unlink"]),
    (replace_approval, ["remove_node", "add_node", "link", "link"]),
    (delete_approval, ["add_node", "link", "link"]),
    (run_instead_of_check, ["remove_node", "add_node", "link"]),
    (add_node, ["remove_node"]),
]


@pytest.mark.parametrize(("change", "actions"), CHANGES, ids=[change.__name__ for change, _actions in CHANGES])
def test_changed_workflow_is_restored(
    stand_in: StandIn,
    configure: Configure,
    after_run: AfterRun,
    change: Callable[[StandIn], None],
    actions: list[str],
) -> None:
    after_run()
    change(stand_in)
    with pytest.raises((AssertionError, KeyError)):
        assert_complete(stand_in)
    predicted, done = configure(check=True), configure()
    for result in (predicted, done):
        [row] = [row for row in result["results"] if row["changed"]]
        assert [action["action"] for action in row["actions"]] == actions
    assert_complete(stand_in)
    assert not configure()["changed"]


def test_stand_in_rejects_a_cycle(stand_in: StandIn, after_run: AfterRun) -> None:
    after_run()
    found = nodes(stand_in)
    url = f"/api/v2/workflow_job_template_nodes/{found['report']['id']}/success_nodes/"
    with pytest.raises(Failure, match="Cycle detected"):
        stand_in.handle("POST", url, "token-of-an-administrator", {"id": found["check"]["id"]})
