"""A snapshot without a cluster: written, kept, listed, read back, refused where it is not whole."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyrage
import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import (
    age_format,
    description,
    encryption,
    reconcile,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import archive as snapshot_archive
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import newest_record as snapshot_newest
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import Origin, Snapshot, describe
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.directory_store import Directory
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Store
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    maintenance_pod,
    sqlite,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import DataCopy
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import common
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests

from .._vcluster.example import render

PASSPHRASE = "four-words-from-a-vault"
CREDENTIALS = {"server-token": "t", "node-password": "p", "ca.crt": "c"}
NAMESPACE = "payments--dev"


@pytest.fixture(scope="module")
def key() -> encryption.Key:
    return encryption.new_key(PASSPHRASE)


@pytest.fixture
def unlocked(key: encryption.Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase has been stretched already, which takes seconds by intent."""
    monkeypatch.setattr(description, "unwrap_key", lambda *_given: key)


def database(path: Path, *names: str) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, value BLOB)")
        for name in ("/registry/namespaces/kube-system", *names):
            made.execute("INSERT INTO kine (name, value) VALUES (?, ?)", (name, b"x" * 5000))
        made.commit()
    return path


def origin(name: str, sequence: int = 1, **other: Any) -> Origin:
    facts = {"host": "hub", "mode": "shared", "version": "v1.34.4+k3s1", "service_cidr": "10.43.0.0/16"}
    facts |= {"created": f"2026-01-{sequence:02}T02:00:00+00:00", "revision": 1, "database_bytes": 1}
    return Origin(**{"snapshot": name, "tenant": "payments", "name": "dev", "sequence": sequence, **facts, **other})


def keys() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("token", "tls/server-ca.key"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


def add(store: Store, key: encryption.Key, tmp_path: Path, of: Origin) -> Snapshot:
    file = tmp_path / f"{of.namespace}-{of.snapshot}.db"
    captured = DataCopy(keys(), file if file.exists() else database(file), 0.0)
    of = dataclasses.replace(of, database_bytes=file.stat().st_size)
    with store.draft(of.namespace, of.snapshot, tmp_path) as draft:
        snapshot_archive.write(draft.file, key, of, CREDENTIALS, captured)
        return store.add(of, key, draft)


def read(store: Store, snapshot: Snapshot, passphrase: str, directory: Path) -> snapshot_archive.Content:
    key = description.authenticate(snapshot, passphrase)
    with store.fetch(snapshot, directory) as archive:
        return snapshot_archive.read(snapshot, archive, key, directory)


def measured(snapshot: Snapshot) -> dict[str, Any]:
    """What a forger can say of an archive that he has changed."""
    content = Path(snapshot.path).read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def forged(path: Path, **claims: Any) -> None:
    """Change what a description says, without the passphrase."""
    path.write_text(json.dumps(json.loads(path.read_text()) | claims))


def test_what_was_written_is_read_back(tmp_path: Path, key: encryption.Key) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    assert store.get(NAMESPACE, "latest") == snapshot
    (tmp_path / "out").mkdir()
    content = read(store, snapshot, PASSPHRASE, tmp_path / "out")
    assert content.credentials == CREDENTIALS
    assert content.database.read_bytes() == (tmp_path / "payments--dev-one.db").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content.keys)) as tar:
        assert sorted(tar.getnames()) == ["tls/server-ca.key", "token"]
        assert {member.mode for member in tar} == {0o600}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["state.db"], "keys are on no disk in the clear"
    assert b"server-ca" not in Path(snapshot.path).read_bytes()
    assert "AGE-SECRET-KEY" not in Path(snapshot.path).with_suffix(".json").read_text()


def test_in_order_of_sequence_and_found_by_name(tmp_path: Path, key: encryption.Key) -> None:
    store = Directory(str(tmp_path / "store"))
    assert store.list(NAMESPACE).snapshots == []
    for name, sequence in (("z", 1), ("a", 2)):
        add(store, key, tmp_path, origin(name, sequence))
    assert [one.origin.snapshot for one in store.list(NAMESPACE).snapshots] == ["z", "a"]
    assert store.get(NAMESPACE, "latest").origin.snapshot == "a"
    with pytest.raises(TenantryError, match='has no "b"; there are z, a'):
        store.get(NAMESPACE, "b")
    store.remove(store.get(NAMESPACE, "a"))
    assert [path.name for path in sorted(Path(store.where(NAMESPACE)).iterdir())] == ["z.age", "z.json"]


@pytest.mark.parametrize("name", ["", "latest", "../up", "-a", "a b", "a/b", "ä", "a" * 64])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(TenantryError, match="snapshot: "):
        description.check_name(name)


def test_a_wrong_passphrase_is_reported_before_the_archive_is_read(tmp_path: Path, key: encryption.Key) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    with pytest.raises(TenantryError, match="passphrase: cannot decrypt"):
        read(store, snapshot, "five-other-words-instead", tmp_path)


def test_others_open_what_is_locked_here() -> None:
    locked = age_format.wrap_key("a secret", PASSPHRASE)
    assert pyrage.passphrase.decrypt(locked.encode(), PASSPHRASE) == b"a secret"
    assert age_format.unwrap_key(locked, PASSPHRASE) == "a secret"


@pytest.mark.parametrize("line", [1, 2, 3, 4, 5])
def test_what_was_changed_stays_locked(line: int, key: encryption.Key) -> None:
    lines = key.locked.splitlines()
    lines[line] = lines[line][::-1]
    with pytest.raises(age_format.WrongPassphrase):
        age_format.unwrap_key("\n".join(lines), PASSPHRASE)


@pytest.mark.usefixtures("unlocked")
@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_what_is_cut_off_is_refused_whatever_the_description_says(
    tmp_path: Path, key: encryption.Key, cut: int
) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    content = Path(snapshot.path).read_bytes()
    Path(snapshot.path).write_bytes(content[:-cut] if cut < len(content) else b"")
    with pytest.raises(TenantryError, match="truncated"):
        read(store, snapshot, PASSPHRASE, tmp_path)
    forged(Path(snapshot.path).with_suffix(".json"), **measured(snapshot))
    with pytest.raises(TenantryError, match="does not match its description"):
        read(store, store.get(NAMESPACE, "one"), PASSPHRASE, tmp_path)
    by_key = describe(snapshot.origin, key, *measured(snapshot).values(), snapshot.path)
    with pytest.raises(TenantryError, match="truncated, corrupted or encrypted with another key"):
        read(store, by_key, PASSPHRASE, tmp_path)


CLAIMS = {
    "created": "2027-01-01T00:00:00+00:00",
    "sequence": 99,
    "version": "v1.33.1+k3s1",
    "mode": "dedicated",
    "host": "edge",
    "service_cidr": None,
    "revision": 7,
    "database_bytes": 7,
    "datastore": "etcd",
    "sha256": "0" * 64,
    "bytes": 7,
    "mac": "0" * 64,
}


@pytest.mark.usefixtures("unlocked")
@pytest.mark.parametrize("claim", CLAIMS)
def test_a_description_that_was_changed_is_refused(tmp_path: Path, key: encryption.Key, claim: str) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    forged(Path(snapshot.path).with_suffix(".json"), **{claim: CLAIMS[claim]})
    with pytest.raises(TenantryError, match="does not match its description"):
        read(store, store.get(NAMESPACE, "one"), PASSPHRASE, tmp_path)


@pytest.mark.usefixtures("unlocked")
@pytest.mark.parametrize("as_forged", [{}, {"tenant": "payments", "name": "dev", "snapshot": "one"}])
def test_the_files_of_another_virtual_cluster_are_refused(
    tmp_path: Path, key: encryption.Key, as_forged: dict[str, str]
) -> None:
    """Of the same run, hence with the same key; then with a description that says what it is taken for."""
    store = Directory(str(tmp_path / "store"))
    mine = add(store, key, tmp_path, origin("one"))
    theirs = add(store, key, tmp_path, origin("one", tenant="other"))
    for ending in (".age", ".json"):
        Path(mine.path).with_suffix(ending).write_bytes(Path(theirs.path).with_suffix(ending).read_bytes())
    forged(Path(mine.path).with_suffix(".json"), **as_forged)
    with pytest.raises(TenantryError, match="it says other--dev" if not as_forged else "does not match its"):
        read(store, store.get(NAMESPACE, "one"), PASSPHRASE, tmp_path)
    # The archive alone, whose description is of the former one.
    by_key = describe(mine.origin, key, theirs.bytes, theirs.sha256, mine.path)
    with pytest.raises(TenantryError, match=r"does not match its description|contains an unexpected file"):
        read(store, by_key, PASSPHRASE, tmp_path)


@pytest.mark.parametrize("claims", [{"format": 1}, {"format": 1, "snapshot": "../../up"}])
def test_what_an_older_release_made_is_reported(tmp_path: Path, key: encryption.Key, claims: dict[str, Any]) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    forged(Path(snapshot.path).with_suffix(".json"), **claims)
    with pytest.raises(TenantryError, match=r"is of format 1, not 2.*take a new snapshot"):
        store.get(NAMESPACE, "latest")


def noted(**newest: Any) -> dict:
    return {"metadata": {"annotations": {snapshot_newest.ANNOTATION: json.dumps(newest)} if newest else {}}}


def test_a_store_that_was_rolled_back_is_noticed() -> None:
    newest = origin("two", 2)
    assert snapshot_newest.check(noted(snapshot="two", sequence=2), newest) is None
    with pytest.raises(TenantryError, match=r"the newest in the store is one .*but two was taken after it"):
        snapshot_newest.check(noted(snapshot="two", sequence=2), origin("one", 1))
    for unknown in (noted(), None):
        assert "may have been taken" in snapshot_newest.check(unknown, newest)


def test_a_sequence_grows_wherever_the_clock_goes() -> None:
    ahead = 2**40
    assert snapshot_newest.next_sequence(noted(snapshot="one", sequence=ahead)) == ahead + 1
    assert 2**30 < snapshot_newest.next_sequence(noted()) < ahead


def test_a_datastore_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database")
    with pytest.raises(TenantryError, match="not k3s's"):
        sqlite.check(tmp_path / "text")
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE kine (id INTEGER, name TEXT)")
    with pytest.raises(TenantryError, match="no namespace kube-system"):
        sqlite.check(tmp_path / "other.db")


def test_a_damaged_datastore_is_found_by_sqlite(tmp_path: Path) -> None:
    path = database(tmp_path / "state.db", *(f"/registry/pods/default/{number}" for number in range(50)))
    content = bytearray(path.read_bytes())
    content[20480:24576] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(TenantryError, match="datastore"):
        sqlite.check(path)


def test_the_write_ahead_log_is_part_of_the_snapshot(tmp_path: Path) -> None:
    path = database(tmp_path / "live.db")
    with closing(sqlite3.connect(path)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("INSERT INTO kine (name) VALUES ('/registry/pods/default/late')")
        live.commit()
        copy = tmp_path / "state.db"
        copy.write_bytes(path.read_bytes())
        copy.with_name("state.db-wal").write_bytes(path.with_name("live.db-wal").read_bytes())
    assert sqlite.consolidate(copy) == 2
    assert [file.name for file in tmp_path.glob("state.db*")] == ["state.db"]


def test_another_place_has_other_networks(tmp_path: Path) -> None:
    gone = ("/registry/servicecidrs/kubernetes", "/registry/ipaddresses/10.43.0.1")
    gone += ("/registry/services/specs/default/kubernetes", "/registry/services/specs/kube-system/kube-dns")
    kept = "/registry/services/specs/default/web"
    path = database(tmp_path / "state.db", *gone, kept)
    sqlite.rehome(path)
    with closing(sqlite3.connect(path)) as there:
        names = [name for (name,) in there.execute("SELECT name FROM kine ORDER BY id")]
    assert names == ["/registry/namespaces/kube-system", kept]


def test_what_a_restore_brings_along_replaces_no_pod_of_the_next_run() -> None:
    rendered = render()
    brought = dataclasses.replace(rendered.keys, server_token="another", node_password="another", ca="another")
    restored = dataclasses.replace(rendered, keys=brought)
    assert server_manifests.stateful_set(restored) == server_manifests.stateful_set(rendered)


def test_maintenance_pod_is_where_the_server_was_and_runs_nothing() -> None:
    stateful_set = server_manifests.stateful_set(render())
    server = stateful_set["spec"]["template"]["spec"]
    pod = maintenance_pod.pod(stateful_set)
    assert pod["spec"]["securityContext"] == server["securityContext"]
    (container,) = pod["spec"]["containers"]
    assert container["resources"] == server["containers"][0]["resources"]
    assert common.K3S not in " ".join(container["command"])
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["data"]
    assert json.dumps(pod).count("secret") == 0


class FailingStore:
    """A store of two snapshots whose second cannot be deleted."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def remove(self, snapshot: Any) -> None:
        if self.removed:
            raise TenantryError("the store is read-only now")
        self.removed.append(snapshot.origin.snapshot)


def test_pruning_that_fails_tells_what_was_deleted() -> None:
    item = {"tenant": "payments", "name": "dev", "state": "pruned", "source": None, "keep": 1}
    found = [SimpleNamespace(origin=origin(name, number)) for number, name in enumerate(("one", "two", "three"), 1)]
    op = reconcile.SnapshotOperation(item, "", snapshots=found)  # type: ignore[arg-type]  # as much as is used
    store, context = FailingStore(), SimpleNamespace(check_mode=False)
    row = reconcile._row(reconcile.Call(context, None, store), op)  # type: ignore[arg-type]
    assert (row["changed"], row["error"]) == (True, "the store is read-only now")
    assert [one["name"] for one in row["actions"]] == ["one", "two"]
    assert "delete Snapshot one" in row["diff"]["after"]


def test_restore_that_fails_tells_that_it_began(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Fails:
        def __init__(self, *_of: object) -> None:
            self.version = "v1.34.4+k3s1"

        def check(self) -> None:
            pass

        def revert(self) -> None:
            raise KeyError("metadata")

    monkeypatch.setattr(reconcile, "Restore", Fails)
    space = {"metadata": {"annotations": {reconcile.BEFORE_ANNOTATION: "v1.34.4+k3s1"}, "name": NAMESPACE}}
    context = SimpleNamespace(
        check_mode=False, module=SimpleNamespace(tmpdir=str(tmp_path)), deadline=Deadline, progress=lambda *_of: None
    )
    item = {"tenant": "payments", "name": "dev", "state": "rolled_back", "source": None, "keep": None}
    found = VirtualCluster(SimpleNamespace(name="hub"), space)  # type: ignore[arg-type]  # as much as is used
    op = reconcile.SnapshotOperation(item, "before-upgrade", found=found)
    row = reconcile._row(reconcile.Call(context, SimpleNamespace(wait_timeout=1), None), op)  # type: ignore[arg-type]
    assert (row["changed"], [one["action"] for one in row["actions"]]) == (True, ["restore"])
    assert "unexpected KeyError" in row["error"]
