# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_user: identities, rights and kubeconfigs of many users in one go."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action, Inventory, Plan, existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, check_each, do_each
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import ADMINISTRATOR, hub_user
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import Person, parse_person
from ansible_collections.tenantry.kube.plugins.module_utils._users import bindings as _bindings
from ansible_collections.tenantry.kube.plugins.module_utils._users import kubeconfigs as _handout
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import (
    ACCOUNT,
    SECRET,
    Home,
    Place,
    find_places,
    new_and_gone,
    user_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import SECRET_TYPE
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfigs import Handout

HUB_KINDS = (ACCOUNT, f"{_bindings.RBAC}/Role", *_bindings.KINDS)
_SELECTOR = _names.selector("user")
# Users share a namespace with the platform's own administrator: one of his name would be him.
RESERVED = {*_names.RESERVED, ADMINISTRATOR}


@dataclass
class Wanted:
    """One user, as asked for."""

    tenant: str
    name: str
    present: bool
    role: str
    access: dict[str, str] | None  # role by virtual cluster; None: the user's role in all of the tenant's
    person: Person | None  # at an issuer; None: a ServiceAccount
    handouts: list[Handout]
    purge: bool
    hub_access: bool = False
    request: dict | None = None  # of the tenant itself, as hub_user has it
    account: str | None = None  # the UID of the identity on the hub, where it matters
    places: list[Place] = field(default_factory=list)  # all of the tenant's that could be found
    problems: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[str, str]:
        return self.tenant, self.name

    def role_in(self, place: Place) -> str | None:
        """In a virtual cluster that the user has asked for, and could still ask for, the user is its administrator."""
        if not self.present:
            return None
        if isinstance(place, Home):
            return self.role if self.hub_access else None
        if self.access is not None and place.vcluster in self.access:
            return self.access[place.vcluster]
        asked = (place.request.get("user"), place.request.get("account")) == (self.name, self.account)
        if asked and self.account and self.role in ("developer", "admin"):
            return "admin"
        return self.role if self.access is None else None


def run(context: Context, items: list[dict]) -> list[dict]:
    wanted = check_each(items, lambda item: _validated(context, item))
    _refuse_shared_files(wanted)
    hub = context.hub
    _fleet.require_platform(hub)
    _check_tenants(context, wanted)
    fleet = _fleet.hosts(hub, context.cluster)
    places, unreachable = find_places(fleet, {want.tenant for want in wanted})
    _know_requesters(hub, wanted, places)
    places += [Home.of(hub, tenant) for tenant in sorted({want.tenant for want in wanted})]
    try:
        check_each(wanted, lambda want: _assign(context, want, places, unreachable))
        return _reconcile(context, wanted, places)
    finally:
        for place in places:
            place.close()
        fleet.close()


def _validated(context: Context, item: dict) -> Wanted:
    tenant = _names.check_name(item["tenant"], "tenant")
    name = _names.check_name(item["name"], "name", reserved=RESERVED)
    _names.tenant_namespace(tenant)
    present, who = item["state"] == "present", f"user {name} of tenant {tenant}"
    if present and not item["role"]:
        raise TenantryError(f"role: missing for {who}; give viewer, developer, admin or operator")
    person = parse_person(item["oidc"], who) if present else None
    if person and item["hub_access"]:
        raise TenantryError(
            f"hub_access: not together with oidc for {who}, who needs no kubeconfig of ours for the hub; leave one out"
        )
    return Wanted(
        tenant=tenant,
        name=name,
        present=present,
        role=item["role"],
        access=_access(item["access"], item["role"], who),
        person=person,
        handouts=_handout.asked_for(context, item, who),
        purge=item["purge_kubeconfigs"],
        hub_access=item["hub_access"],
        request=item.get("request"),
    )


def _access(given: list[dict] | None, role: str, who: str) -> dict[str, str] | None:
    if given is None:
        return None
    access: dict[str, str] = {}
    for entry in given:
        vcluster = entry["vcluster"]
        if vcluster in access:
            raise TenantryError(f"access: vcluster {vcluster} is given twice for {who}; give each once")
        access[vcluster] = entry["role"] or role
    return access


def _refuse_shared_files(wanted: list[Wanted]) -> None:
    owners: dict[str, str] = {}
    for want in wanted:
        for label in [handout.file.label for handout in want.handouts if handout.file]:
            if label in owners:
                raise TenantryError(
                    f"kubeconfig_path: {label} is given for {owners[label]} and {want.name}; "
                    "give each kubeconfig a place of its own"
                )
            owners[label] = want.name


def _check_tenants(context: Context, wanted: list[Wanted]) -> None:
    """A tenant that is gone took its users' identities along; asking for their absence is fine."""
    spaces = context.hub.list("v1/Namespace", selector=_names.selector("tenant"))
    tenants = {space["metadata"]["labels"][_names.LABEL_TENANT] for space in spaces}
    for want in wanted:
        if want.present and want.tenant not in tenants:
            context.missing(
                TenantryError(
                    f"tenant: {want.tenant} of user {want.name} does not exist"
                    f"{_names.did_you_mean(want.tenant, tenants)}; make it with tenantry.kube.tenant_quota"
                )
            )


def _know_requesters(hub: Cluster, wanted: list[Wanted], places: list[Place]) -> None:
    """A virtual cluster is administered by who asked for it, not by a later user of the same name."""
    if any(place.request for place in places):
        uids = {_owner(account): account["metadata"]["uid"] for account in hub.list(ACCOUNT, selector=_SELECTOR)}
        for want in wanted:
            want.account = uids.get(want.key)


def _assign(context: Context, want: Wanted, places: list[Place], unreachable: dict[str, str]) -> None:
    """Bring user and virtual clusters together."""
    want.places = [place for place in places if place.tenant == want.tenant]
    known = {place.vcluster for place in want.places if not isinstance(place, Home)}
    missing = sorted(set(want.access or ()) - known) if want.present else []
    if missing and not unreachable:
        context.missing(
            TenantryError(
                f"access: user {want.name} cannot enter vcluster {missing[0]}, which tenant {want.tenant} does not have"
                f"{_names.did_you_mean(missing[0], known)}; it has: {', '.join(sorted(known)) or 'none'}"
            )
        )
    if missing or want.access is None or not want.present:
        want.problems += unreachable.values()
    for place in want.places:
        if role := want.role_in(place):
            place.roles[want.name] = role
            if want.person:
                place.persons[want.name] = want.person
                if not place.trusts(want.person):
                    context.missing(_no_issuer(want, place))


def _no_issuer(want: Wanted, place: Place) -> TenantryError:
    of = "groups_claim of the option oidc" if place.issuer else "option oidc"
    return TenantryError(
        f"oidc: user {want.name} cannot enter vcluster {place.vcluster} of tenant {want.tenant} by an issuer, because "
        f"it has none for that; give it the {of} of tenantry.kube.vcluster, or leave it out of access"
    )


def _reconcile(context: Context, wanted: list[Wanted], places: list[Place]) -> list[dict]:
    """Everything is planned before anything is written."""
    hub = context.hub
    users: dict[str, set[str]] = defaultdict(set)
    for want in wanted:
        users[want.tenant].add(want.name)
    plan = _hub_plan(hub, wanted)
    hub.map(lambda place: place.prepare(users[place.tenant]), places)
    for place in places:
        if place.paused:
            context.warn(place.problem)
    if not context.check_mode:
        hub.map(Place.execute, places)
        plan.execute()
    return do_each(hub, wanted, lambda want: want.name, lambda want: _row(context, want, plan))


def _hub_plan(hub: Cluster, wanted: list[Wanted]) -> Plan:
    keys = {want.key for want in wanted}
    # Kubeconfigs in Secrets may be in any namespace; those of a user who stays are looked after one by one.
    gone = {want.key for want in wanted if not want.present}
    kinds = (*HUB_KINDS, SECRET) if gone else HUB_KINDS
    found = existing(hub, kinds, _SELECTOR)
    mine = Inventory(
        obj
        for kind in kinds
        for obj in found.of(kind)
        if (_owner(obj) in gone and obj.get("type") == SECRET_TYPE if kind == SECRET else _owner(obj) in keys)
    )
    desired = [
        obj
        for want in wanted
        if want.present
        for obj in hub_user(
            want.tenant,
            want.name,
            want.role,
            want.access,
            want.person.on_hub() if want.person else None,
            hub_access=want.hub_access,
            request=want.request,
        )
    ]
    plan = Plan.make(hub, desired, owned=_SELECTOR, prune_kinds=kinds, inventory=mine)
    plan.actions += _bindings.inherited(hub, new_and_gone(plan))
    return plan


def _owner(obj: dict) -> tuple[str | None, str | None]:
    return (obj["metadata"].get("labels") or {}).get(_names.LABEL_TENANT), user_of(obj)


def _row(context: Context, want: Wanted, hub_plan: Plan) -> dict:
    mine = [action for action in hub_plan.actions if _concerns(action, want, hub_plan)]
    ready = [place for place in want.places if not place.problem]
    plans = [Plan(context.hub, mine, Inventory()), *(place.plan_of(want.name) for place in ready)]
    actions = [row for plan in plans for row in plan.rows()]
    for place in ready:
        if not place.needs_tokens(want.name):
            actions += place.revocations(want.name)
    entered = [place for place in ready if want.name in place.roles]
    incomplete = bool(want.present and (want.problems or len(ready) < len(want.places)))
    examined = {place.context for place in ready}
    owner = _handout.Owner(want.tenant, want.name, entered, examined, incomplete, want.person)
    kubeconfigs = [_handout.hand_out(context, owner, handout) for handout in want.handouts]
    actions += [action for row in kubeconfigs for action in row.pop("actions")]
    if want.purge and want.present:
        actions += _handout.purge(context, owner, {handout.name for handout in want.handouts if handout.present})
    return {
        "tenant": want.tenant,
        "role": want.role if want.present else None,
        "vclusters": [
            {"vcluster": p.vcluster, "host": p.host.name, "role": p.roles[want.name], "context": p.context}
            for p in entered
            if not isinstance(p, Home)
        ],
        "waiting": [place.vcluster for place in want.places if place.paused and want.name in place.roles],
        "kubeconfig": next((row["path"] for row in kubeconfigs if row.get("path") and row["contexts"]), None),
        "kubeconfigs": kubeconfigs,
        "expires": min((row["expires"] for row in kubeconfigs if row["expires"]), default=None),
        "changed": bool(actions),
        "actions": actions,
        "diff": [plan.diff() for plan in plans if plan.changed],
        "error": "; ".join([*want.problems, *(place.problem for place in want.places if _hinders(want, place))]),
    }


def _hinders(want: Wanted, place: Place) -> bool:
    """A paused virtual cluster can wait for what a user gets there, but not for what a user loses."""
    return bool(place.problem) and not (place.paused and want.name in place.roles)


def _concerns(action: Action, want: Wanted, plan: Plan) -> bool:
    obj = action.after or action.before
    if _owner(obj) != (None, None):
        return _owner(obj) == want.key
    own = [one for one in plan.actions if _owner(one.after or one.before) == want.key]
    accounts = {(_names.tenant_namespace(want.tenant), want.name), *_bindings.ended(own)}
    return any(_bindings.names(action.before, *account) for account in accounts)
