"""k3s on a real database: what a server needs is there, for its successor and for others beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from .databases import Database, MariaDb, Postgres
from .harness import ApiServer, lab, ran, until
from .ledger import SHARED_LAG, Ledger
from .tls import self_signed

TOKEN = "0123456789abcdef" * 4
WORD = "correct-horse-battery"


@pytest.fixture(scope="module", params=[Postgres, pytest.param(MariaDb, marks=pytest.mark.nightly)])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    lab("build")
    with request.param().running() as database:
        yield database


def server(directory: Path, database: Database, token: str = TOKEN, **more: str) -> ApiServer:
    """One that is given the database as the collection gives it, in the file with its configuration."""
    directory.mkdir()
    config = directory / "config.yaml"
    keys = {"datastore-endpoint": database.endpoint, "token": token, "secrets-encryption": True, **more}
    config.write_text(json.dumps(keys))
    config.chmod(0o600)
    return ApiServer(directory, ["--config", str(config)])


def authority(one: ApiServer) -> bytes:
    return (one.directory / "data/server/tls/server-ca.crt").read_bytes()


def test_a_server_without_any_files_finds_everything_in_the_database(database: Database, tmp_path: Path) -> None:
    first = server(tmp_path / "first", database)
    try:
        kubeconfig = first.start()
        ran(kubeconfig, "create", "secret", "generic", "kept", f"--from-literal=word={WORD}")
        ran(kubeconfig, "-n", "kube-system", "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
        token = ran(kubeconfig, "-n", "kube-system", "create", "token", "default").strip()
    finally:
        first.kill()
    before = authority(first)
    shutil.rmtree(first.directory / "data")

    second = server(tmp_path / "second", database)
    try:
        kubeconfig = second.start()
        assert authority(second) == before
        shown = ran(kubeconfig, "get", "secret", "kept", "-o", "jsonpath={.data.word}")
        assert shown == "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5", "the key to Secrets is the same"
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        shown = ("-o", "jsonpath={.status.user.username}")
        asked = ran(kubeconfig, "create", "-f", "-", *shown, stdin=json.dumps(review))
        assert asked == "system:serviceaccount:kube-system:default", "the key of tokens is the same"
        assert WORD not in told(second), "and the database sees no content of a Secret"
        assert database.password not in told(second)
    finally:
        second.kill()


def told(one: ApiServer) -> str:
    return (one.directory / "k3s.log").read_text(errors="replace")


def test_the_database_of_another_cluster_is_refused(database: Database, tmp_path: Path) -> None:
    other = server(tmp_path / "other", database, token="f" * 64)
    with pytest.raises(AssertionError, match="encrypted with different token"):
        other.start()
    assert database.password not in told(other)


def test_a_database_that_denies_access_tells_nobody_the_password(database: Database, tmp_path: Path) -> None:
    wrong = server(
        tmp_path / "wrong", database, **{"datastore-endpoint": database.endpoint.replace("kine:", "nobody:")}
    )
    try:
        with pytest.raises(AssertionError):
            wrong.start(5)  # k3s tries for minutes; the tests beside this one are the positive control
    finally:
        wrong.kill()
    assert database.password not in told(wrong)


def test_two_servers_have_one_cluster_and_one_is_enough(database: Database, tmp_path: Path) -> None:
    servers = [server(tmp_path / name, database) for name in ("one", "two")]
    try:
        _one, two = [each.start() for each in servers]
        assert authority(servers[0]) == authority(servers[1])
        ledger = Ledger(two, SHARED_LAG)
        with ledger.writing():
            ledger.wait_for(20)
            servers[0].kill()
            ledger.wait_for(20)
        assert len(ledger.check()) > 20
        # Its controllers take over when the leases of the other's have run out.
        ran(two, "create", "deployment", "late", "--image=x")
        until(lambda: ran(two, "get", "replicasets", "-o", "name"), 60)
    finally:
        for each in servers:
            each.kill()


def test_the_database_is_verified_by_its_ca(tmp_path: Path) -> None:
    lab("build")
    database = Postgres()
    for path in self_signed(database.directory):
        path.chmod(0o600)
        shutil.chown(path, database.account)
    with database.running():
        good = server(tmp_path / "good", database, **{"datastore-cafile": str(database.directory / "tls.crt")})
        try:
            good.start()
            encrypted = database.sql(
                "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'kine'"
            )
            assert encrypted.strip() == "t"
        finally:
            good.kill()
        (tmp_path / "elsewhere").mkdir()
        foreign, _key = self_signed(tmp_path / "elsewhere")
        bad = server(tmp_path / "bad", database, **{"datastore-cafile": str(foreign)})
        try:
            with pytest.raises(AssertionError):
                bad.start(10)  # k3s tries for minutes
        finally:
            bad.kill()
