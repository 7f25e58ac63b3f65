"""The list of a bucket's snapshots where it has more folders than anybody needs, or breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import info
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import store as snapshot_store
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.s3_store import Bucket

pytest.importorskip("minio", reason="minio is optional; without it there are no buckets")

MOST = 3


class Objects:
    """What a client of minio is asked for: folders at the top, no files in them."""

    def __init__(self, *names: str, breaks: bool = False) -> None:
        self.names, self.breaks = names, breaks

    def list_objects(self, _bucket: str, above: str) -> Iterator[Any]:
        if above.endswith("--bad/"):
            raise OSError("no rights")
        if above == "snapshots/":
            yield from (SimpleNamespace(object_name=f"{above}{name}/", is_dir=True, size=None) for name in self.names)
            if self.breaks:
                raise OSError("the connection broke")


def listed(
    monkeypatch: pytest.MonkeyPatch, objects: Objects, tenant: str | None = None, name: str | None = None
) -> tuple[list[dict], list[str]]:
    """What is unreadable, and the warnings."""
    monkeypatch.setattr(snapshot_store, "MOST_FOLDERS", MOST, raising=False)
    monkeypatch.setattr("ansible_collections.tenantry.kube.plugins.module_utils._snapshot.s3_store.MOST_FILES", MOST)
    monkeypatch.setattr(snapshot_store, "MOST_FILES", MOST)
    store = Bucket("backups", "snapshots", "https://s3.example.com", "us-east-1")
    store._client = objects
    warnings: list[str] = []
    found = info.run(SimpleNamespace(warn=warnings.append), store, tenant, name)
    assert found["snapshots"] == []
    return found["unreadable"], warnings


def test_too_many_folders_hide_no_other_row(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects("a--bad", *(f"b--{number}" for number in "cdef"))
    (beyond, bad), warnings = listed(monkeypatch, objects)
    assert (beyond["tenant"], beyond["name"], beyond["file"]) == (None, None, "s3://backups/snapshots")
    assert "more than 3 folders of virtual clusters" in beyond["reason"]
    assert (bad["tenant"], bad["name"]) == ("a", "bad")
    assert len(warnings) == 2


def test_folders_of_nobody_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    assert listed(monkeypatch, Objects(*(f"junk{number}" for number in range(9)), "a--dev")) == ([], [])


def test_others_folders_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    objects = Objects(*(f"a--v{number}" for number in range(9)), "b--bad")
    ((bad,), warnings) = listed(monkeypatch, objects, tenant="b")
    assert (bad["tenant"], bad["name"], len(warnings)) == ("b", "bad", 1)


def test_a_list_that_breaks_off_shows_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    (broken, bad), _warnings = listed(monkeypatch, Objects("a--bad", breaks=True))
    assert "cannot list backups: the connection broke" in broken["reason"]
    assert bad["name"] == "bad"


def test_a_bucket_that_cannot_be_listed_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TenantryError, match="cannot list backups"):
        listed(monkeypatch, Objects(breaks=True))
