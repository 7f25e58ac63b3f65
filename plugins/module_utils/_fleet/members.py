# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module fleet_member: join a cluster to the fleet, or remove it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities as _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import member_manifests as _render_member
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import network_policy_probe as _network_probe
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import registry as _fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens as _credentials
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as _kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import insist, is_forbidden, wait_gone
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, check_each, do_each
from ansible_collections.tenantry.kube.plugins.module_utils._platform import admission_policies as _render_admission
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import HUB_ANNOTATION

RBAC = "rbac.authorization.k8s.io/v1"
KINDS = (
    "v1/Namespace",
    "v1/ServiceAccount",
    f"{RBAC}/ClusterRole",
    f"{RBAC}/ClusterRoleBinding",
    f"{RBAC}/Role",
    f"{RBAC}/RoleBinding",
    "scheduling.k8s.io/v1/PriorityClass",
    *_render_admission.KINDS,
)
# The authorizer of an API server learns of a new binding by a watch, a moment after it was made.
RBAC_DELAY = 10


@dataclass
class Wanted:
    """One item, valid as far as that can be told without asking anybody."""

    name: str
    present: bool
    kubeconfig: dict | None
    lifetime: int
    force: bool
    cluster: Cluster | None = None
    identity: str = ""
    version: str = ""
    problem: str | None = None  # why it does not answer


def run(context: Context, items: list[dict]) -> list[dict]:
    wanted = check_each(items, _validated)
    hub = context.hub
    _fleet.require_platform(hub)
    fleet = _fleet.hosts(hub, context.cluster)
    try:
        hub.map(lambda want: _contact(context, want), wanted)
        _refuse_doubles(fleet, wanted)
        return do_each(hub, wanted, lambda want: want.name, lambda want: _row(context, fleet, want))
    finally:
        for want in wanted:
            if want.cluster:
                want.cluster.close()
        fleet.close()


def _validated(item: dict) -> Wanted:
    name = _names.check_name(item["name"], "name")
    path = item["member_kubeconfig"]
    if item["state"] == "present" and not path:
        raise TenantryError(
            f"member_kubeconfig: missing for member {name}; give the path of a kubeconfig of an administrator of it"
        )
    return Wanted(
        name=name,
        present=item["state"] == "present",
        kubeconfig=path and _kubeconfig.load(path, item["member_context"], field="member_kubeconfig", trusted=False),
        lifetime=_quantities.seconds(item["credential_lifetime"], "credential_lifetime", "1d", "3650d"),
        force=item["force"],
    )


def _contact(context: Context, want: Wanted) -> None:
    """Find out who the cluster is, or why it does not answer."""
    if want.kubeconfig is None:
        return
    cluster = context.cluster(want.kubeconfig, want.name)
    try:
        want.identity = cluster.identity()
        want.version = _fleet.check_version(cluster, f"member_kubeconfig of {want.name}")
        want.cluster = cluster
    except ApiError as error:
        cluster.close()
        want.problem = f"member {want.name}: {error}"


def _refuse_doubles(fleet: _fleet.Fleet, wanted: list[Wanted]) -> None:
    """One cluster has one name in the fleet, told by the UID of its kube-system namespace."""
    names = {member.identity: member.name for member in fleet.members.values()}
    hub = fleet.hub.identity()
    for want in wanted:
        if not (want.present and want.cluster):
            continue
        if want.identity == hub:
            raise TenantryError(
                f"member {want.name}: its cluster is the hub itself, in the fleet already as {_names.HUB}"
            )
        other = names.setdefault(want.identity, want.name)
        if other != want.name:
            raise TenantryError(
                f"member {want.name}: its cluster is the member {other} already (same kube-system UID); "
                f"use that name, or remove {other} first"
            )
        known = fleet.members.get(want.name)
        if known and known.identity != want.identity:
            raise TenantryError(
                f"member {want.name}: the name is taken by the cluster at {known.server}; "
                "choose another name, or remove that member first"
            )
        _refuse_strangers(want, hub)


def _refuse_strangers(want: Wanted, hub_identity: str) -> None:
    """A hub, a virtual cluster or a member of another fleet cannot be joined."""
    namespace = _fleet.platform_namespace(want.cluster)
    component = _fleet.component(namespace)
    if component == "platform":
        raise TenantryError(f"member {want.name}: its cluster is a hub of its own; remove the platform from it first")
    if component == "user":
        raise TenantryError(f"member {want.name}: its cluster is a virtual cluster, which cannot be a host")
    if component == "member" and _hub_of(namespace) != hub_identity:
        raise TenantryError(f"member {want.name}: its cluster belongs to another hub; remove it from that fleet first")


def _hub_of(namespace: dict) -> str | None:
    return (namespace["metadata"].get("annotations") or {}).get(HUB_ANNOTATION)


def _row(context: Context, fleet: _fleet.Fleet, want: Wanted) -> dict:
    if want.problem and (want.present or not want.force):
        raise TenantryError(want.problem)
    return _join(context, fleet, want) if want.present else _leave(context, fleet, want)


def _join(context: Context, fleet: _fleet.Fleet, want: Wanted) -> dict:
    hub, member, cluster = fleet.hub, fleet.members.get(want.name), want.cluster
    known = _network_probe.known_of(_fleet.platform_namespace(cluster))
    plan = Plan.make(
        cluster,
        _render_member.member_objects(hub.identity(), known),
        owned=_names.selector("member"),
        prune_kinds=KINDS,
    )
    secrets = cluster.list("v1/Secret", _names.PLATFORM_NAMESPACE, _names.selector("member"))
    token = _token_to_keep(context, member, want, secrets)
    renew = token is None
    if not context.check_mode:
        plan.execute()
        token = token or _issue(context, want, secrets)
        found = _network_probe.tell(context, cluster, context.module.params["network_probe_image"], known)
        if found != known:
            cluster.apply(_render_member.member_namespace(hub.identity(), found))
    entry = Plan.make(hub, [_entry(want, token or "")], owned=_names.selector("member", member=want.name))
    if not context.check_mode:
        entry.execute()
        for secret in secrets if renew else []:
            _credentials.revoke(cluster, secret)
    actions = plan.rows() + entry.rows()
    if renew:
        name = _credentials.secret_name(_render_member.CREDENTIAL, secrets)
        actions.append(_credentials.creation_action(_names.PLATFORM_NAMESPACE, name))
        actions += _credentials.revocation_actions(secrets)
    claims = _credentials.claims(token)
    return {
        "changed": bool(actions),
        "actions": actions,
        "diff": [plan.diff(), entry.diff()],
        "server": cluster.server,
        "identity": want.identity,
        "version": want.version,
        "expires": claims and claims.expires_at,
    }


def _token_to_keep(context: Context, member: _fleet.Member | None, want: Wanted, secrets: list[dict]) -> str | None:
    """The token in the registry, if it has life enough and the member accepts it."""
    if member is None:
        return None
    config = member.kubeconfig()
    token = config["users"][0]["user"].get("token")
    if not _credentials.still_good(token, secrets, want.lifetime, time.time()):
        return None
    stored = context.cluster(_kubeconfig_for(want, token), want.name)
    try:
        stored.identity()
    except ApiError as error:
        if error.status == 401:
            return None
        if error.status != 403:  # rights are repaired by the plan
            raise
    finally:
        stored.close()
    return token


def _issue(context: Context, want: Wanted, previous: list[dict]) -> str:
    credential = _credentials.issue(
        want.cluster,
        _names.PLATFORM_NAMESPACE,
        _render_member.ACCOUNT,
        _credentials.secret_name(_render_member.CREDENTIAL, previous),
        _names.labels("member"),
        want.lifetime,
    )
    _wait_accepted(context, want, credential.token)
    return credential.token


def _wait_accepted(context: Context, want: Wanted, token: str) -> None:
    """Prove the credential before it goes into the registry."""
    stored = context.cluster(_kubeconfig_for(want, token), want.name)
    try:
        insist(stored.identity, is_forbidden, context.deadline(RBAC_DELAY))
    finally:
        stored.close()


def _kubeconfig_for(want: Wanted, token: str) -> dict:
    """The way to the member that the administrator gave, with the platform's own credential."""
    name = want.kubeconfig["users"][0]["name"]
    return {**want.kubeconfig, "users": [{"name": name, "user": {"token": token}}]}


def _entry(want: Wanted, token: str) -> dict:
    claims = _credentials.claims(token)
    return _render_member.member_secret(
        want.name,
        _kubeconfig_for(want, token),
        identity=want.identity,
        server=want.cluster.server,
        version=want.version,
        expires=claims.expires_at if claims else "",
    )


def _leave(context: Context, fleet: _fleet.Fleet, want: Wanted) -> dict:
    member = fleet.members.get(want.name)
    if member and want.cluster and want.identity != member.identity:
        raise TenantryError(
            f"member_kubeconfig: the cluster at {want.cluster.server} is not this member, which is at {member.server}"
        )
    if member is None and want.cluster is None:
        return {}
    host = want.cluster or _stored(fleet, want)
    _refuse_while_used(want, host)
    plans = [_removal(fleet.hub, _names.selector("member", member=want.name), ["v1/Secret"])]
    if want.cluster:
        plans.insert(0, _removal_on_member(fleet.hub, want))
    changed = any(plan.changed for plan in plans)
    if changed and not want.cluster:
        context.warn(_remains(member, want.problem))
    revoked = [_revocation()] if host and not want.cluster else []
    if not context.check_mode and changed:
        if revoked:
            host.delete("v1/ServiceAccount", _render_member.ACCOUNT, _names.PLATFORM_NAMESPACE)
        _execute(context, want, plans)
    return {
        "changed": changed,
        "actions": revoked + [row for plan in plans for row in plan.rows()],
        "diff": [plan.diff() for plan in plans],
    }


def _revocation() -> dict:
    """The end of the identity behind the credential, by the credential itself, as a row of the result."""
    account = {"name": _render_member.ACCOUNT, "namespace": _names.PLATFORM_NAMESPACE}
    return {"action": "delete", "kind": "ServiceAccount", **account}


def _stored(fleet: _fleet.Fleet, want: Wanted) -> Cluster | None:
    """The member by the credential in the registry."""
    clusters, problems = fleet.reachable([want.name])
    want.problem = want.problem or problems.get(want.name)
    return clusters.get(want.name)


def _refuse_while_used(want: Wanted, host: Cluster | None) -> None:
    if want.force:
        return
    if host is None:
        raise TenantryError(f"{want.problem}; or set force to forget the member and leave what is on it")
    living = sorted(
        space["metadata"]["name"] for space in host.list("v1/Namespace", selector=_names.selector("vcluster"))
    )
    if living:
        raise TenantryError(
            f"it cannot be removed while virtual clusters live there: {', '.join(living)}; delete them first "
            "with tenantry.kube.vcluster, or set force to leave them there without the platform"
        )
    if want.cluster is None:
        raise TenantryError(
            "removing the platform's rights from it takes an administrator of it: give member_kubeconfig, "
            "or set force to revoke the platform's credential only"
        )


def _removal(cluster: Cluster, owned: str, kinds: Iterable[str]) -> Plan:
    return Plan.make(cluster, [], owned=owned, prune_kinds=tuple(kinds), namespace=_names.PLATFORM_NAMESPACE)


def _removal_on_member(hub: Cluster, want: Wanted) -> Plan:
    namespace = _fleet.platform_namespace(want.cluster)
    if _fleet.component(namespace) == "member" and _hub_of(namespace) != hub.identity():
        raise TenantryError("its cluster belongs to another hub, so nothing is removed from it")
    return _removal(want.cluster, _names.selector("member"), KINDS)


def _remains(member: _fleet.Member, problem: str | None) -> str:
    reason = f" ({problem})" if problem else ""
    return (
        f"member {member.name} is forgotten, but on its cluster at {member.server}{reason} remain the namespace "
        f"{_names.PLATFORM_NAMESPACE}, ClusterRoles, PriorityClasses and admission policies: to remove them, run "
        "tenantry.kube.fleet_member again with state: absent and member_kubeconfig"
    )


def _execute(context: Context, want: Wanted, plans: list[Plan]) -> None:
    """The member first: while the registry knows it, a run that was interrupted can be repeated."""
    for plan in plans:
        plan.execute()
        if plan.deletes("v1/Namespace", _names.PLATFORM_NAMESPACE):
            wait_gone(
                want.cluster,
                "v1/Namespace",
                _names.PLATFORM_NAMESPACE,
                None,
                context.deadline(context.module.params["wait_timeout"]),
                what=f"the platform's namespace on member {want.name}",
            )
