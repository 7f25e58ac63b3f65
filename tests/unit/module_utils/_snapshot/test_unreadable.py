"""A file that is no snapshot, or a damaged one, among good ones: named, left alone, and in nobody's way."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import age_format, encryption
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import newest_record as snapshot_newest
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import BadFile, Origin
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.directory_store import Directory

from .test_reconcile import NAMESPACE, PASSPHRASE, add, forged, noted, origin

GOOD = ["20260101T020000Z", "20260102T020000Z"]
BAD = "20260103T020000Z"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Directory:
    """With three snapshots."""
    monkeypatch.setattr(age_format, "WORK", 10)
    store, key = Directory(str(tmp_path / "store")), encryption.new_key(PASSPHRASE)
    for sequence, name in enumerate([*GOOD, BAD], 1):
        add(store, key, tmp_path, origin(name, sequence))
    return store


def linked(file: Path) -> None:
    file.rename(file.with_suffix(".away"))
    file.symlink_to(file.with_suffix(".away"))


HARM: dict[str, tuple[str, Callable[[Path], Any], str]] = {
    "archive truncated": (".age", lambda file: os.truncate(file, file.stat().st_size - 1), " bytes, and should have"),
    "archive missing": (".age", Path.unlink, "is missing"),
    "archive a link": (".age", linked, "is missing or not a file"),
    "description truncated": (".json", lambda file: os.truncate(file, 100), "no JSON"),
    "description empty": (".json", lambda file: os.truncate(file, 0), "no JSON"),
    "description a link": (".json", linked, "a link or something else"),
    "of another": (".json", lambda file: forged(file, tenant="other"), "it says other--dev"),
    "of another release": (".json", lambda file: forged(file, format=1), "is of format 1"),
    "too large": (".json", lambda file: file.write_bytes(b" " * 20_000), "larger than 16 KiB"),
    "nested": (".json", lambda file: file.write_bytes(b"[" * 16_000), "no JSON"),
}


@pytest.mark.parametrize(("ending", "harm", "reason"), HARM.values(), ids=HARM)
def test_one_that_is_damaged_hides_no_other(
    store: Directory, ending: str, harm: Callable[[Path], Any], reason: str
) -> None:
    harm(Path(store.where(NAMESPACE, f"{BAD}{ending}")))
    there = store.list(NAMESPACE)
    assert [one.origin.snapshot for one in there.snapshots] == GOOD
    (bad,) = there.unreadable
    assert bad.file == f"{BAD}{ending}"
    assert reason in bad.reason
    assert store.get(NAMESPACE, GOOD[0]).origin.snapshot == GOOD[0]
    with pytest.raises(TenantryError, match="may be newer"):
        snapshot_newest.check_unreadable(None, store.get(NAMESPACE, "latest").origin, there.unreadable)


@pytest.mark.parametrize("name", ["no name", "-x", "latest", "a" * 64, "tab\t", "\udcff", "\u202ename"])
def test_a_name_that_no_snapshot_has_is_shown_in_a_line(store: Directory, name: str) -> None:
    file = Path(store.where(NAMESPACE)) / f"{name}.json"
    file.write_text("{}")
    there = store.list(NAMESPACE)
    assert len(there.snapshots) == 3
    (bad,) = there.unreadable
    assert bad.reason == "is not named like a snapshot. Move it away"
    assert str(bad).isascii()
    assert str(bad).isprintable()
    snapshot_newest.check_unreadable(None, there.snapshots[-1].origin, there.unreadable)


def bad(name: str) -> BadFile:
    return BadFile(f"/store/{NAMESPACE}/{name}.json", "is broken")


def at(name: str, sequence: int = 5) -> Origin:
    return origin(name, sequence, created=datetime(2026, 1, 2, 2, 0, 30, tzinfo=UTC).isoformat())


NOTE = noted(snapshot=GOOD[1], sequence=5)


@pytest.mark.parametrize(
    ("name", "note", "newest", "refused"),
    [
        (BAD, None, GOOD[1], True),
        (BAD, NOTE, GOOD[1], True),  # whatever is noted: its name says so
        (GOOD[0], None, GOOD[1], False),
        (GOOD[0], None, "nightly", False),  # by the time it was taken
        (BAD, None, "nightly", True),
        ("second", None, GOOD[1], True),  # nothing tells
        ("second", NOTE, GOOD[1], False),  # none was taken since
        ("second", noted(snapshot="second", sequence=6), GOOD[1], True),
        ("20261399T000000Z", NOTE, GOOD[1], False),  # no time
        ("not a name", None, GOOD[1], False),  # of no snapshot
    ],
)
def test_an_older_one_is_not_taken_in_silence(name: str, note: dict | None, newest: str, refused: bool) -> None:
    def check() -> None:
        snapshot_newest.check_unreadable(note, at(newest), [bad(GOOD[0]), bad(name)])

    if not refused:
        check()
        return
    with pytest.raises(TenantryError) as error:
        check()
    assert f"{name}.json may be newer" in str(error.value)
    assert f"set snapshot to {newest} to restore the older one" in str(error.value)
    assert json.dumps(str(error.value)).isascii()
