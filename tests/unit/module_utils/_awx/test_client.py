"""Requests to a controller: pages, errors of one line, no redirects."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._awx import client
from ansible_collections.tenantry.kube.plugins.module_utils._awx.client import Controller
from ansible_collections.tenantry.kube.plugins.module_utils._awx.options import Connection
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError

from .stand_in import ADMIN_TOKEN, StandIn


def connected(address: str, ca_path: str, prefix: str = "/api/v2/") -> Controller:
    return Controller(Connection(address, ADMIN_TOKEN, prefix, ca_path, timeout=5))


@pytest.fixture
def controller(address: str, ca_path: str) -> Controller:
    return connected(address, ca_path)


def test_list_has_all_pages(stand_in: StandIn, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PAGE_SIZE", 2)
    names = [f"organization-{number}" for number in range(5)]
    for name in names:
        stand_in.add("organizations", name=name)
    assert [one["name"] for one in controller.list("organizations")] == names
    assert len(stand_in.requests) == 3


def test_error_names_request_field_and_remedy(controller: Controller) -> None:
    with pytest.raises(ApiError, match=r"^POST teams: 400 organization: This field is required\. Correct the value"):
        controller.create("teams", {"name": "a"})
    with pytest.raises(ApiError, match=r"^GET teams/99: 404 Not found\. Check that the address"):
        controller.get("teams/99")


def test_nested_errors_of_a_controller_are_one_line() -> None:
    answer = {"detail": "no", "inputs": {"host": ["a", "b"]}, "__all__": ["c"]}
    assert "; ".join(client._messages(answer)) == "no; host: a; host: b; __all__: c"


def test_no_answer_is_an_error_with_the_address(address: str, ca_path: str) -> None:
    nowhere = re.sub(r":\d+$", ":1", address)
    with pytest.raises(ApiError, match=rf"^GET teams: no answer from {nowhere}/api/v2/: .*refused"):
        connected(nowhere, ca_path).get("teams")


@pytest.mark.parametrize("prefix", ["/api/controller/v2/", "api/controller/v2"])
def test_prefix_is_part_of_the_address(address: str, ca_path: str, prefix: str) -> None:
    with pytest.raises(ApiError, match="404"):
        connected(address, ca_path, prefix).get("teams")


def test_redirect_is_an_error_and_keeps_the_token(stand_in: StandIn, controller: Controller) -> None:
    stand_in.refuse = {("GET", "teams"): 302}
    with pytest.raises(ApiError, match="302 a redirect to"):
        controller.get("teams")
    assert len(stand_in.requests) == 1
