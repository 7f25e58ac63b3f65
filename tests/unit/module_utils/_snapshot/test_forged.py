"""A store that somebody else can write to: links, paths and numbers that lead elsewhere, and mutations.

`make nightly` tries 10,000 of them.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyrage
import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import age_format, archive, encryption
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import (
    Snapshot,
    authenticate,
    describe,
    parse,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.directory_store import Directory
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import measured

from .test_reconcile import NAMESPACE, PASSPHRASE, add, forged, origin, read

MUTATIONS = 10_000 if os.environ.get("TENANTRY_NIGHTLY") else 2_000


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> encryption.Key:
    """Of a passphrase that is quickly stretched."""
    monkeypatch.setattr(age_format, "WORK", 10)
    return encryption.new_key(PASSPHRASE)


@pytest.fixture
def store(tmp_path: Path, key: encryption.Key) -> Directory:
    """With a snapshot `one`. Beside it is a virtual cluster of somebody else, and a file that is of neither."""
    store = Directory(str(tmp_path / "store"))
    for tenant in ("payments", "other"):
        add(store, key, tmp_path, origin("one", tenant=tenant))
    (tmp_path / "outside.age").write_text("outside")
    (tmp_path / "outside.json").write_text("outside")
    return store


def folder(store: Directory, namespace: str = NAMESPACE) -> Path:
    return Path(store.where(namespace))


def tree(directory: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(directory.rglob("*")) if path.is_file()}


def everything(store: Directory, key: encryption.Key, tmp_path: Path) -> Iterator[Callable[[], object]]:
    """All that is done with a store."""
    mine = store.find("other--dev", "one")
    mine = Snapshot(origin("one"), mine.bytes, mine.sha256, mine.key, mine.mac, store.where(NAMESPACE, "one.age"))
    yield lambda: store.list(NAMESPACE)
    yield lambda: store.get(NAMESPACE, "one")
    yield lambda: add(store, key, tmp_path, origin("two", 2))
    yield lambda: read(store, mine, PASSPHRASE, tmp_path)
    yield lambda: store.remove(mine)


def test_a_link_in_the_place_of_the_folder_leads_nowhere(store: Directory, key: encryption.Key, tmp_path: Path) -> None:
    folder(store).rename(tmp_path / "away")
    folder(store).symlink_to(folder(store, "other--dev"))
    before = tree(tmp_path)
    for number, act in enumerate(everything(store, key, tmp_path)):
        if number == 3:
            continue  # is refused by its description
        with pytest.raises(TenantryError, match="a link or something else"):
            act()
    after = tree(tmp_path)
    assert {path: after[path] for path in before} == before
    assert store.namespaces() == ["other--dev"]


@pytest.mark.parametrize("file", ["one.age", "one.json"])
@pytest.mark.parametrize("kind", ["link", "pipe", "directory"])
def test_what_is_no_file_is_not_read(store: Directory, tmp_path: Path, file: str, kind: str) -> None:
    snapshot = store.get(NAMESPACE, "one")
    place = folder(store) / file
    place.rename(tmp_path / "moved")
    {"link": lambda: place.symlink_to(tmp_path / "moved"), "pipe": lambda: os.mkfifo(place), "directory": place.mkdir}[
        kind
    ]()
    with pytest.raises(TenantryError, match="a link or something else"):
        read(store, snapshot if file.endswith(".age") else store.get(NAMESPACE, "one"), PASSPHRASE, tmp_path)


@pytest.mark.parametrize("link", [os.symlink, os.link], ids=["symbolic", "hard"])
def test_what_is_written_and_deleted_is_the_link(
    store: Directory, key: encryption.Key, tmp_path: Path, link: Callable
) -> None:
    for ending in (".age", ".json"):
        link(tmp_path / f"outside{ending}", folder(store) / f"two{ending}")
    snapshot = add(store, key, tmp_path, origin("two", 2))
    assert read(store, store.get(NAMESPACE, "two"), PASSPHRASE, tmp_path).credentials
    store.remove(snapshot)
    for ending in (".age", ".json"):
        link(tmp_path / f"outside{ending}", folder(store) / f"two{ending}")
    store.remove(snapshot)
    assert {path.name for path in folder(store).iterdir()} == {"one.age", "one.json"}
    assert [(tmp_path / f"outside{ending}").read_text() for ending in (".age", ".json")] == ["outside", "outside"]


def test_a_folder_that_is_exchanged_while_a_snapshot_is_written_is_left_alone(
    store: Directory, key: encryption.Key, tmp_path: Path
) -> None:
    before = tree(folder(store, "other--dev"))
    with store.draft(NAMESPACE, "two", tmp_path) as draft:
        folder(store).rename(tmp_path / "away")
        folder(store).symlink_to(folder(store, "other--dev"))
        draft.file.write(b"archive")
        store.add(origin("two", 2), key, draft)
    assert tree(folder(store, "other--dev")) == before
    assert (tmp_path / "away" / "two.json").exists()


@pytest.mark.parametrize("name", ["../other--dev/one", "../../outside", "/etc/passwd", "one\x00", ".", "..", "latest/"])
@pytest.mark.parametrize("option", ["snapshot", "tenant", "name"])
def test_a_description_names_no_other_file(store: Directory, tmp_path: Path, option: str, name: str) -> None:
    forged(folder(store) / "one.json", **{option: name})
    before = tree(tmp_path)
    for wanted in ("one", "latest"):
        with pytest.raises(TenantryError, match=f"not the description of a snapshot: {option} is"):
            store.get(NAMESPACE, wanted)
    there = store.list(NAMESPACE)
    assert there.snapshots == []
    assert [bad.file for bad in there.unreadable] == ["one.json"]
    assert tree(tmp_path) == before


def test_work_is_what_we_ask_for_only(store: Directory, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = store.get(NAMESPACE, "one")
    monkeypatch.setattr(age_format, "WORK", 17)
    monkeypatch.setattr(age_format.hashlib, "scrypt", lambda *_given, **_named: pytest.fail("it was stretched"))
    with pytest.raises(TenantryError, match="passphrase: cannot decrypt"):
        authenticate(snapshot, PASSPHRASE)


def test_nothing_is_left_of_a_snapshot_that_was_not_finished(store: Directory, tmp_path: Path) -> None:
    with store.draft(NAMESPACE, "two", tmp_path) as draft:
        draft.file.write(b"archive")
    assert {path.name for path in folder(store).iterdir()} == {"one.age", "one.json"}


STRANGE: list[Any] = [
    None, True, -1, 0, 2**63, 2**70, 1.5, float("nan"), "", "..", "../one", "/", "a" * 5000, "\ud800", "\x00", "\n", [],
    {}, ["x"], {"a": {}}, "latest", "other", "edge", "v1.35.0+k3s1", "10.0.0.0/8", "2026-01-01T00:00:00+00:00",
    "0" * 64,
]  # fmt: skip


def mutated(content: bytes, chance: random.Random) -> bytes:
    """Another text: bytes changed, cut off, doubled, put in; one in two has a value replaced where it is JSON."""
    if content.startswith(b"{") and chance.random() < 0.5:
        claims = json.loads(content)
        for key in chance.sample(sorted(claims), chance.randint(1, 3)):
            how = chance.random()
            if how < 0.1:
                del claims[key]
            elif how < 0.2:
                claims[key + chance.choice("x. ")] = claims[key]
            else:
                claims[key] = chance.choice([*STRANGE, f"{claims[key]}x", [claims[key]]])
        return json.dumps(claims).encode()
    result = bytearray(content)
    for _time in range(chance.randint(1, 4)):
        at = chance.randrange(len(result) + 1)
        how = chance.randrange(5)
        if how == 0 and at < len(result):
            result[at] ^= 1 << chance.randrange(8)
        elif how == 1:
            del result[at : at + chance.randint(1, 600)]
        elif how == 2:
            result[at:at] = chance.randbytes(chance.randint(1, 600))
        elif how == 3:
            result[at:at] = result[at : at + 512]
        else:
            result[at:at] = chance.choice([b"[" * 20000, b"9" * 5000, b"\x00", b"../", b'"'])
    return bytes(result) if result != content else content[:-1]


def refused(act: Callable[[], object]) -> object:
    """None where it is, in one line. What it gave otherwise."""
    try:
        return act()
    except TenantryError as error:
        told = str(error)
    assert told.isprintable(), told
    assert len(told) < 1000
    return None


def test_no_mutation_of_a_description_is_believed(store: Directory, tmp_path: Path) -> None:
    chance = random.Random(20260131)
    text = (folder(store) / "one.json").read_bytes()
    true, before, same = json.loads(text), tree(tmp_path), 0
    path = store.where(NAMESPACE, "one.age")
    for _time in range(MUTATIONS * 6 // 10):
        content = mutated(text, chance)

        def opened(content: bytes = content) -> Snapshot:
            snapshot = parse(content, NAMESPACE, "one", "here", path)
            authenticate(snapshot, PASSPHRASE)
            return snapshot

        found = refused(opened)
        if found is not None:
            same += 1
            assert json.loads(found.text) == true, "the same in other words"
    assert same < MUTATIONS / 50
    assert tree(tmp_path) == before


def unpacked(content: bytes, key: encryption.Key, like: Snapshot, directory: Path) -> archive.Content | None:
    """By a description of somebody who has the passphrase: the reader holds without the authentication too."""
    snapshot = describe(like.origin, key, *measured(io.BytesIO(content)), "here")
    return refused(lambda: archive.read(snapshot, io.BytesIO(content), key, directory))


def checked(found: archive.Content | None, directory: Path) -> None:
    """Nothing but the database is written, and no name leads out of the server's directory."""
    assert {path.name for path in directory.iterdir()} <= {"state.db"}
    (directory / "state.db").unlink(missing_ok=True)
    if found is not None:
        with tarfile.open(fileobj=io.BytesIO(found.keys)) as tar:
            for member in tar:
                assert member.isfile()
                assert member.name.split("/")[0] in ("token", "tls", "cred")
                assert ".." not in member.name.split("/")


def test_no_mutation_of_an_archive_is_unpacked_elsewhere(store: Directory, key: encryption.Key, tmp_path: Path) -> None:
    chance = random.Random(20260201)
    snapshot, out = store.get(NAMESPACE, "one"), tmp_path / "out"
    out.mkdir()
    sealed = Path(snapshot.path).read_bytes()
    plain = pyrage.decrypt(sealed, [authenticate(snapshot, PASSPHRASE).identity])
    tar, before = gzip.decompress(plain), tree(tmp_path)
    public = [key.identity.to_public()]
    for number in range(MUTATIONS * 4 // 10):
        if number % 4 == 0:
            found = unpacked(mutated(sealed, chance), key, snapshot, out)
            assert found is None
        elif number % 4 == 1:
            found = unpacked(pyrage.encrypt(mutated(plain, chance), public), key, snapshot, out)
        else:
            packed = gzip.compress(mutated(tar, chance), 1)
            found = unpacked(pyrage.encrypt(packed, public), key, snapshot, out)
        checked(found, out)
    assert tree(tmp_path) == before


def evil(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.size, entry.linkname = kind, size, "/etc/passwd"
    return entry


@pytest.mark.parametrize(
    "entry",
    [
        evil("../up"),
        evil("/etc/cron.d/x"),
        evil("server/../../up"),
        evil("server/tls/../../up"),
        evil("server/tls/."),
        evil("server/token/x"),
        evil("server/db/state.db-wal"),
        evil("server/tls/link", tarfile.SYMTYPE),
        evil("server/tls/link", tarfile.LNKTYPE),
        evil("server/tls/pipe", tarfile.FIFOTYPE),
        evil("server/tls", tarfile.DIRTYPE),
        evil("server/token"),
        evil("server/tls/large", size=17 * 1024 * 1024),
        evil("other"),
    ],
    ids=lambda entry: f"{entry.name} {entry.type.decode()}",
)
def test_a_member_that_no_snapshot_has_is_refused(
    store: Directory, key: encryption.Key, tmp_path: Path, entry: tarfile.TarInfo
) -> None:
    snapshot, packed, out = store.get(NAMESPACE, "one"), io.BytesIO(), tmp_path / "out"
    out.mkdir()
    plain = pyrage.decrypt(Path(snapshot.path).read_bytes(), [authenticate(snapshot, PASSPHRASE).identity])
    with (
        tarfile.open(fileobj=io.BytesIO(plain), mode="r:gz") as good,
        tarfile.open(fileobj=packed, mode="w:gz") as tar,
    ):
        for member in good:
            tar.addfile(member, good.extractfile(member))
        tar.addfile(entry, io.BytesIO(bytes(entry.size)))
    content = pyrage.encrypt(packed.getvalue(), [key.identity.to_public()])
    described = describe(snapshot.origin, key, *measured(io.BytesIO(content)), "here")
    with pytest.raises(TenantryError, match="contains an unexpected file"):
        archive.read(described, io.BytesIO(content), key, out)


def test_what_unpacks_to_more_than_it_says_is_not_unpacked(
    store: Directory, key: encryption.Key, tmp_path: Path
) -> None:
    content = pyrage.encrypt(gzip.compress(bytes(64 * 1024 * 1024), 1), [key.identity.to_public()])
    snapshot = describe(store.get(NAMESPACE, "one").origin, key, *measured(io.BytesIO(content)), "here")
    with pytest.raises(TenantryError, match="truncated, corrupted"):
        archive.read(snapshot, io.BytesIO(content), key, tmp_path)
