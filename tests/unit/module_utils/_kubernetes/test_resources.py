"""The kinds of objects that the collection uses are written in one file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import resources
from ansible_collections.tenantry.kube.plugins.module_utils._platform import crds

MODULE_UTILS = Path(__file__).parents[4] / "plugins" / "module_utils"
ELSEWHERE = [path for path in sorted(MODULE_UTILS.rglob("*.py")) if path.parts[-2:] != ("_kubernetes", "resources.py")]


@pytest.mark.parametrize("path", ELSEWHERE, ids=lambda path: str(path.relative_to(MODULE_UTILS)))
def test_a_kind_is_written_nowhere_else(path: Path) -> None:
    strings = (node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant))
    assert [value for value in strings if isinstance(value, str) and value in resources.KINDS] == []


def test_every_kind_is_used() -> None:
    """By its name, since the table itself refers to all of them."""
    nodes = [node for path in ELSEWHERE for node in ast.walk(ast.parse(path.read_text()))]
    used = {alias.name for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names}
    used |= {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    kinds = {name for name, value in vars(resources).items() if isinstance(value, str) and value in resources.KINDS}
    assert len(kinds) == len(resources.KINDS)
    assert kinds - used == set()


def test_the_kinds_of_requests_are_those_of_the_crds() -> None:
    defined = {
        f"{crds.GROUP}/{one['spec']['versions'][0]['name']}/{one['spec']['names']['kind']}": one["spec"]["names"][
            "plural"
        ]
        for one in crds.objects()
        if one["kind"] == "CustomResourceDefinition"
    }
    known = (resources.VIRTUAL_CLUSTER_REQUEST, resources.TENANT_USER_REQUEST)
    assert defined == {kind: resources.KINDS[kind][0] for kind in known}
