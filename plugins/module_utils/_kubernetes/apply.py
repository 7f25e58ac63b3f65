# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Compare desired objects with live ones, and apply the difference. Check mode stops before the apply."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    Obstacle,
    QuotaExceeded,
    require,
)
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import LABEL_MANAGED_BY, MANAGED_BY, is_ours
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import THREADS, Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.diff import (
    additions,
    content_of,
    differences,
    managed_part,
    normal,
    redacted,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CLUSTER_ROLE_BINDING,
    DAEMON_SET,
    DEPLOYMENT,
    FLOW_SCHEMA,
    JOB,
    NAMESPACE,
    POD,
    PRIORITY_CLASS,
    RBAC_KINDS,
    RESOURCE_QUOTA,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    STATEFUL_SET,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
    is_namespaced,
    kind_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import (
    SHORT_PAUSE,
    Deadline,
    is_forbidden,
    retry,
)

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # reported once, by _module.main()

OURS = f"{LABEL_MANAGED_BY}={MANAGED_BY}"

# The order of kinds: rights before the objects that need them, limits before workloads.
_BEFORE = (RESOURCE_QUOTA, SERVICE_ACCOUNT, PRIORITY_CLASS)
_WORKLOADS = (DAEMON_SET, DEPLOYMENT, STATEFUL_SET, JOB, POD)

# Immutable fields: a change replaces the object.
_IMMUTABLE = {
    CLUSTER_ROLE_BINDING: ("roleRef",),
    ROLE_BINDING: ("roleRef",),
    PRIORITY_CLASS: ("preemptionPolicy", "value"),
}

# The path reported for an object that is replaced by another of its name.
_UID = "uid"

# Fields that others add to these kinds change what they allow or deny. An apply would leave them, so they are removed.
_CLOSED = frozenset(
    {
        *RBAC_KINDS,
        VALIDATING_ADMISSION_POLICY,
        VALIDATING_ADMISSION_POLICY_BINDING,
        FLOW_SCHEMA,
    }
)

# Listed in one namespace at a time: a member's platform may not see the Secrets of others.
_PRIVATE = frozenset({SECRET})

COUNTED_AHEAD = 2  # seconds
RIGHTS_DELAY = 5  # seconds an API server may take to see a RoleBinding it has just stored


class Key(NamedTuple):
    """Identifies an object within its cluster."""

    kind: str
    namespace: str | None
    name: str


def key_of(obj: dict) -> Key:
    return Key(kind_of(obj), obj["metadata"].get("namespace"), obj["metadata"]["name"])


def _phase(kind: str) -> int:
    if kind == NAMESPACE:
        return 0
    if kind in _BEFORE or kind in RBAC_KINDS:
        return 1
    return 3 if kind in _WORKLOADS else 2


@dataclass
class Action:
    """One change of one object."""

    kind: str
    namespace: str | None
    name: str
    action: str  # create, update or delete
    paths: list[str] = field(default_factory=list)
    before: dict | None = None  # live
    after: dict | None = None  # desired
    is_extended: bool = False  # by others, with what an apply would leave

    @property
    def key(self) -> Key:
        return Key(self.kind, self.namespace, self.name)

    @property
    def live(self) -> dict:
        """The existing object of an update or a deletion."""
        return require(self.before, f"the live {self.kind} {self.name}")

    @property
    def desired(self) -> dict:
        """The desired object of a creation or an update."""
        return require(self.after, f"the desired {self.kind} {self.name}")

    def row(self) -> dict[str, Any]:
        """Return the action as modules return it."""
        row: dict[str, Any] = {"action": self.action, "kind": self.kind.rpartition("/")[2], "name": self.name}
        if self.namespace:
            row["namespace"] = self.namespace
        if self.paths:
            row["paths"] = self.paths
        return row

    @property
    def replaces(self) -> bool:
        """Whether the object must be deleted and created again, because an immutable field changes."""
        roots = {path.partition(".")[0] for path in self.paths}
        return self.action == "update" and not roots.isdisjoint({_UID, *_IMMUTABLE.get(self.kind, ())})


class Inventory:
    """Existing objects by kind, namespace and name."""

    def __init__(self, objects: Iterable[dict] = ()) -> None:
        self._objects: dict[Key, dict] = {key_of(obj): obj for obj in objects}

    def find(self, kind: str, name: str, namespace: str | None = None) -> dict | None:
        return self.at(Key(kind, namespace, name))

    def at(self, key: Key) -> dict | None:
        return self._objects.get(key)

    def of(self, kind: str, namespace: str | None = None) -> list[dict]:
        """Return the objects of a kind, in one namespace or in all."""
        return [obj for key, obj in self._objects.items() if key.kind == kind and namespace in (None, key.namespace)]

    def add(self, obj: dict) -> None:
        self._objects[key_of(obj)] = obj

    def remove(self, key: Key) -> None:
        self._objects.pop(key, None)


def existing(
    cluster: Cluster, kinds: Iterable[str], selector: str, namespaces: Iterable[str] | None = None
) -> Inventory:
    """List each kind once, or once in each of `namespaces` if given."""
    within: list[str | None] = [None] if namespaces is None else list(namespaces)
    lists = [(kind, namespace) for kind in kinds for namespace in (within if is_namespaced(kind) else [None])]
    return _list_all(cluster, lists, selector)


def _list_all(cluster: Cluster, lists: Sequence[tuple[str, str | None]], selector: str) -> Inventory:
    answers = cluster.map(lambda one: cluster.list(one[0], one[1], selector), lists)
    return Inventory(obj for answer in answers for obj in answer)


class Plan:
    """The actions that make live objects match the desired ones. The same in check mode."""

    def __init__(self, cluster: Cluster, actions: list[Action], objects: Inventory) -> None:
        self.cluster = cluster
        self.actions = actions
        self.objects = objects
        # The API server may reject an object until it has seen the new rights or quota.
        self._grants = any(action.kind in RBAC_KINDS or action.kind == RESOURCE_QUOTA for action in actions)

    @classmethod
    def make(
        cls,
        cluster: Cluster,
        desired: list[dict],
        *,
        owned: str | None = None,
        prune_kinds: Sequence[str] = (),
        namespace: str | None = None,
        inventory: Inventory | None = None,
    ) -> Plan:
        """Compare, and return the plan.

        `owned` is a label selector: objects of `prune_kinds` that it selects (in `namespace`, if given) and that are
        not desired are deleted. `inventory` replaces the LISTs if one was made for many plans. Raise an Obstacle for an
        object without the platform's label, or a namespace that is being deleted.
        """
        wanted = {key_of(obj): normal(obj) for obj in desired}
        found = _find(cluster, wanted, owned or OURS, prune_kinds, namespace, inventory)
        candidates = (_action(key, obj, found.at(key)) for key, obj in wanted.items())
        actions = [action for action in candidates if action]
        for kind in prune_kinds if owned else ():
            for obj in found.of(kind, namespace if is_namespaced(kind) else None):
                if key_of(obj) not in wanted and is_ours(obj):
                    actions.append(Action(*key_of(obj), "delete", before=obj))
        return cls(cluster, actions, found)

    @property
    def changed(self) -> bool:
        return bool(self.actions)

    def replace(self, obj: dict) -> None:
        """Delete and recreate the live object of this name instead of updating it."""
        key = key_of(obj)
        others = [action for action in self.actions if action.key != key]
        self.actions = [*others, Action(*key, "update", [_UID], before=self.objects.at(key), after=normal(obj))]

    def deletes(self, kind: str, name: str) -> bool:
        """Return whether the plan deletes this object."""
        return any((a.action, a.kind, a.name) == ("delete", kind, name) for a in self.actions)

    def rows(self) -> list[dict[str, Any]]:
        return [action.row() for action in self.actions]

    def object(self, kind: str, name: str, namespace: str | None = None) -> dict | None:
        """Return the object: before execute() the live one, after it the applied one. None if there is none."""
        return self.objects.find(kind, name, namespace)

    def diff(self) -> dict[str, str]:
        """Return the managed fields before and after, for --diff, without the content of Secrets."""
        before, after = [], []
        for action in self.actions:
            old = managed_part(action.before, action.after or action.before) if action.before else None
            title = "/".join(part for part in (action.kind, action.namespace, action.name) if part)
            before.append(_document(title, redacted(old, action.after, mark="before")))
            after.append(_document(title, redacted(action.after, old, mark="after")))
        return {
            "before_header": self.cluster.name,
            "after_header": self.cluster.name,
            "before": "".join(before),
            "after": "".join(after),
        }

    def execute(self) -> None:
        """Apply in phases by kind, concurrently within each. Delete last."""
        phases: dict[int, list[Action]] = defaultdict(list)
        for action in self.actions:
            phase = _phase(action.kind)
            phases[10 - phase if action.action == "delete" else phase].append(action)
        for phase in sorted(phases):
            self.cluster.map(self._execute, phases[phase])

    def _execute(self, action: Action) -> None:
        if action.action == "delete":
            self.cluster.delete(action.kind, action.name, action.namespace, uid=action.live["metadata"]["uid"])
            self.objects.remove(Key(action.kind, action.namespace, action.name))
            return
        if action.replaces:
            self.cluster.delete(action.kind, action.name, action.namespace, uid=action.live["metadata"]["uid"])
        self.objects.add(self._apply(action))

    def _apply(self, action: Action) -> dict:
        # A creation is not forced: if somebody else creates the object meanwhile, the server reports a conflict.
        force = action.action == "update" and not action.replaces
        if force and action.is_extended:
            self.cluster.merge(action.kind, action.name, action.namespace, _reduced(action))
        return retry(
            lambda: self.cluster.apply(action.desired, force=force),
            lambda error: is_forbidden(error) and (self._grants or self._is_made_meanwhile(action, error)),
            Deadline(RIGHTS_DELAY),
        )

    def _is_made_meanwhile(self, action: Action, refused: ApiError) -> bool:
        """Return whether a concurrent run created the object, so that a quota for a single one rejected ours.

        A quota counts an object some moments before it can be read.
        """
        if action.action != "create" or not isinstance(refused, QuotaExceeded):
            return False
        end = Deadline(COUNTED_AHEAD)
        while not self.cluster.get(action.kind, action.name, action.namespace):
            if end.expired:
                return False
            end.pause(SHORT_PAUSE)
        return True


def _find(
    cluster: Cluster,
    wanted: dict[Key, dict],
    selector: str,
    prune_kinds: Sequence[str],
    namespace: str | None,
    inventory: Inventory | None,
) -> Inventory:
    """Return the live objects among the desired and prunable ones. A GET finds those without the platform's label."""
    namespaces = [key for key in wanted if key.kind == NAMESPACE]
    if inventory is None and len(namespaces) > THREADS:
        inventory = existing(cluster, [NAMESPACE], selector)
    found = inventory or Inventory()
    _probe(cluster, [key for key in namespaces if not found.at(key)], found)
    new = {key.name for key in namespaces if not found.at(key)}
    _check_not_terminating(found, {key.namespace for key in wanted} | {key.name for key in namespaces})

    rest = [key for key in wanted if key.kind != NAMESPACE and key.namespace not in new]
    if inventory is None or len(namespaces) > THREADS:
        lists = _lists(rest, [] if namespace in new else prune_kinds, namespace)
        for obj in _list_all(cluster, lists, selector)._objects.values():
            found.add(obj)
    _probe(cluster, [key for key in rest if not found.at(key)], found)
    return found


def _lists(keys: Iterable[Key], prune_kinds: Sequence[str], namespace: str | None) -> list[tuple[str, str | None]]:
    """Return the LISTs to make: one per kind, or one per namespace for kinds with private content."""
    places: dict[str, set[str | None]] = defaultdict(set)
    for key in keys:
        places[key.kind].add(key.namespace)
    for kind in prune_kinds:
        places[kind].add(namespace if is_namespaced(kind) else None)
    everywhere = {kind for kind, where in places.items() if None in where or (len(where) > 1 and kind not in _PRIVATE)}
    return [
        (kind, where)
        for kind in places
        for where in ([None] if kind in everywhere else sorted(filter(None, places[kind])))
    ]


def _probe(cluster: Cluster, keys: list[Key], found: Inventory) -> None:
    answers = cluster.map(lambda key: cluster.get(key.kind, key.name, key.namespace), keys)
    for key, obj in zip(keys, answers, strict=True):
        if obj is None:
            continue
        if not is_ours(obj):
            what = "/".join(part for part in (key.namespace, key.name) if part)
            raise Obstacle(
                f"{key.kind.rpartition('/')[2]} {what} on {cluster.name} exists and does not belong to the platform "
                f"(no label {OURS}). Remove it or choose another name"
            )
        found.add(obj)


def _check_not_terminating(found: Inventory, names: set[str | None]) -> None:
    for obj in found.of(NAMESPACE):
        name = obj["metadata"]["name"]
        if name in names and obj["metadata"].get("deletionTimestamp"):
            raise Obstacle(f"namespace {name} is still being deleted. Run again when it is gone")


def _action(key: Key, obj: dict, live: dict | None) -> Action | None:
    if not is_ours(obj):
        raise ValueError(f"rendered without the label {OURS}: {key}")
    if live is None:
        return Action(*key, "create", after=obj)
    paths, more = differences(obj, live), additions(obj, live) if key.kind in _CLOSED else []
    paths += [path for path in more if path not in paths]
    return Action(*key, "update", paths, before=live, after=obj, is_extended=bool(more)) if paths else None


def _reduced(action: Action) -> dict:
    """Return the patch that removes fields which others added."""
    body: dict[str, Any] = {}
    for key in content_of(action.live):
        wanted = action.desired.get(key)
        body[key] = {"$patch": "replace", **wanted} if isinstance(wanted, dict) else wanted
    return body


def _document(title: str, obj: dict | None) -> str:
    if obj is None:
        return ""
    clean = {key: value for key, value in obj.items() if key != "status"}
    noise = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "uid")
    clean["metadata"] = {key: value for key, value in clean["metadata"].items() if key not in noise}
    return f"--- # {title}\n{yaml.safe_dump(clean, sort_keys=True)}"
