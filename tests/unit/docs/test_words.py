"""Words that only the authors would understand do not come back: in messages, docstrings and pages."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator

import pytest

from .test_pages import ROOT, read

# A pattern, and what to write instead.
WORDS = {
    r"\banew\b": "again; recreate, reissue",
    r"\b(handout|invitation|workshop)s?\b": "kubeconfig; initial kubeconfig; maintenance pod",
    r"\b(overdrawn|allotted)\b": "exceeded; allocated",
    r"(?<!disruption )\bbudgets?\b": "quota",
    r"\b(walls?|doors?)\b": "network policy, isolation; server",
    r"\b(whoever|who asks|asker)\b": "the requester, users who …",
    r"\b(lets?|let) in\b": "allow, give access",
    r"\b(he|his|him|she|her)\b": "they, or the noun",
    r"\bput back\b": "restore",
    r"\bstanding still\b": "paused",
    r"\bmade whole\b": "consistent, complete",
}
# Not prose of this collection: a key of former records, names of examples and of objects that exist.
EXCEPTIONS = {
    "plugins/module_utils/_tenant/manifests.py": {"budget"},
    "plugins/module_utils/_vcluster/datastore/maintenance_pod.py": {"workshop"},
    "plugins/modules/vcluster.py": {"workshop"},
    "docs/sleep.md": {"workshop"},
    "syncer/tenantry_syncer/kube/informer.py": {"budget"},
}


def prose() -> Iterator[tuple[str, str]]:
    """Yield the string literals, docstrings and comments of the code, and the pages, by path."""
    for directory in ("plugins", "syncer"):
        for path in sorted((ROOT / directory).rglob("*.py")):
            for node in ast.walk(ast.parse(read(path))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield str(path.relative_to(ROOT)), node.value
            for token in tokenize.generate_tokens(io.StringIO(read(path)).readline):
                if token.type == tokenize.COMMENT:
                    yield str(path.relative_to(ROOT)), token.string
    pages = [ROOT / name for name in ("README.md", "SECURITY.md")]
    for pattern in ("docs/**/*.md", "roles/**/*.md", "roles/**/*.yml", "playbooks/**/*.yml", "inventories/**/*.yml"):
        pages += sorted(ROOT.glob(pattern))
    for path in pages:
        yield str(path.relative_to(ROOT)), read(path)


def found_in(path: str, text: str) -> list[str]:
    """Return each forbidden word with its place and what to write instead."""
    found: list[str] = []
    for pattern, instead in WORDS.items():
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if match[0].lower() not in EXCEPTIONS.get(path, ()):
                found.append(f"{path}: {match[0]!r}: write {instead}")
    return found


def test_words_of_the_authors_are_not_used() -> None:
    assert [line for path, text in prose() for line in found_in(path, text)] == []


@pytest.mark.parametrize("text", ["its pods are made anew", "He asks", "the tenant's budget", "whoever comes"])
def test_each_of_them_would_be_found(text: str) -> None:
    assert found_in("docs/x.md", text)
    assert not found_in("docs/x.md", "a disruption budget there")
