# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""k3s's SQLite datastore in a file: consolidate, verify, and prepare it for other networks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CONFIG_MAP,
    DEPLOYMENT,
    NAMESPACE,
    SECRET,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
)

NAME = "state.db"
# Kinds that the API must serve after a restore, because nothing deletes them by itself, with k3s's key prefix.
PROVEN = {
    NAMESPACE: "namespaces",
    CONFIG_MAP: "configmaps",
    SECRET: "secrets",
    SERVICE_ACCOUNT: "serviceaccounts",
    DEPLOYMENT: "deployments",
    STATEFUL_SET: "statefulsets",
}
# What a cluster stores of its own networks, and recreates at its start if it is missing.
OF_NETWORKS = ("/registry/servicecidrs/", "/registry/ipaddresses/")
ADDRESSED = ("/registry/services/specs/default/kubernetes", "/registry/services/specs/kube-system/kube-dns")


def consolidate(path: Path) -> int:
    """Merge the write-ahead log into the file and verify it. Return the newest revision."""
    try:
        with closing(sqlite3.connect(path)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            mode = database.execute("PRAGMA journal_mode=DELETE").fetchone()[0]
            if mode != "delete":
                raise TenantryError(f"the datastore stays in journal mode {mode}. Use the snapshot again")
        return check(path)
    except (sqlite3.Error, UnicodeError) as error:
        raise TenantryError(f"the datastore cannot be read by SQLite: {one_line(error)}") from None


def check(path: Path) -> int:
    """Verify that it is the datastore of a cluster. Return its newest revision. Raise a TenantryError."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
            found = database.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise TenantryError(f"SQLite's integrity check of the datastore found: {one_line(found)}")
            system = database.execute("SELECT count(*) FROM kine WHERE name = '/registry/namespaces/kube-system'")
            if not system.fetchone()[0]:
                raise TenantryError("the datastore is not of a cluster: it has no namespace kube-system")
            return database.execute("SELECT max(id) FROM kine").fetchone()[0]
    except (sqlite3.Error, UnicodeError) as error:
        raise TenantryError(f"the datastore is not k3s's: {one_line(error)}") from None


def names(path: Path) -> dict[str, set[str]]:
    """Return the objects of the kinds in PROVEN, as NAMESPACE/NAME or NAME, by kind."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as database:
        return {kind: _names(database, f"/registry/{prefix}/") for kind, prefix in PROVEN.items()}


def _names(database: sqlite3.Connection, prefix: str) -> set[str]:
    living = """
        SELECT name FROM kine AS this WHERE name > ? AND name < ? AND deleted = 0
        AND NOT EXISTS (SELECT 1 FROM kine AS later WHERE later.name = this.name AND later.id > this.id)
    """
    return {name.removeprefix(prefix) for (name,) in database.execute(living, (prefix, f"{prefix[:-1]}0"))}


def rehome(path: Path) -> None:
    """Delete the objects with the service network of the original cluster.

    The API server and k3s recreate them at their start. Other Services keep their addresses; if those are not the
    host's in mode shared, the syncer assigns new ones.
    """
    with closing(sqlite3.connect(path)) as database:
        for prefix in OF_NETWORKS:
            database.execute("DELETE FROM kine WHERE name LIKE ?", (f"{prefix}%",))
        for name in ADDRESSED:
            database.execute("DELETE FROM kine WHERE name = ?", (name,))
        database.commit()
