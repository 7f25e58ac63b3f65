"""Real databases for the tests: throw-away servers of Debian's PostgreSQL and MariaDB, as users without rights."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .harness import _free_port, until

USER = "kine"


class Database:
    """One server with one database and a user to whom that belongs. Its files are gone when it has stopped."""

    scheme: str
    account: str  # that Debian's package makes

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address
        self.port = _free_port()
        self.password = secrets.token_hex(16)
        self.name = "virtual_cluster"
        self.directory = Path(tempfile.mkdtemp(prefix=f"lab-{self.scheme}-"))
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def running(self) -> Iterator[Database]:
        if os.geteuid() == 0:
            entry = pwd.getpwnam(self.account)
            os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        try:
            self.prepare()
            self.start()
            self.found()
            yield self
        finally:
            self.stop()
            shutil.rmtree(self.directory)

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(self.as_account(*self.command()), stdout=log, stderr=log)
        until(lambda: self._process.poll() is not None or self.answers(), 60)
        assert self._process.poll() is None, (self.directory / "log").read_text()[-3000:]

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait(timeout=60)

    def as_account(self, *words: str | Path) -> list[str | Path]:
        if os.geteuid() != 0:
            return list(words)
        return ["setpriv", f"--reuid={self.account}", f"--regid={self.account}", "--clear-groups", "--", *words]

    def run(self, *words: str | Path, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.as_account(*words), input=stdin, capture_output=True, text=True, check=False, cwd=self.directory
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def prepare(self) -> None:
        """Its files."""
        raise NotImplementedError

    def command(self) -> list[str | Path]:
        raise NotImplementedError

    def answers(self) -> bool:
        raise NotImplementedError

    def found(self) -> None:
        """Make user and database."""
        raise NotImplementedError


class Postgres(Database):
    scheme, account = "postgres", "postgres"

    @property
    def endpoint(self) -> str:
        return f"postgres://{USER}:{self.password}@{self.address}:{self.port}/{self.name}"

    def prepare(self) -> None:
        self.run(_newest("initdb"), "--pgdata", self.directory / "data", "--auth=trust", "--encoding=UTF8")
        rules = self.directory / "data" / "pg_hba.conf"
        rules.write_text("local all all trust\nhost all all all scram-sha-256\n")

    def command(self) -> list[str | Path]:
        listen = ("-c", f"listen_addresses={self.address}", "-p", str(self.port), "-k", self.directory)
        tls = ()
        if (self.directory / "tls.crt").exists():
            tls = ("-c", "ssl=on", "-c", "ssl_cert_file=../tls.crt", "-c", "ssl_key_file=../tls.key")
        return [_newest("postgres"), "-D", self.directory / "data", *listen, *tls]

    def answers(self) -> bool:
        return self.run(_newest("pg_isready"), "-h", self.directory, "-p", str(self.port), check=False).returncode == 0

    def found(self) -> None:
        self.sql(f"CREATE ROLE {USER} LOGIN PASSWORD '{self.password}'", "postgres")
        self.sql(f"CREATE DATABASE {self.name} OWNER {USER}", "postgres")

    def sql(self, statement: str, database: str | None = None) -> str:
        """As its administrator, by its socket."""
        words = (
            "-h",
            self.directory,
            "-p",
            str(self.port),
            "-d",
            database or self.name,
            "-XAtq",
            "-v",
            "ON_ERROR_STOP=1",
        )
        return self.run(_newest("psql"), *words, stdin=statement).stdout


class MariaDb(Database):
    scheme, account = "mysql", "mysql"

    @property
    def endpoint(self) -> str:
        return f"mysql://{USER}:{self.password}@tcp({self.address}:{self.port})/{self.name}"

    def prepare(self) -> None:
        self.run(
            "mariadb-install-db", f"--datadir={self.directory / 'data'}", "--auth-root-authentication-method=normal"
        )

    def command(self) -> list[str | Path]:
        own = [
            f"--datadir={self.directory / 'data'}",
            f"--socket={self._socket}",
            f"--pid-file={self.directory / 'pid'}",
        ]
        return ["/usr/sbin/mariadbd", "--no-defaults", *own, f"--bind-address={self.address}", f"--port={self.port}"]

    def answers(self) -> bool:
        return self.run("mariadb-admin", f"--socket={self._socket}", "-uroot", "ping", check=False).returncode == 0

    def found(self) -> None:
        self.sql(
            # Users without a name come before those of any host.
            "DELETE FROM mysql.global_priv WHERE User = ''; FLUSH PRIVILEGES;"
            f"CREATE DATABASE {self.name}; CREATE USER {USER} IDENTIFIED BY '{self.password}';"
            f"GRANT ALL ON {self.name}.* TO {USER}"
        )

    def sql(self, statement: str) -> str:
        return self.run("mariadb", f"--socket={self._socket}", "-uroot", "-N", stdin=statement).stdout

    @property
    def _socket(self) -> Path:
        return self.directory / "socket"


def _newest(program: str) -> Path:
    """Of PostgreSQL's programs, which Debian keeps by version and off the PATH."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"), key=lambda path: int(path.parts[-3]))
    assert found, f"{program} is missing. Run tests/lab/lab deps"
    return found[-1]
