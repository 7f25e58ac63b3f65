# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Access of users to one virtual cluster: their rights in it, and their credentials for it."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, one_line, require
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, moment
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.registry import Fleet
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.virtual_clusters import VirtualCluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens, resources
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import (
    Action,
    Inventory,
    Key,
    Plan,
    existing,
    key_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._module import attempt
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    OnRecord,
    binding_name,
    inside_base,
    inside_user,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import Person, subject_inside
from ansible_collections.tenantry.kube.plugins.module_utils._users import bindings as users_bindings
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings as users_findings
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import (
    KUBECONFIG_ANNOTATION,
    kubeconfig_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import administrator_of, concerns, user_of
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import client_ca_renewal, connection, trusted_keys
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import is_paused

# So long may runs at the same time take from a user's first identity to the last.
AT_ONCE = timedelta(minutes=1)
KINDS = (
    resources.NAMESPACE,
    resources.SERVICE_ACCOUNT,
    resources.CLUSTER_ROLE,
    resources.CLUSTER_ROLE_BINDING,
    resources.VALIDATING_ADMISSION_POLICY,
    resources.VALIDATING_ADMISSION_POLICY_BINDING,
    resources.FLOW_SCHEMA,
)


def find_accessible(
    fleet: Fleet, tenants: Collection[str] | None = None
) -> tuple[list[VClusterAccess], dict[str, str]]:
    """Return the virtual clusters of these tenants, or of all, and an error line for each host that does not answer."""
    found, unreachable = fleet.vclusters()
    places = [
        VClusterAccess(one) for one in found if not one.is_deleting and (tenants is None or one.tenant in tenants)
    ]
    return sorted(places, key=lambda place: place.context), unreachable


def new_and_gone(plan: Plan) -> set[tuple[str, str]]:
    """Return the identities that a plan creates or deletes, as (namespace, name)."""
    changes = [
        one
        for one in plan.actions
        if one.kind == resources.SERVICE_ACCOUNT and (one.action != "update" or one.replaces)
    ]
    accounts = {(one.namespace or "", one.name) for one in changes}
    return {*accounts, *users_bindings.ended(plan.actions)}


@dataclass
class VClusterAccess:
    """Access of a tenant's users to one virtual cluster."""

    found: VirtualCluster
    roles: dict[str, str] = field(default_factory=dict)  # of the users in question who may enter
    persons: dict[str, Person] = field(default_factory=dict)  # those of them whom an issuer authenticates
    server: str = ""
    problem: str | None = None
    paused: bool = False
    users_namespace: str = naming.PLATFORM_NAMESPACE  # where its users' identities are
    _inside: Cluster | None = None
    _plan: Plan | None = None
    _secrets: list[dict] = field(default_factory=list)
    _accounts: dict[str, str] | None = None  # UIDs of the identities inside, as they were found
    begun: bool = False  # whether rights were applied
    fresh: set[str] = field(default_factory=set)  # users that the hub did not know before this run
    _ended: list[dict] = field(default_factory=list)  # token Secrets of former users of the same names
    ending: set[str] = field(default_factory=set)  # users who are administrators no more after this run
    is_recorded: bool = False  # whether the host has a record of the administrators
    former: list[str] = field(default_factory=list)  # former administrators, of earlier unfinished runs too
    findings: list[users_findings.Finding] = field(default_factory=list)  # if it had a former administrator
    more: int = 0  # further findings
    left: str = ""  # a warning about all findings
    ca: dict | None = None  # the Secret with the CA for client certificates
    renewal: client_ca_renewal.Renewal | None = None
    unrevoked: dict[str, str] = field(default_factory=dict)  # by user: why certificates were not revoked

    @property
    def host(self) -> Cluster:
        return self.found.host

    @property
    def tenant(self) -> str:
        return self.found.tenant

    @property
    def vcluster(self) -> str:
        return self.found.name

    @property
    def request(self) -> dict:
        """The request that the virtual cluster was created for; empty if there is none."""
        return self.found.readable_record.request or {}

    @property
    def context(self) -> str:
        return self.found.namespace

    @property
    def default_namespace(self) -> str | None:
        """Namespace of the context, or None for Kubernetes' default."""
        return None

    @property
    def ca_data(self) -> str:
        return self._api.ca_data

    @property
    def _api(self) -> Cluster:
        """The API, for steps after it was opened."""
        return require(self._inside, f"the connection to {self.where}")

    @property
    def issuer(self) -> dict | None:
        """The record of the option oidc, or None."""
        return self.found.readable_record.oidc

    def trusts(self, person: Person) -> bool:
        """Return whether the virtual cluster's issuer can name this user or group."""
        issuer = self.issuer
        if not issuer:
            return False
        return person.group is None or issuer["groups_prefix"] is not None

    def prepare(self, users: set[str], revoked: Collection[str] = ()) -> None:
        """Connect, and plan the rights of these users, with or without a role here.

        Client certificates of users in `revoked` will be revoked.
        """
        self._try(lambda: self._open(users, revoked))

    def _open(self, users: set[str], revoked: Collection[str]) -> None:
        self.ca = client_ca_renewal.find(self.host, self.context)
        self.paused = is_paused(self.host.get(resources.STATEFUL_SET, SERVER, self.context))
        if self.paused:
            raise TenantryError("is paused. Resume it with state: present, then run again for its users")
        self._inside = connection.inside(self.host, self.context).limited(self.host.timeout)
        self.server = connection.endpoint(self.found)
        self._plan = self._make_plan(users)
        self.former = self._former(users, revoked)
        if leaving := set(self.former).intersection(revoked):
            plan = client_ca_renewal.Renewal.plan
            problem, self.renewal = attempt(lambda: plan(self.found, self.ca, leaving))
            self.unrevoked = dict.fromkeys(leaving, f"{self.where}: {problem}") if problem else {}

    def _former(self, users: set[str], revoked: Collection[str]) -> list[str]:
        """Return recorded former administrators. Those already handled count only if certificates are revoked."""
        recorded_before = client_ca_renewal.unseen(self.ca) & users
        recorded_before |= client_ca_renewal.former(self.ca).intersection(revoked)
        stay = {user for user, role in self.roles.items() if role == "admin"}
        return sorted((self.ending | recorded_before) - stay)

    def _try(self, do: Callable[[], None]) -> None:
        problem, _nothing = attempt(do)
        if problem:
            self.problem = f"{self.where}: {problem}"

    @property
    def where(self) -> str:
        return f"vcluster {self.vcluster} on {self.host.name}"

    def _make_plan(self, users: set[str]) -> Plan:
        found = existing(self._api, (*KINDS, resources.SECRET), naming.selector("user"))
        self._secrets = [secret for secret in found.of(resources.SECRET) if user_of(secret) in users]
        self._accounts = {
            user: one["metadata"]["uid"] for one in found.of(resources.SERVICE_ACCOUNT) if (user := user_of(one))
        }
        # What has no user is for all of them: it is kept up for those who come, but does not go with one who leaves.
        # An administrator who leaves may have changed it.
        concerned = {*users, None} if self.roles or self.ending else users
        mine = Inventory(obj for kind in KINDS for obj in found.of(kind) if user_of(obj) in concerned)
        desired = inside_base() if self.roles else [obj for obj in inside_base() if mine.at(key_of(obj))]
        for user, role in self.roles.items():
            desired += inside_user(self.tenant, user, role, self._subject(user))
        plan = Plan.make(self._api, desired, owned=naming.selector("user"), prune_kinds=KINDS, inventory=mine)
        self._replace_recreated(plan, desired)
        plan.actions += self._unlabelled(users, {*map(key_of, desired), *(action.key for action in plan.actions)})
        known = {action.key for action in plan.actions}
        inherited = users_bindings.inherited(self._api, new_and_gone(plan))
        plan.actions += [action for action in inherited if action.key not in known]
        self.ending |= {administrator_of(action) for action in plan.actions} - {""}
        return plan

    def _replace_recreated(self, plan: Plan, desired: list[dict]) -> None:
        """Plan to delete identities of users that the hub does not know.

        They belong to a former user of that name whose removal did not get here, or were restored from a snapshot, or
        created by an administrator.
        """
        replaced: set[str | None] = set()
        for one in desired:
            is_new = resources.kind_of(one) == resources.SERVICE_ACCOUNT and one["metadata"]["name"] in self.fresh
            if is_new and self._is_of_before(plan.objects.at(key_of(one))):
                plan.replace(one)
                replaced.add(one["metadata"]["name"])
        self._ended = [one for one in self._secrets if user_of(one) in replaced]
        self._secrets = [one for one in self._secrets if user_of(one) not in replaced]
        for user in replaced:
            (self._accounts or {}).pop(user or "", None)

    @staticmethod
    def _is_of_before(account: dict | None) -> bool:
        """Return whether it was not created by a concurrent run for the same user, which writes to the hub last."""
        return account is not None and moment(account["metadata"]["creationTimestamp"]) <= clock() - AT_ONCE

    def _unlabelled(self, users: set[str], known: set[Key]) -> list[Action]:
        """Plan to delete a leaving or demoted user's account and binding by name: administrators can remove labels."""
        accounts = self._api.list(resources.SERVICE_ACCOUNT, naming.PLATFORM_NAMESPACE)
        bindings = (one for page in self._api.pages(resources.CLUSTER_ROLE_BINDING) for one in page)
        ours = [one for one in accounts if one["metadata"]["name"] in users]
        ours += [one for one in bindings if binding_name(one["metadata"]["name"])[0] in users]
        return [Action(*key_of(one), "delete", before=one) for one in ours if key_of(one) not in known]

    def look(self, users: Iterable[OnRecord]) -> None:
        """Search for what a former administrator may have left. `users` are the platform's."""
        if not self.former or self.problem:
            return
        ca = self.renewal.certificate if self.renewal else client_ca_renewal.certificate(self.ca)
        problem, found = attempt(lambda: self.find(self._api, users, self.ca, ca))
        self.findings, self.more = found or ([], 0)
        self.left = f"unknown, because {problem}" if problem else users_findings.summary(self.findings, self.more)
        if self.ca and self.begun and not problem:
            self._try(self._close_record)

    def find(
        self, api: Cluster, users: Iterable[OnRecord], secret: dict | None, ca: str | None
    ) -> tuple[list[users_findings.Finding], int]:
        """Return findings, and how many more there are.

        In check mode, a demoted user still has the former role, so `users` has that user twice.
        """
        roles: dict[str, set[str | None]] = defaultdict(set)
        subjects: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for user in users:
            roles[user.name].add(user.role_in(self.vcluster, self.request))
            subjects[user.name] |= self._subjects_of(user)
        has_nodes = self.found.readable_record.mode == "dedicated"
        signed = client_ca_renewal.accepted(secret)
        found, more = users_findings.look(
            api, roles, clock(), ca, subjects=subjects, certificates=signed, has_nodes=has_nodes
        )
        return [*trusted_keys.findings(api, secret, ca), *found], more

    def _subjects_of(self, user: OnRecord) -> set[tuple[str, str]]:
        """Who is given the rights of a user here."""
        if user.person is None:
            return {(users_bindings.ACCOUNT, user.name)}
        subject = subject_inside(user.person, self.issuer)
        return {subject} if subject else set()

    def _close_record(self) -> None:
        """Remove the record of former administrators after everything was done and reported.

        Without a renewal of the CA, the names stay for a later one.
        """
        if self.renewal:
            done = {*self.former, *client_ca_renewal.former(self.ca)}
            client_ca_renewal.forget(self.host, self.context, done)
        else:
            client_ca_renewal.record_seen(self.host, self.context, self.former)

    def needs_tokens(self, user: str | None) -> bool:
        """Return whether the user has a role here and uses tokens of the platform."""
        return user in self.roles and user not in self.persons

    def _subject(self, user: str) -> dict | None:
        person, issuer = self.persons.get(user), self.issuer
        return person.inside(issuer) if person and issuer and self.trusts(person) else None

    def execute(self) -> None:
        """Apply the rights, and revoke the credentials of users without a role here."""
        self._try(self._record)
        if not self.problem:
            self._try(self._execute)

    def _record(self) -> None:
        """Record former administrators on the host, because this run deletes the hub's record of them."""
        if self.ca and self.ending:
            client_ca_renewal.record(self.host, self.context, self.ending)
            self.is_recorded = True

    def _execute(self) -> None:
        plan, api = require(self._plan, f"the plan of {self.where}"), self._api
        self.begun = True
        plan.execute()
        gone = [secret for secret in self._secrets if not self.needs_tokens(user_of(secret))]
        api.map(lambda secret: bound_tokens.revoke(api, secret), [*gone, *self._ended])
        for action in plan.actions:
            if action.action == "delete" and (held := action.live["metadata"].get("finalizers")):
                raise TenantryError(
                    f"{action.kind.rpartition('/')[2]} {action.name} is being deleted, but stays valid as long as it "
                    f"has the finalizer {one_line(', '.join(held))}. Remove the finalizer with kubectl, then run again"
                )
        if self.renewal:
            self.renewal.perform()
            api.close()  # its servers are others now
            self._inside = connection.inside(self.host, self.context).limited(self.host.timeout)

    def plan_of(self, user: str) -> Plan:
        """Return the part of the plan for one user. The first user's also has what is for all."""
        if self._inside is None or self._plan is None:
            return Plan(self.host, [], Inventory())
        actions = self._plan.actions
        first = user == next(iter(self.roles), min(self.ending, default=None))
        others = {account for account, owner in users_bindings.ended(actions).items() if owner == user}
        return Plan(self._inside, [a for a in actions if concerns(a, user, first, others)], Inventory())

    def revocations(self, user: str) -> list[dict]:
        """Return the revoked credentials of a user as rows: all of them if the user needs no tokens here."""
        own = [] if self.needs_tokens(user) else self.secrets_of(user)
        return bound_tokens.revocation_actions([*own, *(one for one in self._ended if user_of(one) == user)])

    def secrets_of(self, user: str, kubeconfig: str | None = None) -> list[dict]:
        """Return the Secrets that a user's tokens are bound to, of one kubeconfig or of all."""
        return [
            secret
            for secret in self._secrets
            if user_of(secret) == user and kubeconfig in (None, kubeconfig_of(secret))
        ]

    def still_good(self, user: str, token: str | None, kubeconfig: str, lifetime: int) -> bool:
        """Return whether an existing token can be kept. `lifetime` is in seconds."""
        claims = bound_tokens.claims(token)
        if claims and self._accounts is not None and claims.account_uid != self._accounts.get(user):
            return False  # somebody has ended all tokens of the user, with their account
        return bound_tokens.still_good(token, self.secrets_of(user, kubeconfig), lifetime, time.time())

    def superseded_secrets(self, user: str, kubeconfig: str, there: str | None, kept: bool) -> list[dict]:
        """Return the Secrets to delete after the kubeconfig was written: superseded and expired ones.

        `there` is the token found in the kubeconfig, which may have been issued for another name. `kept` says whether
        it stays.
        """
        claims = bound_tokens.claims(there)
        mine = claims.secret_uid if claims else None
        return [
            secret
            for secret in self.secrets_of(user)
            if (secret["metadata"]["uid"] == mine and not kept)
            or (kubeconfig_of(secret) == kubeconfig and secret["metadata"]["uid"] != mine)
            or bound_tokens.outlived(secret, time.time())
        ]

    def issue(self, user: str, kubeconfig: str, lifetime: int, requester: str) -> str:
        """Issue and verify a new token. `lifetime` is in seconds."""
        issued = bound_tokens.issue(
            self._api,
            self.users_namespace,
            user,
            self.next_secret(user, kubeconfig),
            naming.labels("user", tenant=self.tenant, user=user),
            lifetime,
            {KUBECONFIG_ANNOTATION: kubeconfig, bound_tokens.REQUESTER_ANNOTATION: requester},
        )
        bound_tokens.verify(self._api, issued)
        return issued.token

    def next_secret(self, user: str, kubeconfig: str) -> str:
        return bound_tokens.secret_name(f"{user}-{kubeconfig}", self.secrets_of(user, kubeconfig))

    def revoke(self, secrets: list[dict]) -> None:
        for secret in secrets:
            bound_tokens.revoke(self._api, secret)

    def close(self) -> None:
        if self._inside:
            self._inside.close()
