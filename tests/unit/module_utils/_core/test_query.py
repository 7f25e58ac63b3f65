"""JMESPath queries of rows."""

from __future__ import annotations

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import query
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError

EXAMPLE = "[?tier=='prod']"
ROWS = [
    {"namespace": "payments--dev", "tier": "dev", "version": "v1.37.0+k3s1"},
    {"namespace": "payments--prod", "tier": "prod", "version": "v1.36.2+k3s1"},
    {"namespace": "research--lab", "tier": "dev", "version": None},
]


class Tagged(str):
    """As strings of Ansible, which JMESPath's functions do not take."""


def select(expression: str, rows: list[dict] | None = None) -> list[str]:
    return [row["namespace"] for row in query.select(expression, rows or ROWS, "namespace", EXAMPLE)]


@pytest.mark.parametrize(
    ("expression", "selected"),
    [
        ("[?tier=='dev']", ["payments--dev", "research--lab"]),
        ("[?starts_with(namespace, 'payments')]", ["payments--dev", "payments--prod"]),
        ("reverse([?tier=='dev'])", ["payments--dev", "research--lab"]),
        ("[?tier=='none']", []),
        ("[]", ["payments--dev", "payments--prod", "research--lab"]),
    ],
)
def test_select_filter_returns_rows_in_their_order(expression: str, selected: list[str]) -> None:
    assert select(expression) == selected


def test_select_tagged_strings_are_compared() -> None:
    rows = [{**row, "namespace": Tagged(row["namespace"])} for row in ROWS]
    assert select(Tagged("[?contains(namespace, 'lab')]"), rows) == ["research--lab"]


@pytest.mark.parametrize(
    "expression", ["[].namespace", "[0]", "length(@)", "[].{name: namespace}", "[].{namespace: tier}", "nothing"]
)
def test_select_other_results_are_an_error(expression: str) -> None:
    with pytest.raises(TenantryError, match=r"query: .* does not select rows.*Set a filter such as"):
        select(expression)


@pytest.mark.parametrize("expression", ["[?tier==", "", "nonsense(@)", "[?contains(version, 'v1')]"])
def test_search_invalid_expression_is_one_line(expression: str) -> None:
    with pytest.raises(TenantryError, match=r"query: .* is not a valid query") as caught:
        select(expression)
    assert "\n" not in str(caught.value)


def test_search_without_jmespath_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "jmespath", None)
    with pytest.raises(TenantryError, match=r"query: needs the Python package jmespath, which is missing for .*python"):
        select(EXAMPLE)
