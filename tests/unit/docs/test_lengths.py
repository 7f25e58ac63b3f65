"""A function or file of the product fits on a few screens, or the comment before it says why it does not."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from .test_pages import ROOT, read

DIRECTORIES = ("plugins", "syncer/tenantry_syncer")
MOST_LINES_OF_FUNCTION, MOST_LINES_OF_FILE = 40, 400
REASON = "# Long: "
PATHS = [path for directory in DIRECTORIES for path in sorted((ROOT / directory).rglob("*.py"))]


def too_long(source: str) -> Iterator[str]:
    """Yield the functions with too many lines, their docstrings included, and no comment with the reason."""
    lines = source.splitlines()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min(one.lineno for one in (node, *node.decorator_list))
            has_reason = first > 1 and lines[first - 2].strip().startswith(REASON)
            if (node.end_lineno or 0) - node.lineno >= MOST_LINES_OF_FUNCTION and not has_reason:
                yield node.name


def test_functions_are_short_or_say_why_not() -> None:
    found = {str(path.relative_to(ROOT)): list(too_long(read(path))) for path in PATHS}
    assert {path: names for path, names in found.items() if names} == {}


def test_files_are_short() -> None:
    lengths = {str(path.relative_to(ROOT)): len(read(path).splitlines()) for path in PATHS}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES_OF_FILE} == {}


def test_a_long_function_would_be_found() -> None:
    def function(lines: int) -> str:
        return "\n".join(["def f():", *["    x = 1"] * (lines - 1)])

    assert list(too_long(function(40))) == []
    assert list(too_long(function(41))) == ["f"]
    assert list(too_long("@staticmethod\n" + function(41))) == ["f"]
    assert list(too_long(f"{REASON}one line for each.\n@staticmethod\n{function(41)}")) == []
