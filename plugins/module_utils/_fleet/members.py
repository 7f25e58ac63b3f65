# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module fleet_member: join a cluster to the fleet, or remove it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    Obstacle,
    TenantryError,
    require,
)
from ansible_collections.tenantry.kube.plugins.module_utils._fleet import (
    member_manifests,
    network_policy_probe,
    registry,
)
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_labels import HostLabels
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.options import HostOptions
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens, kubeconfig_option
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    NAMESPACE,
    PRIORITY_CLASS,
    ROLE,
    ROLE_BINDING,
    SECRET,
    SERVICE_ACCOUNT,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import is_forbidden, retry, wait_gone
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, run_each, validate_all
from ansible_collections.tenantry.kube.plugins.module_utils._platform.manifests import HUB_ANNOTATION

TRUSTED = "member_kubeconfig_trusted"  # the option
KINDS = (
    NAMESPACE,
    SERVICE_ACCOUNT,
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    ROLE,
    ROLE_BINDING,
    PRIORITY_CLASS,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
)
# The authorizer of an API server learns of a new binding by a watch, a moment after it was made.
RBAC_DELAY = 10


@dataclass
class DesiredMember:
    """One item, validated as far as possible without requests. `lifetime` is in seconds."""

    name: str
    present: bool
    kubeconfig: dict | None
    lifetime: int
    force: bool
    labels: HostLabels = HostLabels()  # noqa: RUF009 - frozen
    cluster: Cluster | None = None
    identity: str = ""
    version: str = ""
    problem: str | None = None  # why it does not answer
    actions: list[dict] = field(default_factory=list)  # of this run

    def known(self) -> dict[str, Any]:
        """Return what the member's row has in any case."""
        return {"name": self.name, "actions": self.actions}

    @property
    def answering(self) -> Cluster:
        """The cluster, for steps that need an answer of it."""
        return require(self.cluster, f"the connection to member {self.name}")


def run(context: Context, items: list[dict], options: HostOptions) -> list[dict]:
    """Join or remove members, and return a row for each."""
    wanted = validate_all(items, _validated)
    with registry.open_fleet(context) as fleet:
        try:
            fleet.hub.map(lambda want: _contact(context, want), wanted)
            _check_duplicates(fleet, wanted)
            return run_each(fleet.hub, wanted, DesiredMember.known, lambda want: _row(context, fleet, want, options))
        finally:
            for want in wanted:
                if want.cluster:
                    want.cluster.close()


def _validated(item: dict) -> DesiredMember:
    name = naming.check_name(item["name"], "name")
    given = item["member_kubeconfig"]
    if item["state"] == "present" and not given:
        raise TenantryError(
            f"member_kubeconfig: missing for member {name}. Set the path of a kubeconfig of an administrator of it"
        )
    trust, field = "" if item[TRUSTED] else TRUSTED, "member_kubeconfig"
    return DesiredMember(
        name=name,
        present=item["state"] == "present",
        kubeconfig=kubeconfig_option.load(given, item["member_context"], field=field, trust=trust) if given else None,
        lifetime=quantities.seconds(item["credential_lifetime"], "credential_lifetime", "1d", "3650d"),
        force=item["force"],
        labels=HostLabels.desired(item),
    )


def _contact(context: Context, want: DesiredMember) -> None:
    """Read the identity and version of the cluster, or record why it does not answer."""
    if want.kubeconfig is None:
        return
    cluster = context.cluster(want.kubeconfig, want.name)
    try:
        want.identity = cluster.identity()
        want.version = registry.check_version(cluster, f"member_kubeconfig of {want.name}")
        want.cluster = cluster
    except ApiError as error:
        cluster.close()
        _stopped(want, error)


def _check_duplicates(fleet: registry.Fleet, wanted: list[DesiredMember]) -> None:
    """Raise a TenantryError if a cluster would have two names. The UID of kube-system identifies it."""
    names = {member.identity: member.name for member in fleet.members.values()}
    hub = fleet.hub.identity()
    joining = [want for want in wanted if want.present and want.cluster]

    def check(want: DesiredMember) -> None:
        if want.identity == hub:
            raise TenantryError(f"its cluster is the hub itself, in the fleet already as {naming.HUB}")
        other = names.setdefault(want.identity, want.name)
        if other != want.name:
            raise TenantryError(
                f"its cluster is the member {other} already (same kube-system UID). "
                f"Use that name, or remove {other} first"
            )
        known = fleet.members.get(want.name)
        if known and known.identity != want.identity:
            raise TenantryError(
                f"the name is taken by the cluster at {known.server}. Choose another name, or remove that member first"
            )
        _check_identity(want, hub)

    validate_all(joining, check, name=_name_of, found=_stopped)


def _name_of(want: DesiredMember) -> str:
    return f"member {want.name}"


def _stopped(want: DesiredMember, obstacle: Obstacle) -> None:
    want.problem = f"{_name_of(want)}: {obstacle}"


def _check_identity(want: DesiredMember, hub_identity: str) -> None:
    """Raise a TenantryError for a hub, a virtual cluster or a member of another fleet."""
    namespace = registry.platform_namespace(want.answering)
    component = registry.component(namespace)
    if component == "platform":
        raise TenantryError("its cluster is a hub of its own. Remove the platform from it first")
    if component == "user":
        raise TenantryError("its cluster is a virtual cluster, which cannot be a host")
    if component == "member" and _hub_of(namespace) != hub_identity:
        raise TenantryError("its cluster belongs to another hub. Remove it from that fleet first")


def _hub_of(namespace: dict | None) -> str | None:
    return (namespace["metadata"].get("annotations") or {}).get(HUB_ANNOTATION) if namespace else None


def _row(context: Context, fleet: registry.Fleet, want: DesiredMember, options: HostOptions) -> dict:
    if want.problem and (want.present or not want.force):
        raise TenantryError(want.problem)
    step = _join if want.present else _leave
    return step(context, fleet, want, options)


def _join(context: Context, fleet: registry.Fleet, want: DesiredMember, options: HostOptions) -> dict:
    hub, member, cluster = fleet.hub, fleet.members.get(want.name), want.answering
    want.labels = want.labels.over(HostLabels.of(member.secret if member else None))
    known = network_policy_probe.cached_result(registry.platform_namespace(cluster))
    plan = Plan.make(
        cluster,
        member_manifests.member_objects(hub.identity(), known),
        owned=naming.selector("member"),
        prune_kinds=KINDS,
    )
    secrets = cluster.list(SECRET, naming.PLATFORM_NAMESPACE, naming.selector("member"))
    token = _token_to_keep(context, member, want, secrets)
    renew = token is None
    want.actions += plan.rows()
    if renew:
        name = bound_tokens.secret_name(member_manifests.CREDENTIAL, secrets)
        want.actions.append(bound_tokens.creation_action(naming.PLATFORM_NAMESPACE, name))
    if not context.check_mode:
        plan.execute()
        token = token or _issue(context, want, secrets)
        found = network_policy_probe.check_enforcement(context, cluster, options.probe_image, known)
        if found != known:
            cluster.apply(member_manifests.member_namespace(hub.identity(), found))
    entry = Plan.make(hub, [_entry(want, token or "")], owned=naming.selector("member", member=want.name))
    want.actions += entry.rows()
    if not context.check_mode:
        entry.execute()
    for secret in secrets if renew else []:
        want.actions += bound_tokens.revocation_actions([secret])
        if not context.check_mode:
            bound_tokens.revoke(cluster, secret)
    return {"diff": [plan.diff(), entry.diff()], **_facts(want, token)}


def _facts(want: DesiredMember, token: str | None) -> dict:
    """Return the row of a member that is in the fleet."""
    claims = bound_tokens.claims(token)
    return {
        "server": want.answering.server,
        "identity": want.identity,
        "version": want.version,
        "expires": claims and claims.expires_at,
        **want.labels.as_row(),
    }


def _token_to_keep(
    context: Context, member: registry.Member | None, want: DesiredMember, secrets: list[dict]
) -> str | None:
    """Return the token in the registry if it lives long enough and the member accepts it, else None."""
    if member is None:
        return None
    config = member.kubeconfig()
    token = config["users"][0]["user"].get("token")
    if not bound_tokens.still_good(token, secrets, want.lifetime, time.time()):
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


def _issue(context: Context, want: DesiredMember, previous: list[dict]) -> str:
    credential = bound_tokens.issue(
        want.answering,
        naming.PLATFORM_NAMESPACE,
        member_manifests.ACCOUNT,
        bound_tokens.secret_name(member_manifests.CREDENTIAL, previous),
        naming.labels("member"),
        want.lifetime,
    )
    _wait_accepted(context, want, credential.token)
    return credential.token


def _wait_accepted(context: Context, want: DesiredMember, token: str) -> None:
    """Verify the credential before it is stored in the registry."""
    stored = context.cluster(_kubeconfig_for(want, token), want.name)
    try:
        retry(stored.identity, is_forbidden, context.deadline(RBAC_DELAY))
    finally:
        stored.close()


def _kubeconfig_for(want: DesiredMember, token: str) -> dict:
    """Return the administrator's kubeconfig with the platform's own credential in it."""
    given = require(want.kubeconfig, "the kubeconfig of the member")
    name = given["users"][0]["name"]
    return {**given, "users": [{"name": name, "user": {"token": token}}]}


def _entry(want: DesiredMember, token: str) -> dict:
    claims = bound_tokens.claims(token)
    return member_manifests.member_secret(
        want.name,
        _kubeconfig_for(want, token),
        identity=want.identity,
        server=want.answering.server,
        version=want.version,
        expires=claims.expires_at if claims else "",
        labels=want.labels,
    )


def _leave(context: Context, fleet: registry.Fleet, want: DesiredMember, options: HostOptions) -> dict:
    member = fleet.members.get(want.name)
    if member and want.cluster and want.identity != member.identity:
        raise TenantryError(
            f"member_kubeconfig: the cluster at {want.cluster.server} is not this member, which is at {member.server}"
        )
    if member is None and want.cluster is None:
        return {}
    host = want.cluster or _stored(fleet, want)
    _refuse_while_used(want, host)
    plans = [_removal(fleet.hub, naming.selector("member", member=want.name), [SECRET])]
    if want.cluster:  # first: as long as the registry has the member, an interrupted run can be repeated
        plans.insert(0, _removal_on_member(fleet.hub, want))
    changed = any(plan.changed for plan in plans)
    if member and changed and not want.cluster:
        context.warn(_leftover_warning(member, want.problem))
    by_credential = None if want.cluster else host
    if by_credential:
        want.actions.append(_revocation())
        if not context.check_mode and changed:
            by_credential.delete(SERVICE_ACCOUNT, member_manifests.ACCOUNT, naming.PLATFORM_NAMESPACE)
    for plan in plans:
        want.actions += plan.rows()
        if not context.check_mode:
            _execute(context, want, plan, options)
    return {"changed": changed, "diff": [plan.diff() for plan in plans]}


def _revocation() -> dict:
    """Return the deletion of the platform's identity on the member as a row of the result."""
    account = {"name": member_manifests.ACCOUNT, "namespace": naming.PLATFORM_NAMESPACE}
    return {"action": "delete", "kind": "ServiceAccount", **account}


def _stored(fleet: registry.Fleet, want: DesiredMember) -> Cluster | None:
    """Connect to the member with the credential in the registry."""
    clusters, problems = fleet.reachable([want.name])
    want.problem = want.problem or problems.get(want.name)
    return clusters.get(want.name)


def _refuse_while_used(want: DesiredMember, host: Cluster | None) -> None:
    if want.force:
        return
    if host is None:
        raise TenantryError(f"{want.problem}. Or set force to remove the member and leave its objects")
    living = sorted(space["metadata"]["name"] for space in host.list(NAMESPACE, selector=naming.selector("vcluster")))
    if living:
        raise TenantryError(
            f"it cannot be removed while virtual clusters live there: {', '.join(living)}. Delete them first "
            "with tenantry.kube.vcluster, or set force to leave them there without the platform"
        )
    if want.cluster is None:
        raise TenantryError(
            "removing the platform's rights from it requires an administrator of it. Set member_kubeconfig, or set "
            "force to revoke the platform's credential only"
        )


def _removal(cluster: Cluster, owned: str, kinds: Iterable[str]) -> Plan:
    return Plan.make(cluster, [], owned=owned, prune_kinds=tuple(kinds), namespace=naming.PLATFORM_NAMESPACE)


def _removal_on_member(hub: Cluster, want: DesiredMember) -> Plan:
    namespace = registry.platform_namespace(want.answering)
    if registry.component(namespace) == "member" and _hub_of(namespace) != hub.identity():
        raise TenantryError("its cluster belongs to another hub, so nothing is removed from it")
    return _removal(want.answering, naming.selector("member"), KINDS)


def _leftover_warning(member: registry.Member, problem: str | None) -> str:
    reason = f" ({problem})" if problem else ""
    return (
        f"member {member.name} is forgotten, but on its cluster at {member.server}{reason} remain the namespace "
        f"{naming.PLATFORM_NAMESPACE}, ClusterRoles, PriorityClasses and admission policies: to remove them, run "
        "tenantry.kube.fleet_member again with state: absent and member_kubeconfig"
    )


def _execute(context: Context, want: DesiredMember, plan: Plan, options: HostOptions) -> None:
    plan.execute()
    if plan.deletes(NAMESPACE, naming.PLATFORM_NAMESPACE):
        wait_gone(
            want.answering,
            NAMESPACE,
            naming.PLATFORM_NAMESPACE,
            None,
            context.deadline(options.wait_timeout),
            what=f"the platform's namespace on member {want.name}",
        )
