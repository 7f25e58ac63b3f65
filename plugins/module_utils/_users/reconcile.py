# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module tenant_user: identities, rights and kubeconfigs of many users."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action, Inventory, Plan, existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    NAMESPACE,
    ROLE,
    SECRET,
    SERVICE_ACCOUNT,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import is_forbidden
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    run_concurrently,
    run_each,
    validate_all,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    OnRecord,
    hub_user,
)
from ansible_collections.tenantry.kube.plugins.module_utils._tenant import promises, records
from ansible_collections.tenantry.kube.plugins.module_utils._users import bindings
from ansible_collections.tenantry.kube.plugins.module_utils._users import former_administrators as users_former
from ansible_collections.tenantry.kube.plugins.module_utils._users import kubeconfigs as users_kubeconfigs
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import (
    VClusterAccess,
    find_accessible,
    new_and_gone,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.desired import (
    DesiredUser,
    refuse_shared_files,
    validated,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import SECRET_TYPE
from ansible_collections.tenantry.kube.plugins.module_utils._users.tenant_namespace import TenantNamespaceAccess
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of

HUB_KINDS = (SERVICE_ACCOUNT, ROLE, *bindings.KINDS)
_SELECTOR = naming.selector("user")


def run(context: Context, items: list[dict]) -> list[dict]:
    """Create, update or delete users, and return a row for each."""
    wanted = validate_all(items, lambda item: validated(context, item))
    refuse_shared_files(wanted)
    tenants = sorted({want.tenant for want in wanted})
    with registry.open_fleet(context) as fleet, ExitStack() as at_the_end:
        _check_tenants(context, wanted)
        places, unreachable = find_accessible(fleet, set(tenants))
        _know_requesters(fleet.hub, wanted, places)
        places += [TenantNamespaceAccess.of(fleet.hub, tenant) for tenant in tenants]
        for place in places:
            at_the_end.callback(place.close)
        silent = _silent(fleet.hub, tenants, unreachable)
        validate_all(wanted, lambda want: _assign(context, want, places, silent[want.tenant]))
        notes = users_former.read(fleet.hub, tenants)
        for want in wanted:
            want.note, want.unasked = notes.get(want.key), bool(silent[want.tenant])
        return _reconcile(context, wanted, places)


def _silent(hub: Cluster, tenants: Iterable[str], unreachable: dict[str, str]) -> dict[str, dict[str, str]]:
    """Return, by tenant, the hosts that do not answer and may have virtual clusters of it."""
    known = records.read(hub) if unreachable else {}
    return {tenant: promises.concerned(known.get(tenant), unreachable) for tenant in tenants}


def _check_tenants(context: Context, wanted: list[DesiredUser]) -> None:
    """Raise a TenantryError for an unknown tenant, unless its users are to be absent: they went with it."""
    spaces = context.hub.list(NAMESPACE, selector=naming.selector("tenant"))
    tenants = {space["metadata"]["labels"][naming.LABEL_TENANT] for space in spaces}

    def check(want: DesiredUser) -> None:
        if want.present and want.tenant not in tenants:
            context.missing(
                TenantryError(
                    f"tenant: {want.tenant} of user {want.name} does not exist"
                    f"{naming.did_you_mean(want.tenant, tenants)}. Create it with tenantry.kube.tenant_quota"
                )
            )

    validate_all(wanted, check)


def _know_requesters(hub: Cluster, wanted: list[DesiredUser], places: list[VClusterAccess]) -> None:
    """Record which account requested a virtual cluster: a later user of that name is not its administrator."""
    if any(place.request for place in places):
        accounts = hub.list(SERVICE_ACCOUNT, selector=_SELECTOR)
        uids = {_owner(account): account["metadata"]["uid"] for account in accounts}
        for want in wanted:
            want.account = uids.get(want.key)


def _assign(context: Context, want: DesiredUser, places: list[VClusterAccess], unreachable: dict[str, str]) -> None:
    """Assign users to virtual clusters by their roles."""
    want.places = [place for place in places if place.tenant == want.tenant]
    known = {place.vcluster for place in want.places if not isinstance(place, TenantNamespaceAccess)}
    missing = sorted(set(want.access or ()) - known) if want.present else []
    if missing and not unreachable:
        context.missing(
            TenantryError(
                f"access: user {want.name} cannot enter vcluster {missing[0]}, which tenant {want.tenant} does not have"
                f"{naming.did_you_mean(missing[0], known)}; it has: {', '.join(sorted(known)) or 'none'}"
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


def _no_issuer(want: DesiredUser, place: VClusterAccess) -> TenantryError:
    of = "groups_claim of the option oidc" if place.issuer else "option oidc"
    return TenantryError(
        f"oidc: user {want.name} cannot enter vcluster {place.vcluster} of tenant {want.tenant} with an issuer, "
        f"because it has none. Set {of} of tenantry.kube.vcluster, or omit it from access"
    )


def _reconcile(context: Context, wanted: list[DesiredUser], places: list[VClusterAccess]) -> list[dict]:
    """Plan everything before anything is written."""
    hub = context.hub
    known = _plan_hub(hub, wanted)
    users: dict[str, set[str]] = defaultdict(set)
    revoked: dict[str, set[str]] = defaultdict(set)
    for want in wanted:
        if want.plan:
            users[want.tenant].add(want.name)
            if want.revoke:
                revoked[want.tenant].add(want.name)
            for place in want.places if want.present and not want.before else ():
                place.fresh.add(want.name)
        else:  # who is not on record gets no rights either
            for place in want.places:
                place.roles.pop(want.name, None)
    run_concurrently(lambda place: place.prepare(users[place.tenant], revoked[place.tenant]), places)
    for place in places:
        if place.paused and place.problem:
            context.warn(place.problem)
    if not context.check_mode:
        run_concurrently(VClusterAccess.execute, places)
    else:  # what a user loses is still there
        for want in wanted:
            known[want.tenant] += want.before
    run_concurrently(lambda place: place.look(known[place.tenant]), places)
    for place in places:
        if place.former and not place.problem:
            context.warn(_left_behind(place))
    return run_each(hub, wanted, _known, lambda want: _row(context, want))


def _known(want: DesiredUser) -> dict:
    return {"name": want.name, "tenant": want.tenant, "actions": want.actions}


def _left_behind(place: VClusterAccess) -> str:
    """Warn about what a removed administrator may have left in virtual clusters."""
    return (
        f"{place.where} of tenant {place.tenant}: {', '.join(place.former)} was administrator there, and may have left "
        f"a way in: {place.left or 'nothing that can be listed'}. tenant_user_info tells how to end each (findings); "
        "tokens of other accounts cannot be listed and end with their ServiceAccount: see Removing an administrator in "
        "docs/architecture.md"
    )


def _plan_hub(hub: Cluster, wanted: list[DesiredUser]) -> dict[str, list[OnRecord]]:
    """Plan the changes of each user on the hub. An Obstacle fails that user only.

    Return the users that will exist, by tenant.
    """
    # Those of a user who stays are looked after one by one.
    gone = {want.key for want in wanted if not want.present}
    kinds = (*HUB_KINDS, SECRET) if gone else HUB_KINDS
    found: dict[tuple[str | None, str | None], list[dict]] = defaultdict(list)
    objects = existing(hub, HUB_KINDS, _SELECTOR)
    for kind in HUB_KINDS:
        for obj in objects.of(kind):
            found[_owner(obj)].append(obj)
    for obj in _stored_kubeconfigs(hub, {tenant for tenant, _name in gone}):
        if _owner(obj) in gone:
            found[_owner(obj)].append(obj)

    def make(want: DesiredUser) -> None:
        problem, want.plan = attempt(lambda: _hub_plan(hub, want, kinds, found[want.key]))
        if problem:
            want.problems.append(problem)

    hub.map(make, wanted)
    plans = [want.plan for want in wanted if want.plan]
    concerned = {account for plan in plans for account in new_and_gone(plan)}
    for action in bindings.inherited(hub, concerned):
        for want in wanted:
            if want.plan and _concerns(action, want, want.plan):
                want.plan.actions.append(action)
    known: dict[str, list[OnRecord]] = defaultdict(list)
    named = {want.key for want in wanted}
    for account in objects.of(SERVICE_ACCOUNT):
        if _owner(account) not in named:
            known[account["metadata"]["labels"][naming.LABEL_TENANT]].append(OnRecord.of(account))
    for want in wanted:
        known[want.tenant] += [want.on_record] if want.present else []
    return known


def _stored_kubeconfigs(hub: Cluster, tenants: set[str]) -> list[dict]:
    """Return the Secrets with kubeconfigs of these tenants' users, which may be in any namespace.

    The reconciler's account may not read those of other namespaces. It reads those of the tenants.
    """
    try:
        secrets = hub.list(SECRET, selector=_SELECTOR) if tenants else []
    except ApiError as error:
        if not is_forbidden(error):
            raise
        secrets = [one for name in tenants for one in hub.list(SECRET, naming.tenant_namespace(name), _SELECTOR)]
    return [one for one in secrets if one.get("type") == SECRET_TYPE]


def _hub_plan(hub: Cluster, want: DesiredUser, kinds: Sequence[str], found: list[dict]) -> Plan:
    desired = []
    if want.present:
        desired = hub_user(
            want.tenant,
            want.name,
            want.role,
            want.access,
            want.person,
            hub_access=want.hub_access,
            request=want.request,
        )
    plan = Plan.make(hub, desired, owned=_SELECTOR, prune_kinds=kinds, inventory=Inventory(found))
    _end_administration(want, plan)
    return plan


def _end_administration(want: DesiredUser, plan: Plan) -> None:
    """Record where users stop being administrators, by the hub's record.

    In a virtual cluster, an administrator can delete or rename all traces.
    """
    account = plan.object(SERVICE_ACCOUNT, want.name, naming.tenant_namespace(want.tenant))
    want.before = [OnRecord.of(account)] if account else []
    for place in want.places:
        former = [*want.before, *([want.note.before] if want.note and place.context not in want.note.done else [])]
        was = {one.role_in(place.vcluster, place.request) for one in former}
        if "admin" in was and want.role_in(place) != "admin" and not isinstance(place, TenantNamespaceAccess):
            place.ending.add(want.name)


def _note(hub: Cluster, want: DesiredUser) -> None:
    """Note it for the next run if a host did not answer and has no record of its own."""
    of_user = {place.context: place for place in want.places if not isinstance(place, TenantNamespaceAccess)}
    done = {name for name, place in of_user.items() if not place.problem or place.is_recorded}
    is_less = (want.role if want.present else None, want.access) != users_former.rights(want.note, want.before)
    note = None
    if is_less and (want.unasked or len(done) < len(of_user)):
        note = users_former.due(want.note, want.before, done)
    if note != want.note:
        users_former.write(hub, want.tenant, want.name, note)


def _owner(obj: dict) -> tuple[str | None, str | None]:
    return (obj["metadata"].get("labels") or {}).get(naming.LABEL_TENANT), user_of(obj)


def _row(context: Context, want: DesiredUser) -> dict:
    if want.plan is None:
        raise TenantryError("; ".join(want.problems))
    ready = [place for place in want.places if not place.problem]
    plans = [want.plan]
    plans += [place.plan_of(want.name) for place in want.places if not place.problem or place.begun]
    plans += [place.renewal.shown for place in ready if place.renewal and place.renewal.first == want.name]
    want.actions += [row for plan in plans for row in plan.rows()]
    want.actions += [row for place in ready for row in place.revocations(want.name)]
    if not context.check_mode:
        _note(context.hub, want)
        want.plan.execute()
    entered = [place for place in ready if want.name in place.roles]
    incomplete = bool(want.present and (want.problems or len(ready) < len(want.places)))
    examined = {place.context for place in ready}
    owner = users_kubeconfigs.Owner(want.tenant, want.name, entered, examined, incomplete, want.person)
    kubeconfigs = []
    for requested in want.requested_kubeconfigs:
        kubeconfigs.append(row := users_kubeconfigs.write_kubeconfig(context, owner, requested))
        want.actions += row.pop("actions")
    problems = _hindrances(want) + [problem for row in kubeconfigs for problem in row.pop("problems")]
    problems += [(place.context, place.unrevoked[want.name]) for place in ready if want.name in place.unrevoked]
    if want.purge and want.present:
        kept = {requested.name for requested in want.requested_kubeconfigs if requested.present}
        users_kubeconfigs.purge(context, owner, kept, want.actions)
    return {
        **_access_of(want, entered),
        "remains": _leftover_warning(want, ready),
        "kubeconfig": next((row["path"] for row in kubeconfigs if row.get("path") and row["contexts"]), None),
        "kubeconfigs": kubeconfigs,
        "expires": min((row["expires"] for row in kubeconfigs if row["expires"]), default=None),
        "diff": [plan.diff() for plan in plans if plan.changed],
        "failed_contexts": {context for context, _problem in problems},
        "error": "; ".join(dict.fromkeys([*want.problems, *(problem for _context, problem in problems)])),
    }


def _access_of(want: DesiredUser, entered: list[VClusterAccess]) -> dict:
    return {
        "tenant": want.tenant,
        "role": want.role if want.present else None,
        "vclusters": [
            {"vcluster": p.vcluster, "host": p.host.name, "role": p.roles[want.name], "context": p.context}
            for p in entered
            if not isinstance(p, TenantNamespaceAccess)
        ],
        "pending_vclusters": [place.vcluster for place in want.places if place.paused and want.name in place.roles],
    }


def _leftover_warning(want: DesiredUser, ready: list[VClusterAccess]) -> list[dict]:
    left = [place for place in ready if want.name in place.former]
    return [{"vcluster": place.vcluster, **finding} for place in left for finding in place.findings]


def _hindrances(want: DesiredUser) -> list[tuple[str, str]]:
    """Return errors by context. For a paused virtual cluster, only the loss of rights is one."""
    return [
        (place.context, place.problem)
        for place in want.places
        if place.problem and not (place.paused and want.name in place.roles)
    ]


def _concerns(action: Action, want: DesiredUser, plan: Plan) -> bool:
    """Return whether someone else's binding is changed for this user."""
    accounts = {(naming.tenant_namespace(want.tenant), want.name), *bindings.ended(plan.actions)}
    return any(bindings.names(action.live, *account) for account in accounts)
