"""What pages quote from the code, and ids that the code cites from pages, exist on the other side."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
ID = re.compile(r"\b(?:(?:CLN|CRED|DUR|FLEET|GONE|IDEM|ISO|JOB|KIND|NET|PERM|QUO|STORE|TIME|WAY)-[0-9]+|PERM)\b")
ROW = re.compile(r"^\| ([A-Z]+(?:-[0-9]+)?) \| .* \| (.*) \|$", re.MULTILINE)
LINK = re.compile(r"\]\(\.\./(tests/[^)]+)\)")
# Messages of Kubernetes.
KUBERNETES = {
    "ErrImagePull",
    "ImagePullBackOff",
    "Insufficient cpu",
    "Insufficient memory",
    "StartError",
    "cpu.cfs_quota_us: invalid argument",
    "exceeded quota",
    "status unknown for quota",
    "unbound immediate PersistentVolumeClaims",
    "violates PodSecurity",
}


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def texts() -> str:
    """Return all string literals of the code, a line each, with `…` in place of values."""
    found: list[str] = []
    for directory in ("plugins", "syncer"):
        for path in (ROOT / directory).rglob("*.py"):
            for node in ast.walk(ast.parse(read(path))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(one.value if isinstance(one, ast.Constant) else "…" for one in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(node.value)
    return "\n".join(found)


def quoted(page: str) -> set[str]:
    """Return what is in backticks in the columns `message` of a page's tables."""
    found: set[str] = set()
    for table in re.findall(r"(?:^\|.*\|\n)+", page, re.MULTILINE):
        header, _line, *rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in table.splitlines()]
        if "message" in header:
            for row in rows:
                found.update(re.findall(r"`([^`]+)`", row[header.index("message")]))
    return found


def cited() -> dict[str, set[str]]:
    """Return the ids that tests and code cite, with the files."""
    found: dict[str, set[str]] = {}
    for directory in ("plugins", "syncer", "tests"):
        for path in (ROOT / directory).rglob("*.py"):
            if path != Path(__file__):
                for one in ID.findall(read(path)):
                    found.setdefault(one, set()).add(str(path.relative_to(ROOT)))
    return found


def test_troubleshooting_quotes_messages_of_the_code():
    messages = quoted(read(ROOT / "docs/troubleshooting.md"))
    assert len(messages) > 50
    code = texts()
    parts = {part.strip() for message in messages - KUBERNETES for part in message.split("…")}
    assert sorted(part for part in parts if part not in code) == []


def test_acceptance_defines_the_ids_that_are_cited():
    rows = dict(ROW.findall(read(ROOT / "docs/acceptance.md")))
    assert sorted(rows) == sorted(cited())


def test_acceptance_names_test_files_that_cite_the_id():
    shown = {one: set(LINK.findall(where)) for one, where in ROW.findall(read(ROOT / "docs/acceptance.md"))}
    tests = {one: {path for path in paths if path.startswith("tests/")} for one, paths in cited().items()}
    assert shown == tests
