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
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot import encryption, newest_record
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
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.resumption import Resumptions
from ansible_collections.tenantry.kube.plugins.module_utils._snapshot.store import Store, now
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore import sqlite
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.etcd import take
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.datastore.maintenance_pod import (
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
    actions: list[dict] = field(default_factory=list)  # each is added before it is tried
    renew: Callable[[], None] = field(default=lambda: None)  # what it is promised, just before it is resumed
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

    def begin(self, action: str, name: str) -> None:
        """Add an action on a snapshot to the row."""
        self.actions.append({"action": action, "kind": "Snapshot", "name": name})

    def row(self) -> dict:
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
    ops = validate_all(items, _validated, name=_name_of)
    # A rollback uses only the copies on volumes, so it needs no store.
    store = None if all(op.state == "rolled_back" for op in ops) else options.place.store()
    _run_each(ops, lambda op: _look_up(store, op))
    for op in ops:
        for bad in op.unreadable:
            context.warn(f"{op.source}: {bad}. It is ignored")
    if not any(op.state in LIVE for op in ops):
        return [_row(Call(context, options, store), op) for op in ops]
    if any(op.state in ("present", "restored") for op in ops):
        encryption.check_passphrase(options.passphrase)
    with registry.open_fleet(context) as fleet:
        places = FleetState(fleet)
        for problem in places.unreachable.values():
            context.warn(problem)
        _run_each(ops, lambda op: _place(context, places, op))
        possible = [op for op in ops if op.problem is None]
        taking = any(op.state == "present" and not op.snapshots for op in possible) and not context.check_mode
        key = encryption.new_key(require(options.passphrase, "the passphrase")) if taking else None
        call = Call(context, options, store, key)
        resuming = [op for op in possible if op.found and op.state != "present"]
        resumptions = Resumptions(context, places, [op.known_found for op in resuming])
        for op in resuming:
            op.problem, op.renew = resumptions.problems.get(op.namespace), partial(resumptions.renew, op.namespace)
        return resumptions.settled(context.hub.map(lambda op: _row(call, op), ops))


def _run_each(ops: list[SnapshotOperation], do: Callable[[SnapshotOperation], None]) -> None:
    """Run a step for each item. An Obstacle stops that item only."""
    for op in ops:
        if op.problem is None:
            op.problem, _nothing = attempt(partial(do, op))


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
        name = LATEST if state == "restored" else now().strftime(newest_record.NAMES)
    if not (name == LATEST and state == "restored"):
        check_name(name)
    for place in (item, item["source"] or item):
        naming.vcluster_namespace(place["tenant"], place["name"])
    return SnapshotOperation(item, name)


def _look_up(store: Store | None, op: SnapshotOperation) -> None:
    if op.state == "rolled_back" or store is None:
        op.name = PRE_UPGRADE
    elif op.state == "restored":
        listing = store.list(op.source) if op.name == LATEST else None
        op.unreadable = listing.unreadable if listing else []
        op.snapshots = [store.get(op.source, op.name, listing)]
    elif op.state == "pruned":
        found = store.list(op.namespace)
        op.snapshots, op.unreadable = found.snapshots[: -op.item["keep"]], found.unreadable
    else:
        there = store.find(op.namespace, op.name)
        op.snapshots = [there] if there else []


def _place(context: Context, places: FleetState, op: SnapshotOperation) -> None:
    if op.state not in LIVE:
        return
    op.found = places.found.get(op.namespace)
    source = places.found.get(op.source)
    op.source_namespace = source.namespace_object if source else None
    if op.found is None:
        lost = f", or it is on a member that does not answer: {'; '.join(places.unreachable.values())}"
        error = TenantryError(
            f"there is no such virtual cluster{lost if places.unreachable else ''}. "
            "Create it with tenantry.kube.vcluster first"
        )
        if op.state == "restored":
            context.missing(error)
        else:
            raise error
    elif (place := op.found.record.datastore) not in (None, PLACE):
        raise TenantryError(
            f"datastore: is external ({place}). Back up and restore that database with its own tools, and "
            f"keep the Secret {JOIN_TOKEN} of {op.namespace}, without which k3s cannot read it"
        )


def _row(call: Call, op: SnapshotOperation) -> dict:
    do = {"present": _take, "restored": _restore, "rolled_back": _revert, "absent": _delete, "pruned": _delete}[
        op.state
    ]
    row = op.row()
    if op.unreadable:
        row["unreadable"] = [bad.row() for bad in op.unreadable]
    problem, done = (op.problem, None) if op.problem else attempt(lambda: do(call, op))
    if problem:
        row["error"] = problem
    row |= {**(done or {}), "changed": bool(op.actions), "actions": op.actions}
    return {**row, "diff": _diff(op, row), "seconds": round(time.monotonic() - op.started, 1)}


def _diff(op: SnapshotOperation, row: dict) -> dict:
    lines = [f"{action['action']} {action['kind']} {action['name']}\n" for action in row["actions"]]
    return {"before_header": op.namespace, "after_header": op.namespace, "before": "", "after": "".join(lines)}


def _facts(snapshot: Snapshot) -> dict:
    facts = snapshot.row()
    return {key: facts[key] for key in ("snapshot", "path", "bytes", "sha256", "version", "created")}


def _delete(call: Call, op: SnapshotOperation) -> dict:
    for snapshot in op.snapshots:
        op.begin("delete", snapshot.origin.snapshot)
        if not call.check_mode:
            call.store.remove(snapshot)
    return {}


def _take(call: Call, op: SnapshotOperation) -> dict:
    if op.snapshots:
        authenticate(op.snapshots[0], call.passphrase)
        return _facts(op.snapshots[0])
    if call.check_mode:
        op.begin("create", op.name)
        return {"snapshot": op.name}
    context, store, found = call.context, call.store, op.known_found
    key = require(call.key, "the key of the archive")
    secrets = [found.host.get(SECRET, name, op.namespace) for name in (JOIN_TOKEN, PLATFORM_CREDENTIAL)]
    credentials = snapshot_archive.credentials_of(*secrets)
    with _private_directory(context) as directory:
        captured, revision = _captured(call, op, directory)
        context.progress(op.namespace, f"copied and fetched, {captured.paused_seconds} s of it with the API paused")
        origin = _origin(op, op.name, revision, captured.database.stat().st_size)
        with store.draft(op.namespace, op.name, directory) as draft:
            try:
                snapshot_archive.write(draft.file, key, origin, credentials, captured)
            except OSError as error:
                where = store.where(op.namespace)
                raise TenantryError(
                    f"cannot write to {where}: {error.strerror}. Free space there or choose another place"
                ) from None
            op.begin("create", op.name)
            snapshot = store.add(origin, key, draft)
    newest_record.note(found.host, origin)
    context.progress(op.namespace, f"snapshot {op.name} written, {snapshot.bytes} bytes")
    return {**_facts(snapshot), "api_paused_seconds": captured.paused_seconds}


def _captured(call: Call, op: SnapshotOperation, directory: Path) -> tuple[DataCopy, int]:
    """Copy the datastore. Return the copy and its revision."""
    if op.datastore == PLACE:
        database = directory / "etcd.db"
        revision = take(op.known_found.host, op.namespace, database, call.deadline())
        return DataCopy(keys_archive([]), database, 0.0), revision
    captured = _captured_of_volume(call, op, directory)
    return captured, sqlite.consolidate(captured.database)


def _captured_of_volume(call: Call, op: SnapshotOperation, directory: Path) -> DataCopy:
    """Copy from the server's container or, if it is stopped, from a maintenance pod."""
    host, namespace, seconds = op.known_found.host, op.namespace, call.options.wait_timeout
    stateful_set = host.get(STATEFUL_SET, SERVER, namespace)
    if stateful_set is None:
        raise TenantryError(f"StatefulSet {SERVER} is missing. Run tenantry.kube.vcluster for it first")
    if stateful_set["spec"]["replicas"] == 0:
        with run_maintenance_pod(host, stateful_set, call.deadline(), small=True) as container:
            return capture(container, op.name, directory, seconds)
    server = pod_exec.Container(host, namespace, f"{SERVER}-0", naming.K3S_CONTAINER)
    return capture(server, op.name, directory, seconds)


def _restore(call: Call, op: SnapshotOperation) -> dict:
    context, snapshot = call.context, op.snapshots[0]
    archive_key = authenticate(snapshot, call.passphrase)
    if op.name == LATEST:
        newest_record.check_unreadable(op.source_namespace, snapshot.origin, op.unreadable)
        warning = newest_record.check(op.source_namespace, snapshot.origin)
        if warning:
            context.warn(warning)
    with _private_directory(context) as directory:
        with call.store.fetch(snapshot, directory) as archive:
            content = snapshot_archive.read(snapshot, archive, archive_key, directory)
        context.progress(op.namespace, f"snapshot {snapshot.origin.snapshot} verified")
        if op.found is None:  # in check mode, an earlier task may only have predicted it
            op.begin("restore", snapshot.origin.snapshot)
            return _facts(snapshot)
        restore = _restore_of(call, op, snapshot.origin, directory)
        restore.check()
        op.begin("restore", snapshot.origin.snapshot)
        if context.check_mode:
            return {**_facts(snapshot), "version": restore.version}
        op.renew()
        verified = restore.execute(content)
        return {**_facts(snapshot), "verified": verified, "version": restore.version}


def _restore_of(call: Call, op: SnapshotOperation, origin: Origin, directory: Path) -> Restore:
    kind = EtcdRestore if op.datastore == PLACE else Restore
    progress = partial(call.context.progress, op.namespace)
    return kind(op.known_found, origin, call.deadline(), progress, directory)


def _revert(call: Call, op: SnapshotOperation) -> dict:
    version = op.known_found.annotations.get(BEFORE_ANNOTATION)
    if version is None:
        raise TenantryError("state: rolled_back requires a previous upgrade, and there was none. Use state: restored")
    origin = _origin(op, PRE_UPGRADE, 0, 0)
    with _private_directory(call.context) as directory:
        restore = _restore_of(call, op, replace(origin, version=version), directory)
        restore.check()
        op.begin("restore", f"{PRE_UPGRADE} ({version})")
        if not call.check_mode:
            op.renew()
            restore.revert()
    return {"snapshot": PRE_UPGRADE, "version": version}


def _origin(op: SnapshotOperation, snapshot: str, revision: int, size: int) -> Origin:
    found, record = op.known_found, op.known_found.record
    return Origin(
        snapshot=snapshot,
        tenant=op.item["tenant"],
        name=op.item["name"],
        host=found.host.name,
        mode=record.mode or "",
        version=record.version or "",
        service_cidr=record.service_cidr,
        created=now().isoformat(),
        sequence=newest_record.next_sequence(found.namespace_object),
        revision=revision,
        database_bytes=size,
        datastore=op.datastore,
    )


@contextmanager
def _private_directory(context: Context) -> Iterator[Path]:
    """Create a directory for the copied datastore, whose Secrets are encrypted. Their keys never get there."""
    with tempfile.TemporaryDirectory(dir=context.module.tmpdir) as directory:
        yield Path(directory)
