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
    workshop,
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

LIVE = ("present", "restored", "rolled_back")  # these look at virtual clusters, the others at snapshots only


@dataclass
class Job:
    """One item, with what was found for it in the store and on its host."""

    item: dict
    name: str  # of the snapshot
    found: VirtualCluster | None = None
    source_namespace: dict | None = None  # of the virtual cluster whose snapshot it is, where that is known
    snapshots: list[Snapshot] = field(default_factory=list)  # to restore, to delete, or there already
    unreadable: list[BadFile] = field(default_factory=list)  # beside those: files that are left alone
    problem: str | None = None  # of this one, which stops no other
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
    jobs = validate_all(items, _validated, name=_name_of)
    # Where only what volumes keep is asked for, there is no store.
    store = None if all(job.state == "rolled_back" for job in jobs) else options.place.store()
    _do_each(jobs, lambda job: _look_up(store, job))
    for job in jobs:
        for bad in job.unreadable:
            context.warn(f"{job.source}: {bad}. It is ignored")
    if not any(job.state in LIVE for job in jobs):
        return [_row(Call(context, options, store), job) for job in jobs]
    if any(job.state in ("present", "restored") for job in jobs):
        encryption.check_passphrase(options.passphrase)
    with registry.open_fleet(context) as fleet:
        places = FleetState(fleet)
        for problem in places.unreachable.values():
            context.warn(problem)
        _do_each(jobs, lambda job: _place(context, places, job))
        possible = [job for job in jobs if job.problem is None]
        taking = any(job.state == "present" and not job.snapshots for job in possible) and not context.check_mode
        key = encryption.new_key(require(options.passphrase, "the passphrase")) if taking else None
        call = Call(context, options, store, key)
        return context.hub.map(lambda job: _row(call, job), jobs)


def _do_each(jobs: list[Job], do: Callable[[Job], None]) -> None:
    """Run a step for each item. An Obstacle stops that item only."""
    for job in jobs:
        if job.problem is None:
            job.problem, _nothing = attempt(partial(do, job))


def _name_of(item: dict) -> str:
    return f"virtual cluster {item['tenant']}/{item['name']}"


def _validated(item: dict) -> Job:
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
    return Job(item, name)


def _look_up(store: Store | None, job: Job) -> None:
    if job.state == "rolled_back" or store is None:
        job.name = PRE_UPGRADE
    elif job.state == "restored":
        listing = store.list(job.source) if job.name == LATEST else None
        job.unreadable = listing.unreadable if listing else []
        job.snapshots = [store.get(job.source, job.name, listing)]
    elif job.state == "pruned":
        found = store.list(job.namespace)
        job.snapshots, job.unreadable = found.snapshots[: -job.item["keep"]], found.unreadable
    else:
        there = store.find(job.namespace, job.name)
        job.snapshots = [there] if there else []


def _place(context: Context, places: FleetState, job: Job) -> None:
    if job.state not in LIVE:
        return
    job.found = places.found.get(job.namespace)
    source = places.found.get(job.source)
    job.source_namespace = source.namespace_object if source else None
    if job.found is None:
        lost = f", or it is on a member that does not answer: {'; '.join(places.unreachable.values())}"
        error = TenantryError(
            f"there is no such virtual cluster{lost if places.unreachable else ''}. "
            "Create it with tenantry.kube.vcluster first"
        )
        if job.state == "restored":
            context.missing(error)
        else:
            raise error
    elif (place := job.found.record.datastore) not in (None, PLACE):
        raise TenantryError(
            f"datastore: is external ({place}). Back up and restore that database with its own tools, and "
            f"keep the Secret {JOIN_TOKEN} of {job.namespace}, without which k3s cannot read it"
        )


def _row(call: Call, job: Job) -> dict:
    do = {"present": _take, "restored": _restore, "rolled_back": _revert, "absent": _delete, "pruned": _delete}[
        job.state
    ]
    row = {**job.row(), "changed": False, "actions": []}
    if job.unreadable:
        row["unreadable"] = [bad.row() for bad in job.unreadable]
    problem, done = (job.problem, None) if job.problem else attempt(lambda: do(call, job))
    if problem:
        row["error"] = f"{job.namespace}: {problem}"
    row |= done or {}
    row["changed"] = bool(row["actions"])
    return {**row, "diff": _diff(job, row), "seconds": round(time.monotonic() - job.started, 1)}


def _diff(job: Job, row: dict) -> dict:
    lines = [f"{action['action']} {action['kind']} {action['name']}\n" for action in row["actions"]]
    return {"before_header": job.namespace, "after_header": job.namespace, "before": "", "after": "".join(lines)}


def _facts(snapshot: Snapshot) -> dict:
    facts = snapshot.row()
    return {key: facts[key] for key in ("snapshot", "path", "bytes", "sha256", "version", "created")}


def _action(action: str, name: str) -> list[dict]:
    return [{"action": action, "kind": "Snapshot", "name": name}]


def _delete(call: Call, job: Job) -> dict:
    actions: list[dict] = []
    for snapshot in job.snapshots:
        if not call.check_mode:
            call.store.remove(snapshot)
        actions += _action("delete", snapshot.origin.snapshot)
    return {"actions": actions}


def _take(call: Call, job: Job) -> dict:
    if job.snapshots:
        authenticate(job.snapshots[0], call.passphrase)
        return _facts(job.snapshots[0])
    if call.check_mode:
        return {"snapshot": job.name, "actions": _action("create", job.name)}
    context, store, found = call.context, call.store, job.known_found
    key = require(call.key, "the key of the archive")
    secrets = [found.host.get(SECRET, name, job.namespace) for name in (JOIN_TOKEN, PLATFORM_CREDENTIAL)]
    credentials = snapshot_archive.credentials_of(*secrets)
    with _private_directory(context) as directory:
        captured, revision = _captured(call, job, directory)
        context.progress(job.namespace, f"copied and fetched, {captured.frozen} s of it with the API paused")
        origin = _origin(job, job.name, revision, captured.database.stat().st_size)
        with store.draft(job.namespace, job.name, directory) as draft:
            try:
                snapshot_archive.write(draft.file, key, origin, credentials, captured)
            except OSError as error:
                where = store.where(job.namespace)
                raise TenantryError(
                    f"cannot write to {where}: {error.strerror}. Free space there or choose another place"
                ) from None
            snapshot = store.add(origin, key, draft)
    newest.note(found.host, origin)
    context.progress(job.namespace, f"snapshot {job.name} written, {snapshot.bytes} bytes")
    return {**_facts(snapshot), "api_paused_seconds": captured.frozen, "actions": _action("create", job.name)}


def _captured(call: Call, job: Job, directory: Path) -> tuple[DataCopy, int]:
    """Copy the datastore. Return the copy and its revision."""
    if job.datastore == PLACE:
        database = directory / "etcd.db"
        revision = take(job.known_found.host, job.namespace, database, call.deadline())
        return DataCopy(keys_archive([]), database, 0.0), revision
    captured = _captured_of_volume(call, job, directory)
    return captured, sqlite.consolidate(captured.database)


def _captured_of_volume(call: Call, job: Job, directory: Path) -> DataCopy:
    """Copy from the server's container or, if it is stopped, from a maintenance pod."""
    host, namespace, seconds = job.known_found.host, job.namespace, call.options.wait_timeout
    stateful_set = host.get(STATEFUL_SET, SERVER, namespace)
    if stateful_set is None:
        raise TenantryError(f"StatefulSet {SERVER} is missing. Run tenantry.kube.vcluster for it first")
    if stateful_set["spec"]["replicas"] == 0:
        with workshop(host, stateful_set, call.deadline()) as container:
            return capture(container, job.name, directory, seconds)
    server = pod_exec.Container(host, namespace, f"{SERVER}-0", CONTAINER)
    return capture(server, job.name, directory, seconds)


def _restore(call: Call, job: Job) -> dict:
    context, snapshot = call.context, job.snapshots[0]
    archive_key = authenticate(snapshot, call.passphrase)
    if job.name == LATEST:
        newest.check_unreadable(job.source_namespace, snapshot.origin, job.unreadable)
        warning = newest.check(job.source_namespace, snapshot.origin)
        if warning:
            context.warn(warning)
    with _private_directory(context) as directory:
        with call.store.fetch(snapshot, directory) as archive:
            content = snapshot_archive.read(snapshot, archive, archive_key, directory)
        actions = [{"action": "restore", "kind": "Snapshot", "name": snapshot.origin.snapshot}]
        context.progress(job.namespace, f"snapshot {snapshot.origin.snapshot} verified")
        if job.found is None:  # in the check of what a task before this one would make
            return {**_facts(snapshot), "actions": actions}
        restore = _restore_of(call, job, snapshot.origin, directory)
        restore.check()
        verified = {} if context.check_mode else {"verified": restore.execute(content)}
        return {**_facts(snapshot), **verified, "version": restore.version, "actions": actions}


def _restore_of(call: Call, job: Job, origin: Origin, directory: Path) -> Restore:
    kind = EtcdRestore if job.datastore == PLACE else Restore
    progress = partial(call.context.progress, job.namespace)
    return kind(job.known_found, origin, call.deadline(), progress, directory)


def _revert(call: Call, job: Job) -> dict:
    version = job.known_found.annotations.get(BEFORE_ANNOTATION)
    if version is None:
        raise TenantryError("state: rolled_back requires a previous upgrade, and there was none. Use state: restored")
    origin = _origin(job, PRE_UPGRADE, 0, 0)
    with _private_directory(call.context) as directory:
        restore = _restore_of(call, job, replace(origin, version=version), directory)
        restore.check()
        if not call.check_mode:
            restore.revert()
    actions = [{"action": "restore", "kind": "Snapshot", "name": f"{PRE_UPGRADE} ({version})"}]
    return {"snapshot": PRE_UPGRADE, "version": version, "actions": actions}


def _origin(job: Job, snapshot: str, revision: int, size: int) -> Origin:
    found, record = job.known_found, job.known_found.record
    return Origin(
        snapshot=snapshot,
        tenant=job.item["tenant"],
        name=job.item["name"],
        host=found.host.name,
        mode=record.mode or "",
        version=record.version or "",
        service_cidr=record.service_cidr,
        created=now().isoformat(),
        sequence=newest.next_sequence(found.namespace_object),
        revision=revision,
        database_bytes=size,
        datastore=job.datastore,
    )


@contextmanager
def _private_directory(context: Context) -> Iterator[Path]:
    """Create a directory for the copied datastore, whose Secrets are encrypted. Their keys never get there."""
    with tempfile.TemporaryDirectory(dir=context.module.tmpdir) as directory:
        yield Path(directory)
