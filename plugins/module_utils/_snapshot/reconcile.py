# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module vcluster_snapshot: everything is checked before a virtual cluster is changed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import exec as pod_exec
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SECRET, STATEFUL_SET
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, attempt, validate_all
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import archive as snapshot_archive
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import encryption, newest
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.description import (
    LATEST,
    SQLITE,
    BadFile,
    Origin,
    Snapshot,
    authenticate,
    check_name,
)
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.options import SnapshotOptions
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.restore import Restore
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.restore_etcd import EtcdRestore
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Store, now
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import sqlite
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd import take
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.maintenance_pod import (
    CONTAINER,
    run_maintenance_pod,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.server_volume import (
    PRE_UPGRADE,
    DataCopy,
    capture,
    keys_archive,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.fleet_state import FleetState
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import (
    JOIN_TOKEN,
    PLATFORM_CREDENTIAL,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.etcd import PLACE
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.upgrade import BEFORE_ANNOTATION

LIVE = ("present", "restored", "rolled_back")  # these states need the virtual cluster, the others only the store


@dataclass
class SnapshotOperation:
    """One item, with what was found for it in the store and on its host."""

    item: dict
    name: str  # of the snapshot
    found: VirtualCluster | None = None
    source_namespace: dict | None = None  # of the virtual cluster whose snapshot it is, where that is known
    snapshots: list[Snapshot] = field(default_factory=list)  # to restore, to delete, or there already
    unreadable: list[BadFile] = field(default_factory=list)  # beside those: files that are left alone
    problem: str | None = None  # error of this item, which stops no other
    started: float = field(default_factory=time.monotonic)

    @property
    def state(self) -> str:
        return self.item["state"]

    @property
    def namespace(self) -> str:
        return naming.vcluster_namespace(self.item["tenant"], self.item["name"])

    @property
    def source(self) -> str:
        """The namespace of the virtual cluster whose snapshots are used."""
        source = self.item["source"] or self.item
        return naming.vcluster_namespace(source["tenant"], source["name"])

    @property
    def datastore(self) -> str:
        """The virtual cluster's datastore: SQLite or etcd."""
        return self.known_found.record.datastore or SQLITE

    @property
    def known_found(self) -> VirtualCluster:
        """The virtual cluster, for steps that require one."""
        return require(self.found, f"virtual cluster {self.namespace}")

    def row(self) -> dict:
        """Return the fields that every row has."""
        item = self.item
        host = self.found.host.name if self.found else None
        return {"name": item["name"], "tenant": item["tenant"], "namespace": self.namespace, "host": host}


@dataclass(frozen=True)
class Call:
    """What all items of a call share."""

    context: Context
    options: SnapshotOptions
    known_store: Store | None
    key: encryption.Key | None = None  # of the archives that are written

    @property
    def store(self) -> Store:
        """The store, for steps that require one."""
        return require(self.known_store, "the store")

    @property
    def passphrase(self) -> str:
        """The passphrase, for steps after its validation."""
        return require(self.options.passphrase, "the passphrase")

    @property
    def check_mode(self) -> bool:
        return self.context.check_mode

    def deadline(self) -> Deadline:
        return self.context.deadline(self.options.wait_timeout)


def run(context: Context, items: list[dict], options: SnapshotOptions) -> list[dict]:
    """Take, restore, roll back or delete snapshots, and return a row for each item."""
    operations = validate_all(items, _validated, name=_name_of)
    # A rollback uses only the copies on volumes, so it needs no store.
    store = None if all(operation.state == "rolled_back" for operation in operations) else options.place.store()
    _run_each(operations, lambda operation: _look_up(store, operation))
    for operation in operations:
        for bad in operation.unreadable:
            context.warn(f"{operation.source}: {bad}. It is ignored")
    if not any(operation.state in LIVE for operation in operations):
        return [_row(Call(context, options, store), operation) for operation in operations]
    if any(operation.state in ("present", "restored") for operation in operations):
        encryption.check_passphrase(options.passphrase)
    with registry.open_fleet(context) as fleet:
        places = FleetState(fleet)
        for problem in places.unreachable.values():
            context.warn(problem)
        _run_each(operations, lambda operation: _place(context, places, operation))
        possible = [operation for operation in operations if operation.problem is None]
        taking = (
            any(operation.state == "present" and not operation.snapshots for operation in possible)
            and not context.check_mode
        )
        key = encryption.new_key(require(options.passphrase, "the passphrase")) if taking else None
        call = Call(context, options, store, key)
        return context.hub.map(lambda operation: _row(call, operation), operations)


def _run_each(operations: list[SnapshotOperation], do: Callable[[SnapshotOperation], None]) -> None:
    """Run a step for each item. An Obstacle stops that item only."""
    for operation in operations:
        if operation.problem is None:
            operation.problem, _nothing = attempt(partial(do, operation))


def _name_of(item: dict) -> str:
    return f"virtual cluster {item['tenant']}/{item['name']}"


def _validated(item: dict) -> SnapshotOperation:
    for option in ("tenant", "name"):
        naming.check_name(item[option], option)
    state, name = item["state"], item["snapshot"]
    if item["source"]:
        if state != "restored":
            raise TenantryError(f"source: applies to state: restored only, not {state}. Omit it")
        for option in ("tenant", "name"):
            naming.check_name(item["source"][option], f"source.{option}")
    if (item["keep"] is None) == (state == "pruned"):
        raise TenantryError(
            "keep: required with state: pruned, and not supported with another state. Set the number of snapshots to "
            "keep"
        )
    if item["keep"] is not None and item["keep"] < 1:
        raise TenantryError(
            f"keep: must be 1 or more, not {item['keep']}. To delete a single snapshot, use state: absent"
        )
    if state == "absent" and name is None:
        raise TenantryError("snapshot: required with state: absent. Set the name of the snapshot to delete")
    if state in ("pruned", "rolled_back") and name is not None:
        raise TenantryError(f"snapshot: not supported with state: {state}. Omit it")
    if name is None:
        name = LATEST if state == "restored" else now().strftime(newest.NAMES)
    if not (name == LATEST and state == "restored"):
        check_name(name)
    for place in (item, item["source"] or item):
        naming.vcluster_namespace(place["tenant"], place["name"])
    return SnapshotOperation(item, name)


def _look_up(store: Store | None, operation: SnapshotOperation) -> None:
    if operation.state == "rolled_back" or store is None:
        operation.name = PRE_UPGRADE
    elif operation.state == "restored":
        listing = store.list(operation.source) if operation.name == LATEST else None
        operation.unreadable = listing.unreadable if listing else []
        operation.snapshots = [store.get(operation.source, operation.name, listing)]
    elif operation.state == "pruned":
        found = store.list(operation.namespace)
        operation.snapshots, operation.unreadable = found.snapshots[: -operation.item["keep"]], found.unreadable
    else:
        there = store.find(operation.namespace, operation.name)
        operation.snapshots = [there] if there else []


def _place(context: Context, places: FleetState, operation: SnapshotOperation) -> None:
    if operation.state not in LIVE:
        return
    operation.found = places.found.get(operation.namespace)
    source = places.found.get(operation.source)
    operation.source_namespace = source.namespace_object if source else None
    if operation.found is None:
        lost = f", or it is on a member that does not answer: {'; '.join(places.unreachable.values())}"
        error = TenantryError(
            f"there is no such virtual cluster{lost if places.unreachable else ''}. "
            "Create it with tenantry.kube.vcluster first"
        )
        if operation.state == "restored":
            context.missing(error)
        else:
            raise error
    elif (place := operation.found.record.datastore) not in (None, PLACE):
        raise TenantryError(
            f"datastore: is external ({place}). Back up and restore that database with its own tools, and "
            f"keep the Secret {JOIN_TOKEN} of {operation.namespace}, without which k3s cannot read it"
        )


def _row(call: Call, operation: SnapshotOperation) -> dict:
    do = {"present": _take, "restored": _restore, "rolled_back": _revert, "absent": _delete, "pruned": _delete}[
        operation.state
    ]
    row = {**operation.row(), "changed": False, "actions": []}
    if operation.unreadable:
        row["unreadable"] = [bad.row() for bad in operation.unreadable]
    problem, done = (operation.problem, None) if operation.problem else attempt(lambda: do(call, operation))
    if problem:
        row["error"] = f"{operation.namespace}: {problem}"
    row |= done or {}
    row["changed"] = bool(row["actions"])
    return {**row, "diff": _diff(operation, row), "seconds": round(time.monotonic() - operation.started, 1)}


def _diff(operation: SnapshotOperation, row: dict) -> dict:
    lines = [f"{action['action']} {action['kind']} {action['name']}\n" for action in row["actions"]]
    return {
        "before_header": operation.namespace,
        "after_header": operation.namespace,
        "before": "",
        "after": "".join(lines),
    }


def _facts(snapshot: Snapshot) -> dict:
    facts = snapshot.row()
    return {key: facts[key] for key in ("snapshot", "path", "bytes", "sha256", "version", "created")}


def _action(action: str, name: str) -> list[dict]:
    return [{"action": action, "kind": "Snapshot", "name": name}]


def _delete(call: Call, operation: SnapshotOperation) -> dict:
    actions: list[dict] = []
    for snapshot in operation.snapshots:
        if not call.check_mode:
            call.store.remove(snapshot)
        actions += _action("delete", snapshot.origin.snapshot)
    return {"actions": actions}


def _take(call: Call, operation: SnapshotOperation) -> dict:
    if operation.snapshots:
        authenticate(operation.snapshots[0], call.passphrase)
        return _facts(operation.snapshots[0])
    if call.check_mode:
        return {"snapshot": operation.name, "actions": _action("create", operation.name)}
    context, store, found = call.context, call.store, operation.known_found
    key = require(call.key, "the key of the archive")
    secrets = [found.host.get(SECRET, name, operation.namespace) for name in (JOIN_TOKEN, PLATFORM_CREDENTIAL)]
    credentials = snapshot_archive.credentials_of(*secrets)
    with _private_directory(context) as directory:
        captured, revision = _captured(call, operation, directory)
        context.progress(
            operation.namespace, f"copied and fetched, {captured.paused_seconds} s of it with the API paused"
        )
        origin = _origin(operation, operation.name, revision, captured.database.stat().st_size)
        with store.draft(operation.namespace, operation.name, directory) as draft:
            try:
                snapshot_archive.write(draft.file, key, origin, credentials, captured)
            except OSError as error:
                where = store.where(operation.namespace)
                raise TenantryError(
                    f"cannot write to {where}: {error.strerror}. Free space there or choose another place"
                ) from None
            snapshot = store.add(origin, key, draft)
    newest.note(found.host, origin)
    context.progress(operation.namespace, f"snapshot {operation.name} written, {snapshot.bytes} bytes")
    return {
        **_facts(snapshot),
        "api_paused_seconds": captured.paused_seconds,
        "actions": _action("create", operation.name),
    }


def _captured(call: Call, operation: SnapshotOperation, directory: Path) -> tuple[DataCopy, int]:
    """Copy the datastore. Return the copy and its revision."""
    if operation.datastore == PLACE:
        database = directory / "etcd.db"
        revision = take(operation.known_found.host, operation.namespace, database, call.deadline())
        return DataCopy(keys_archive([]), database, 0.0), revision
    captured = _captured_of_volume(call, operation, directory)
    return captured, sqlite.consolidate(captured.database)


def _captured_of_volume(call: Call, operation: SnapshotOperation, directory: Path) -> DataCopy:
    """Copy from the server's container or, if it is stopped, from a maintenance pod."""
    host, namespace, seconds = operation.known_found.host, operation.namespace, call.options.wait_timeout
    stateful_set = host.get(STATEFUL_SET, SERVER, namespace)
    if stateful_set is None:
        raise TenantryError(f"StatefulSet {SERVER} is missing. Run tenantry.kube.vcluster for it first")
    if stateful_set["spec"]["replicas"] == 0:
        with run_maintenance_pod(host, stateful_set, call.deadline()) as container:
            return capture(container, operation.name, directory, seconds)
    server = pod_exec.Container(host, namespace, f"{SERVER}-0", CONTAINER)
    return capture(server, operation.name, directory, seconds)


def _restore(call: Call, operation: SnapshotOperation) -> dict:
    context, snapshot = call.context, operation.snapshots[0]
    archive_key = authenticate(snapshot, call.passphrase)
    if operation.name == LATEST:
        newest.check_unreadable(operation.source_namespace, snapshot.origin, operation.unreadable)
        warning = newest.check(operation.source_namespace, snapshot.origin)
        if warning:
            context.warn(warning)
    with _private_directory(context) as directory:
        with call.store.fetch(snapshot, directory) as archive:
            content = snapshot_archive.read(snapshot, archive, archive_key, directory)
        actions = [{"action": "restore", "kind": "Snapshot", "name": snapshot.origin.snapshot}]
        context.progress(operation.namespace, f"snapshot {snapshot.origin.snapshot} verified")
        if operation.found is None:  # in check mode, an earlier task may only have predicted it
            return {**_facts(snapshot), "actions": actions}
        restore = _restore_of(call, operation, snapshot.origin, directory)
        restore.check()
        verified = {} if context.check_mode else {"verified": restore.execute(content)}
        return {**_facts(snapshot), **verified, "version": restore.version, "actions": actions}


def _restore_of(call: Call, operation: SnapshotOperation, origin: Origin, directory: Path) -> Restore:
    kind = EtcdRestore if operation.datastore == PLACE else Restore
    progress = partial(call.context.progress, operation.namespace)
    return kind(operation.known_found, origin, call.deadline(), progress, directory)


def _revert(call: Call, operation: SnapshotOperation) -> dict:
    version = operation.known_found.annotations.get(BEFORE_ANNOTATION)
    if version is None:
        raise TenantryError("state: rolled_back requires a previous upgrade, and there was none. Use state: restored")
    origin = _origin(operation, PRE_UPGRADE, 0, 0)
    with _private_directory(call.context) as directory:
        restore = _restore_of(call, operation, replace(origin, version=version), directory)
        restore.check()
        if not call.check_mode:
            restore.revert()
    actions = [{"action": "restore", "kind": "Snapshot", "name": f"{PRE_UPGRADE} ({version})"}]
    return {"snapshot": PRE_UPGRADE, "version": version, "actions": actions}


def _origin(operation: SnapshotOperation, snapshot: str, revision: int, size: int) -> Origin:
    found, record = operation.known_found, operation.known_found.record
    return Origin(
        snapshot=snapshot,
        tenant=operation.item["tenant"],
        name=operation.item["name"],
        host=found.host.name,
        mode=record.mode or "",
        version=record.version or "",
        service_cidr=record.service_cidr,
        created=now().isoformat(),
        sequence=newest.next_sequence(found.namespace_object),
        revision=revision,
        database_bytes=size,
        datastore=operation.datastore,
    )


@contextmanager
def _private_directory(context: Context) -> Iterator[Path]:
    """Create a directory for the copied datastore, whose Secrets are encrypted. Their keys never get there."""
    with tempfile.TemporaryDirectory(dir=context.module.tmpdir) as directory:
        yield Path(directory)
