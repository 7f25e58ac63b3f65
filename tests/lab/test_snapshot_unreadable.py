"""Files in a store that are no snapshots, or are damaged, as the modules meet them. No virtual cluster runs for it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.directory_store import Directory
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.s3_store import Bucket
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Store

from .harness import ModuleResult, call_module, kubectl, ran
from .people import add_vcluster
from .test_snapshot_bucket import PASSPHRASE, _credentials, add, endpoint

__all__ = ["_credentials", "endpoint"]  # fixtures
FIRST, SECOND, THIRD = (f"2026010{day}T020000Z" for day in (1, 2, 3))
DEV = {"tenant": "payments", "name": "dev"}
OTHER = {"tenant": "other", "name": "dev"}


@dataclass
class Kept:
    """Three snapshots of payments/dev and one of other/dev, and the option that says where."""

    store: Store
    option: dict[str, Any]
    names: Callable[[], set[str]]
    put: Callable[[str, bytes], None]

    def run(self, state: str, **arguments: Any) -> ModuleResult:
        return call_module("vcluster_snapshot", passphrase=PASSPHRASE, **self.option, state=state, **arguments)

    def listed(self, **of: str) -> ModuleResult:
        found = call_module("vcluster_snapshot_info", **self.option, **of)
        assert not found.failed, found.msg
        return found


@pytest.fixture(params=["directory", "bucket"])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    if request.param == "directory":
        store = Directory(str(tmp_path / "store"))
        found = Kept(
            store,
            {"directory": str(tmp_path / "store")},
            lambda: {path.name for path in Path(store.where("payments--dev")).iterdir()},
            lambda file, content: Path(store.where("payments--dev", file)).write_bytes(content) and None,
        )
    else:
        url, prefix = request.getfixturevalue("endpoint"), tmp_path.name
        store = Bucket("backups", prefix, url, "us-east-1")
        found = Kept(
            store,
            {"bucket": {"name": "backups", "prefix": prefix, "endpoint": url}},
            lambda: set(store._files("payments--dev")),
            lambda file, content: store._client.put_object(
                "backups", f"{prefix}/payments--dev/{file}", io.BytesIO(content), len(content)
            ),
        )
    for day, name in enumerate((FIRST, SECOND, THIRD), 1):
        add(found.store, tmp_path, name, day)
    add(found.store, tmp_path, FIRST, 1, tenant="other")
    return found


BROKEN = {
    "description": (f"{THIRD}.json", b'{"format": 2, "snap'),
    "archive": (f"{THIRD}.age", b"age-encryption.org/v1"),
}


@pytest.mark.parametrize(("file", "content"), BROKEN.values(), ids=BROKEN)
def test_it_is_named_and_hides_no_other(kept: Kept, file: str, content: bytes) -> None:
    kept.put(file, content)
    kept.put("some notes.json", b"{}")
    found = kept.listed()
    rows = [(one["tenant"], one["snapshot"]) for one in found.data["snapshots"]]
    assert rows == [("other", FIRST), ("payments", FIRST), ("payments", SECOND)]
    bad = [(one["tenant"], one["name"], one["file"]) for one in found.data["unreadable"]]
    assert bad == [("payments", "dev", file), ("payments", "dev", "some notes.json")]
    assert file in str(found.data["warnings"])
    assert kept.listed(tenant="other").data["unreadable"] == []


@pytest.mark.parametrize(("file", "content"), BROKEN.values(), ids=BROKEN)
def test_pruned_counts_it_for_nothing_and_leaves_it(kept: Kept, file: str, content: bytes) -> None:
    kept.put(file, content)
    before = kept.names()
    both = [{**DEV, "state": "pruned", "keep": 1}, {**OTHER, "state": "pruned", "keep": 1}]
    foreseen = call_module("vcluster_snapshot", **kept.option, vclusters=both, check=True)
    assert kept.names() == before
    pruned = call_module("vcluster_snapshot", **kept.option, vclusters=both)
    for done in (foreseen, pruned):
        assert not done.failed, done.msg
        dev, other = done.data["results"]
        assert [action["name"] for action in dev["actions"]] == [FIRST], "the second is the newest good one"
        assert [bad["file"] for bad in dev["unreadable"]] == [file]
        assert (other["changed"], "unreadable" in other) == (False, False)
        assert file in str(done.data["warnings"])
    assert kept.names() == before - {f"{FIRST}.age", f"{FIRST}.json"}


def test_one_virtual_cluster_whose_snapshot_is_bad_stops_no_other(kept: Kept) -> None:
    kept.put(f"{THIRD}.json", b"")
    gone = [{**DEV, "state": "absent", "snapshot": THIRD}, {**OTHER, "state": "absent", "snapshot": FIRST}]
    done = call_module("vcluster_snapshot", **kept.option, vclusters=gone)
    dev, other = done.data["results"]
    assert f"{THIRD}.json: is not the description of a snapshot" in dev["error"]
    assert (other["changed"], "error" in other) == (True, False)
    assert f"{THIRD}.age" in kept.names()


@pytest.fixture
def dev(platform: Path) -> Iterator[Callable[[int], None]]:
    """The virtual cluster, as much as says which snapshot of it is the newest."""
    add_vcluster(platform, "payments", "dev")

    def note(sequence: int) -> None:
        newest = json.dumps({"snapshot": "nightly", "sequence": sequence})
        ran(platform, "annotate", "namespace", "payments--dev", f"tenantry.dev/newest-snapshot={newest}", "--overwrite")

    yield note
    kubectl(platform, "delete", "namespace", "payments--dev")


def test_the_newest_is_not_an_older_one_in_silence(
    kept: Kept, platform: Path, dev: Callable[[int], None], tmp_path: Path
) -> None:
    def restored(**options: Any) -> ModuleResult:
        """In check mode all of the snapshot is read."""
        into = {"tenant": "payments", "name": "copy", "source": DEV, "kubeconfig": platform}
        return kept.run("restored", check=True, **into, **options)

    assert restored().data["snapshot"] == THIRD, "the positive control"
    for file, content in BROKEN.values():
        kept.put(file, content)
        refused = restored()
        assert refused.failed
        assert f"{file} may be newer" in refused.msg
        assert f"set snapshot to {SECOND}" in refused.msg
        assert "\n" not in refused.msg
        assert [bad["file"] for bad in refused.data["results"][0]["unreadable"]] == [file]
        by_name = restored(snapshot=SECOND)
        assert by_name.data["snapshot"] == SECOND, by_name.msg
        add(kept.store, tmp_path, THIRD, 3)
    kept.put("nightly.json", b"{}")
    dev(4)
    assert "nightly.json may be newer" in restored().msg
    dev(3)
    done = restored()
    assert done.data["snapshot"] == THIRD, done.msg
    assert "nightly.json" in str(done.data["warnings"])
