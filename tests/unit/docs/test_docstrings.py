"""A reader of shared code finds a docstring where a name and a few lines do not say it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from .test_pages import ROOT, read

DIRECTORIES = ("plugins/module_utils", "syncer/tenantry_syncer")
FEW_LINES = 5  # of a function, its signature included


def lacking(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    """Yield the public classes, and public functions of more than a few lines, that have no docstring."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith("_"):
            continue
        name = f"{prefix}{node.name}"
        is_class = isinstance(node, ast.ClassDef)
        is_overload = any("overload" in ast.unparse(one) for one in node.decorator_list)
        is_long = is_class or (node.end_lineno or 0) - node.lineno >= FEW_LINES
        if is_long and not is_overload and not ast.get_docstring(node):
            yield name
        if is_class:
            yield from lacking(node, f"{name}.")


def test_shared_code_has_docstrings() -> None:
    paths = [path for directory in DIRECTORIES for path in sorted((ROOT / directory).rglob("*.py"))]
    found = {str(path.relative_to(ROOT)): list(lacking(ast.parse(read(path)))) for path in paths}
    assert {path: names for path, names in found.items() if names} == {}


def test_modules_of_shared_code_have_docstrings() -> None:
    def has_one(path: Path) -> bool:
        text = read(path)
        return not text.strip() or bool(ast.get_docstring(ast.parse(text)))

    paths = [path for directory in DIRECTORIES for path in sorted((ROOT / directory).rglob("*.py"))]
    assert [str(path) for path in paths if not has_one(path)] == []


def test_one_without_docstring_would_be_found() -> None:
    body = "\n".join(f"    x{number} = {number}" for number in range(6))
    source = f"class A:\n    def f(self): ...\n\n\ndef g():\n{body}\n\n\ndef _h():\n{body}\n"
    assert list(lacking(ast.parse(source))) == ["A", "g"]
