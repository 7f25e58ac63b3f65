"""A snapshot without a cluster: written, kept, listed, read back, refused where it is not whole."""

from __future__ import annotations

import dataclasses
import io
import json
import sqlite3
import tarfile
from contextlib import closing
from pathlib import Path

import pyrage
import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import age_format as _snapshot_lock
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import archive as _snapshot_archive
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import encryption as _snapshot_seal
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import store as _snapshot_store
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Directory, Origin, Snapshot, Store
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import (
    maintenance_pod as _render_workshop,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import sqlite as _snapshot_database
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import Captured
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as _render_server

from .example import render

PASSPHRASE = "four-words-from-a-vault"
CREDENTIALS = {"server-token": "t", "node-password": "p", "ca.crt": "c"}
NAMESPACE = "payments--dev"


@pytest.fixture(scope="module")
def key() -> _snapshot_seal.Key:
    return _snapshot_seal.new_key(PASSPHRASE)


@pytest.fixture
def unlocked(key: _snapshot_seal.Key, monkeypatch: pytest.MonkeyPatch) -> None:
    """The passphrase has been stretched already, which takes seconds by intent."""
    monkeypatch.setattr(_snapshot_archive, "unlock", lambda *_given: key)


def database(path: Path, *names: str) -> Path:
    with closing(sqlite3.connect(path)) as made:
        made.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER, value BLOB)")
        for name in ("/registry/namespaces/kube-system", *names):
            made.execute("INSERT INTO kine (name, value) VALUES (?, ?)", (name, b"x" * 5000))
        made.commit()
    return path


def origin(name: str, created: str = "2026-01-31T02:00:00+00:00", revision: int = 1) -> Origin:
    return Origin(name, "payments", "dev", "hub", "shared", "v1.34.4+k3s1", "10.43.0.0/16", created, revision, 1)


def keys() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name in ("token", "tls/server-ca.key"):
            member = tarfile.TarInfo(name)
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
    return buffer.getvalue()


def add(store: Store, key: _snapshot_seal.Key, tmp_path: Path, of: Origin) -> Snapshot:
    file = tmp_path / f"{of.snapshot}.db"
    captured = Captured(keys(), file if file.exists() else database(file), 0.0)
    archive = store.draft(NAMESPACE, of.snapshot, tmp_path)
    _snapshot_archive.write(archive, key, of, CREDENTIALS, captured)
    return store.add(of, key.locked, archive)


def read(snapshot: Snapshot, passphrase: str, directory: Path) -> _snapshot_archive.Content:
    return _snapshot_archive.read(snapshot, Path(snapshot.path), passphrase, directory)


def test_what_was_written_is_read_back(tmp_path: Path, key: _snapshot_seal.Key) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    assert store.get(NAMESPACE, "latest") == snapshot
    (tmp_path / "out").mkdir()
    content = read(snapshot, PASSPHRASE, tmp_path / "out")
    assert content.credentials == CREDENTIALS
    assert content.database.read_bytes() == (tmp_path / "one.db").read_bytes()
    with tarfile.open(fileobj=io.BytesIO(content.keys)) as tar:
        assert sorted(tar.getnames()) == ["tls/server-ca.key", "token"]
        assert {member.mode for member in tar} == {0o600}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["state.db"], "keys are on no disk in the clear"
    assert b"server-ca" not in Path(snapshot.path).read_bytes()
    assert "AGE-SECRET-KEY" not in Path(snapshot.path).with_suffix(".json").read_text()


def test_in_order_of_time_and_found_by_name(tmp_path: Path, key: _snapshot_seal.Key) -> None:
    store = Directory(str(tmp_path / "store"))
    assert store.list(NAMESPACE) == []
    for name, day in (("z", 1), ("a", 2)):
        add(store, key, tmp_path, origin(name, f"2026-01-0{day}T02:00:00+00:00"))
    assert [one.origin.snapshot for one in store.list(NAMESPACE)] == ["z", "a"]
    assert store.get(NAMESPACE, "latest").origin.snapshot == "a"
    with pytest.raises(TenantryError, match='has no "b"; there are z, a'):
        store.get(NAMESPACE, "b")
    store.remove(store.get(NAMESPACE, "a"))
    assert [path.name for path in sorted(Path(store.where(NAMESPACE)).iterdir())] == ["z.age", "z.json"]


@pytest.mark.parametrize("name", ["", "latest", "../up", "-a", "a b", "a/b", "ä", "a" * 64])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(TenantryError, match="snapshot: "):
        _snapshot_store.check_name(name)


def test_a_wrong_passphrase_is_told_before_the_archive_is_read(tmp_path: Path, key: _snapshot_seal.Key) -> None:
    snapshot = add(Directory(str(tmp_path / "store")), key, tmp_path, origin("one"))
    with pytest.raises(TenantryError, match="passphrase: does not open"):
        read(snapshot, "five-other-words-instead", tmp_path)


def test_others_open_what_is_locked_here() -> None:
    locked = _snapshot_lock.lock("a secret", PASSPHRASE)
    assert pyrage.passphrase.decrypt(locked.encode(), PASSPHRASE) == b"a secret"
    assert _snapshot_lock.unlock(locked, PASSPHRASE) == "a secret"


@pytest.mark.parametrize("line", [1, 2, 3, 4, 5])
def test_what_was_changed_stays_locked(line: int, key: _snapshot_seal.Key) -> None:
    lines = key.locked.splitlines()
    lines[line] = lines[line][::-1]
    with pytest.raises(_snapshot_lock.Locked):
        _snapshot_lock.unlock("\n".join(lines), PASSPHRASE)


@pytest.mark.usefixtures("unlocked")
@pytest.mark.parametrize("cut", [1, 100, 1000])
def test_what_is_cut_off_is_refused_whatever_the_description_says(
    tmp_path: Path, key: _snapshot_seal.Key, cut: int
) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    content = Path(snapshot.path).read_bytes()
    Path(snapshot.path).write_bytes(content[:-cut] if cut < len(content) else b"")
    with pytest.raises(TenantryError, match="truncated"):
        read(snapshot, PASSPHRASE, tmp_path)
    forged = store.add(snapshot.origin, snapshot.key, Path(snapshot.path))
    with pytest.raises(TenantryError, match="truncated, corrupted or of another key"):
        read(forged, PASSPHRASE, tmp_path)


@pytest.mark.usefixtures("unlocked")
def test_a_description_of_another_snapshot_is_refused(tmp_path: Path, key: _snapshot_seal.Key) -> None:
    store = Directory(str(tmp_path / "store"))
    snapshot = add(store, key, tmp_path, origin("one"))
    claimed = store.add(origin("one", "2027-01-01T00:00:00+00:00"), snapshot.key, Path(snapshot.path))
    with pytest.raises(TenantryError, match="another snapshot than its description says"):
        read(claimed, PASSPHRASE, tmp_path)


def test_a_datastore_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no database")
    with pytest.raises(TenantryError, match="not one of k3s"):
        _snapshot_database.check(tmp_path / "text")
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE kine (id INTEGER, name TEXT)")
    with pytest.raises(TenantryError, match="no namespace kube-system"):
        _snapshot_database.check(tmp_path / "other.db")


def test_a_damaged_datastore_is_found_by_sqlite(tmp_path: Path) -> None:
    path = database(tmp_path / "state.db", *(f"/registry/pods/default/{number}" for number in range(50)))
    content = bytearray(path.read_bytes())
    content[20480:24576] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(TenantryError, match="datastore"):
        _snapshot_database.check(path)


def test_the_write_ahead_log_is_part_of_the_snapshot(tmp_path: Path) -> None:
    path = database(tmp_path / "live.db")
    with closing(sqlite3.connect(path)) as live:
        live.execute("PRAGMA journal_mode=WAL")
        live.execute("INSERT INTO kine (name) VALUES ('/registry/pods/default/late')")
        live.commit()
        copy = tmp_path / "state.db"
        copy.write_bytes(path.read_bytes())
        copy.with_name("state.db-wal").write_bytes(path.with_name("live.db-wal").read_bytes())
    assert _snapshot_database.consolidate(copy) == 2
    assert [file.name for file in tmp_path.glob("state.db*")] == ["state.db"]


def test_another_place_has_other_networks(tmp_path: Path) -> None:
    gone = ("/registry/servicecidrs/kubernetes", "/registry/ipaddresses/10.43.0.1")
    gone += ("/registry/services/specs/default/kubernetes", "/registry/services/specs/kube-system/kube-dns")
    kept = "/registry/services/specs/default/web"
    path = database(tmp_path / "state.db", *gone, kept)
    _snapshot_database.rehome(path)
    with closing(sqlite3.connect(path)) as there:
        names = [name for (name,) in there.execute("SELECT name FROM kine ORDER BY id")]
    assert names == ["/registry/namespaces/kube-system", kept]


def test_what_a_restore_brings_along_replaces_no_pod_of_the_next_run() -> None:
    rendered = render()
    brought = dataclasses.replace(rendered.keys, server_token="another", node_password="another", ca="another")
    restored = dataclasses.replace(rendered, keys=brought)
    assert _render_server.stateful_set(restored) == _render_server.stateful_set(rendered)


def test_the_workshop_is_where_the_server_was_and_runs_nothing() -> None:
    stateful_set = _render_server.stateful_set(render())
    server = stateful_set["spec"]["template"]["spec"]
    pod = _render_workshop.pod(stateful_set)
    assert pod["spec"]["securityContext"] == server["securityContext"]
    (container,) = pod["spec"]["containers"]
    assert container["resources"] == server["containers"][0]["resources"]
    assert "k3s" not in " ".join(container["command"])
    assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["data"]
    assert json.dumps(pod).count("secret") == 0
