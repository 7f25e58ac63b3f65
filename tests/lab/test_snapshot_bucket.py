"""Snapshots in a bucket. The store is moto's server, an imitation of S3 that speaks its protocol over HTTP."""

from __future__ import annotations

import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import archive as snapshot_archive
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import encryption
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import Origin, authenticate
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.s3_store import Bucket
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Store
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import (
    DataCopy,
    keys_archive,
)

from .harness import BUILD, call_module

PASSPHRASE = "four-words-from-a-vault"
NAMESPACE = "payments--dev"
# In an environment of its own: what it needs cannot be installed beside the package kubernetes.
MOTO = "moto[server]==5.2.5"
ENVIRONMENT = BUILD / "venv-moto"
START = """
import sys
import boto3
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
url = "http://{}:{}".format(*server.get_host_and_port())
keys = {"aws_access_key_id": "who", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="backups")
print(url, flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """The URL of a store with the bucket `backups`."""
    stamp = ENVIRONMENT / MOTO
    if not stamp.exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", ENVIRONMENT], check=True)
        subprocess.run([ENVIRONMENT / "bin" / "pip", "install", "--quiet", MOTO], check=True)
        stamp.touch()
    words = [ENVIRONMENT / "bin" / "python", "-c", START]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip()
        server.stdin.close()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "who")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "a-secret-of-the-store")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


def add(store: Store, directory: Path, name: str, day: int, tenant: str = "payments") -> None:
    database = directory / f"{name}.db"
    database.unlink(missing_ok=True)
    with closing(sqlite3.connect(database)) as made:
        made.execute("CREATE TABLE kine (id INTEGER PRIMARY KEY, name TEXT)")
        made.execute("INSERT INTO kine (name) VALUES ('/registry/namespaces/kube-system')")
        made.commit()
    token = snapshot_archive.tar_entry("token", 5)
    captured = DataCopy(keys_archive([(token, b"token")]), database, 0.0)
    key = encryption.new_key(PASSPHRASE)
    origin = Origin(
        snapshot=name,
        tenant=tenant,
        name="dev",
        host="hub",
        mode="shared",
        version="v1.37.2+k3s1",
        service_cidr=None,
        created=f"2026-01-0{day}T02:00:00+00:00",
        sequence=day,
        revision=1,
        database_bytes=database.stat().st_size,
    )
    with store.draft(origin.namespace, name, directory) as draft:
        snapshot_archive.write(draft.file, key, origin, dict.fromkeys(snapshot_archive.KEPT, "x"), captured)
        store.add(origin, key, draft)


@pytest.mark.parametrize("prefix", ["", "tenantry/nightly"])
def test_kept_in_a_bucket_and_fetched_from_it(endpoint: str, tmp_path: Path, prefix: str) -> None:
    store = Bucket("backups", prefix, endpoint, "us-east-1")
    assert store.list(NAMESPACE).snapshots == []
    for day, name in enumerate(("first", "second", "third"), 1):
        add(store, tmp_path, name, day)
    bucket = {"name": "backups", "prefix": prefix, "endpoint": endpoint}
    assert [one["snapshot"] for one in listed(bucket)] == ["first", "second", "third"]

    snapshot = store.get(NAMESPACE, "latest")
    assert snapshot.path == f"s3://backups/{prefix + '/' if prefix else ''}payments--dev/third.age"
    (tmp_path / "out").mkdir()
    with store.fetch(snapshot, tmp_path) as archive:
        key = authenticate(snapshot, PASSPHRASE)
        content = snapshot_archive.read(snapshot, archive, key, tmp_path / "out")
    assert content.database.read_bytes() == (tmp_path / "third.db").read_bytes()

    of_it = {"tenant": "payments", "name": "dev", "bucket": bucket}
    assert call_module("vcluster_snapshot", **of_it, state="pruned", keep=2).changed
    assert call_module("vcluster_snapshot", **of_it, state="absent", snapshot="third").changed
    assert not call_module("vcluster_snapshot", **of_it, state="absent", snapshot="third").changed
    assert [one["snapshot"] for one in listed(bucket)] == ["second"]


def test_writers_to_the_bucket_name_no_other_file(endpoint: str, tmp_path: Path) -> None:
    """Forged names delete nothing of others and write nothing here; of an archive no more is read than it has."""
    store = Bucket("backups", "forged", endpoint, "us-east-1")
    add(store, tmp_path, "first", 1)
    description = store._text(NAMESPACE, "first.json")
    client = store._client

    def put(key: str, content: bytes) -> None:
        client.put_object("backups", f"forged/{key}", io.BytesIO(content), len(content))

    for name in ("../other--dev/one", "../../outside", str(tmp_path / "outside")):
        put("payments--dev/second.json", description.replace(b'"first"', json.dumps(name).encode()))
        put("other--dev/one.age", b"of somebody else")
        of_it = {
            "tenant": "payments",
            "name": "dev",
            "bucket": {"name": "backups", "prefix": "forged", "endpoint": endpoint},
        }
        refused = call_module("vcluster_snapshot", **of_it, state="absent", snapshot="second")
        assert "not the description of a snapshot: snapshot is" in refused.msg
        pruned = call_module("vcluster_snapshot", **of_it, state="pruned", keep=1)
        assert (pruned.failed, pruned.changed) == (False, False), pruned.msg
        assert [bad["file"] for bad in pruned.data["unreadable"]] == ["second.json"]
        assert client.stat_object("backups", "forged/payments--dev/second.json").size > 0
    assert client.stat_object("backups", "forged/other--dev/one.age").size > 0
    client.remove_object("backups", "forged/payments--dev/second.json")

    snapshot = store.get(NAMESPACE, "latest")
    put("payments--dev/first.age", bytes(5 * 1024 * 1024))
    before = {path.name for path in tmp_path.iterdir()}
    with store.fetch(snapshot, tmp_path) as archive:
        assert archive.seek(0, io.SEEK_END) == snapshot.bytes + 1
        with pytest.raises(TenantryError, match="truncated or of another"):
            snapshot_archive.read(snapshot, archive, authenticate(snapshot, PASSPHRASE), tmp_path)
    put("payments--dev/first.json", b"[" * 5 * 1024 * 1024)
    with pytest.raises(TenantryError, match="larger than 16 KiB"):
        store.get(NAMESPACE, "latest")
    assert {path.name for path in tmp_path.iterdir()} == before


def listed(bucket: dict[str, Any]) -> list[dict[str, Any]]:
    found = call_module("vcluster_snapshot_info", bucket=bucket, tenant="payments")
    assert not found.failed, found.msg
    return found.data["snapshots"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": "absent"}, "cannot list absent"),
        ({"endpoint": "http://127.0.0.1:9"}, "refused"),
        ({"endpoint": "s3.example.com"}, "bucket.endpoint"),
    ],
)
def test_what_cannot_be_reached_is_reported_in_a_line(endpoint: str, change: dict[str, str], reason: str) -> None:
    found = call_module("vcluster_snapshot_info", bucket={"name": "backups", "endpoint": endpoint, **change})
    assert found.failed
    assert reason in found.msg
    assert "a-secret-of-the-store" not in found.text
    assert "\n" not in found.msg


def test_a_directory_or_a_bucket(tmp_path: Path, endpoint: str) -> None:
    bucket = {"name": "backups", "endpoint": endpoint}
    for wrong in ({}, {"directory": tmp_path, "bucket": bucket}):
        found = call_module("vcluster_snapshot_info", **wrong)
        assert "one of the two" in found.msg
