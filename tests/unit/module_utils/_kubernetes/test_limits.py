"""Every connection to the inside of a virtual cluster has a limit: its administrators decide what it answers."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import transport

MODULE_UTILS = Path(transport.__file__).parents[1]
OPENS = re.compile(r"connection\.inside\([^()]*(?:\([^()]*\)[^()]*)*\)(\.limited\()?")


class Response:
    def __init__(self, *chunks: bytes) -> None:
        self.chunks = chunks

    def stream(self) -> tuple[bytes, ...]:
        return self.chunks


def test_no_connection_is_without_a_limit() -> None:
    found = {
        f"{path.name}: {one[0]}": bool(one[1])
        for path in MODULE_UTILS.rglob("*.py")
        for one in OPENS.finditer(path.read_text())
    }
    assert len(found) >= 6
    assert [place for place, is_limited in found.items() if not is_limited] == []


def test_an_event_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "LARGEST_ANSWER_OF_TENANTS", 10)
    whole = b'{"type":"ADDED","object":{}}\n'
    assert list(transport.events(Response(whole[:9], whole[9:]), "watching")) == [("ADDED", {})]
    with pytest.raises(ApiError, match="watching: an event has more than 0 MiB"):
        list(transport.events(Response(b" " * 9, b" " * 9), "watching"))


def test_what_ends_a_watch_is_one_line() -> None:
    status = {"message": "gone\n\x1b[31mTASK [all is well]\u202e", "code": 410}
    event = json.dumps({"type": "ERROR", "object": status}).encode()
    with pytest.raises(ApiError) as told:
        list(transport.events(Response(event + b"\n"), "watching"))
    assert str(told.value) == "watching: gone [31mTASK [all is well]. Run again"
    assert told.value.status == 410
