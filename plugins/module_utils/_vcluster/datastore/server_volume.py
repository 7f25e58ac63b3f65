# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Copy the data of a server from a volume in use, and install it on one that is not.

The k3s image has no SQLite. So the server is paused (SIGSTOP) while its files are copied on its own volume: like after
a kill at that moment, SQLite recovers the copy to the last committed transaction. The pause takes moments; the transfer
follows afterwards.
"""

from __future__ import annotations

import hashlib
import io
import tarfile
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.exec import Container, run
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.sqlite import NAME
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import DATA_DIRECTORY

WAL = f"{NAME}-wal"
STAGES = ".snapshot-"
UPLOAD = ".restore"
# Bytes of the tar archive of the keys in memory; it usually has some 200 KiB.
_LARGEST_KEYS = 16 * 1024 * 1024
BEFORE = "server.before-restore"
PRE_UPGRADE = "before-upgrade"

# Built-in commands and those of the k3s image only. All threads must stand still before the first byte is copied. A
# stage that nobody fetched is removed by the next one, but not before an hour has passed.
_STAGE = """\
set -eu
cd "$1"
exec 9>.snapshot.lock
flock -n 9 || { echo "another snapshot is just being taken; run again" >&2; exit 1; }
[ -s server/db/state.db ] || { echo "there is no SQLite datastore in it, and others are not supported" >&2; exit 1; }
find . -maxdepth 1 -name '.snapshot-*' -mmin +60 -exec rm -rf {} +
stage=$2 pid= i=0
rm -rf "$stage" && mkdir -m 700 "$stage"
for process in /proc/[0-9]*; do
  if ls -l "$process/fd" 2>/dev/null | grep -q -F "$1/server/db/state.db"; then pid=${process#/proc/}; fi
done
is_stopped() {
  for task in /proc/"$pid"/task/*/stat; do
    read -r line <"$task" || continue
    case ${line##*)} in " T"*) ;; *) return 1 ;; esac
  done
}
now() { read -r up _ </proc/uptime; echo "${up%.*}${up#*.}"; }
begin=$(now)
if [ -n "$pid" ]; then
  trap 'kill -CONT $pid; rm -rf "$stage"' EXIT HUP INT TERM
  kill -STOP "$pid"
  until is_stopped; do
    i=$((i + 1))
    [ "$i" -lt 500 ] || { echo "the server could not be paused" >&2; exit 1; }
    sleep 0.01
  done
fi
cp server/db/state.db "$stage/state.db"
: >"$stage/state.db-wal"
if [ -s server/db/state.db-wal ]; then cp server/db/state.db-wal "$stage/state.db-wal"; fi
cp -a server/token server/tls server/cred "$stage/"
if [ -n "$pid" ]; then kill -CONT "$pid"; trap - EXIT HUP INT TERM; fi
echo "$(($(now) - begin))"
rm -f "$stage/tls/dynamic-cert.json"
cd "$stage"
for file in state.db state.db-wal; do wc -c <"$file"; sha256sum <"$file"; done
"""
_KEYS = 'set -eu; cd "$1/$2"; tar -cf - token tls cred'
_FETCH = 'set -eu; exec cat "$1/$2/$3"'
_DISCARD = 'rm -rf "$1/$2"'

_PREPARE = 'set -eu; cd "$1"; rm -rf "$2"; mkdir -m 700 "$2" "$2/server" "$2/server/db"'
_PUT_KEYS = 'set -eu; cd "$1/$2/server"; head -c "$3" | tar -xf -'
_PUT_DATABASE = 'set -eu; cd "$1/$2/server/db"; head -c "$3" >state.db; sha256sum <state.db'
# The rename is atomic: before it the old data is complete, after it the new. The old is kept until the new is verified.
_INSTALL = """\
set -eu
cd "$1"
[ -s "$2/server/db/state.db" ] && [ -s "$2/server/token" ]
chmod -R go= "$2"
sync
if [ -d server ]; then rm -rf "$3"; mv server "$3"; fi
mv "$2/server" server
sync
rm -rf "$2"
"""
_KEEP = 'set -eu; cd "$1"; rm -rf "$3"; mv "$2" "$3"; sync'
_RESTORE_KEPT = """\
set -eu
cd "$1"
[ -s "$3/state.db" ] || { echo "nothing is kept from before an upgrade" >&2; exit 1; }
rm -rf "$2" && mkdir -m 700 "$2" "$2/server" "$2/server/db"
cp -a "$3/token" "$3/tls" "$3/cred" "$2/server/"
cp "$3/state.db" "$2/server/db/"
if [ -s "$3/state.db-wal" ]; then cp "$3/state.db-wal" "$2/server/db/"; fi
"""


@dataclass(frozen=True)
class DataCopy:
    """A copy of a server's data: the small files in memory, because they are keys, and the database in a file."""

    keys: bytes  # a tar archive
    database: Path
    paused_seconds: float  # seconds for which the server was paused


def capture(container: Container, stage: str, directory: Path, seconds: float) -> DataCopy:
    """Copy the data of a server, running or not, into a private directory."""
    name = STAGES + stage
    output = run(container, "taking the snapshot", _STAGE, DATA_DIRECTORY, name, seconds=seconds).split()
    try:
        keys = pod_exec.Output("fetching the keys", _LARGEST_KEYS)
        run(container, "fetching the keys", _KEYS, DATA_DIRECTORY, name, sink=keys.add, seconds=seconds)
        facts = [word for word in output if word != "-"]
        paused_seconds, wanted = int(facts[0]) / 100, list(zip(facts[1::2], facts[2::2], strict=True))
        for file, (size, sha256) in zip((NAME, WAL), wanted, strict=True):
            _fetch(container, name, file, directory / file, int(size), sha256, seconds)
    finally:
        with suppress(TenantryError):  # the next one removes it
            run(container, "removing the copy on the volume", _DISCARD, DATA_DIRECTORY, name)
    return DataCopy(bytes(keys.content), directory / NAME, paused_seconds)


def _fetch(container: Container, stage: str, file: str, target: Path, size: int, sha256: str, seconds: float) -> None:
    found = hashlib.sha256()
    with target.open("wb") as output:

        def sink(chunk: bytes) -> None:
            found.update(chunk)
            output.write(chunk)

        run(container, f"fetching {file}", _FETCH, DATA_DIRECTORY, stage, file, sink=sink, seconds=seconds)
    if target.stat().st_size != size or found.hexdigest() != sha256:
        raise TenantryError(
            f"fetching {file}: checksum mismatch after the transfer. Check the network path and run again"
        )


def keys_archive(files: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """Return a tar archive of these files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for member, content in files:
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def keep_on_volume(container: Container, seconds: float) -> None:
    """Make the pre-upgrade copy beside the data, and delete the previous one."""
    new = f"{PRE_UPGRADE}.new"
    run(container, "keeping the data of before", _STAGE, DATA_DIRECTORY, new, seconds=seconds)
    run(container, "keeping the data of before", _KEEP, DATA_DIRECTORY, new, PRE_UPGRADE, seconds=seconds)


def restore_kept(container: Container, seconds: float) -> None:
    """Replace the data by the pre-upgrade copy. No server may use the volume."""
    where = (DATA_DIRECTORY, UPLOAD)
    run(container, "restoring the previous data", _RESTORE_KEPT, *where, PRE_UPGRADE, seconds=seconds)
    run(container, "putting the data in place", _INSTALL, *where, BEFORE, seconds=seconds)


def install(container: Container, keys: bytes, database: Path, sha256: str, seconds: float) -> None:
    """Replace the data on a volume that no server uses. Either all of it is replaced or nothing."""
    where = (DATA_DIRECTORY, UPLOAD)
    run(container, "preparing the volume", _PREPARE, *where, seconds=seconds)
    run(container, "sending the keys", _PUT_KEYS, *where, str(len(keys)), stdin=_pieces(keys), seconds=seconds)
    size, pieces = str(database.stat().st_size), file_pieces(database)
    output = run(container, "sending the database", _PUT_DATABASE, *where, size, stdin=pieces, seconds=seconds)
    if output.split()[0] != sha256:
        raise TenantryError("sending the database: checksum mismatch after the transfer. Run again")
    run(container, "putting the data in place", _INSTALL, *where, BEFORE, seconds=seconds)


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), pod_exec.CHUNK):
        yield content[start : start + pod_exec.CHUNK]


def file_pieces(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in pieces of pod_exec.CHUNK bytes."""
    with path.open("rb") as file:
        while chunk := file.read(pod_exec.CHUNK):
            yield chunk
