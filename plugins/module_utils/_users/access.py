# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One virtual cluster as the place that users enter: their rights in it, and their credentials for it."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.registry import Fleet
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens as _credentials
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action, Inventory, Plan, existing
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import inside_base, inside_user
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import Person
from ansible_collections.tenantry.kube.plugins.module_utils._users import bindings as _bindings
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import (
    KUBECONFIG_ANNOTATION,
    kubeconfig_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import connection as _tunnel
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.guest import STATEFUL_SET
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.lifecycle import is_paused
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.common import SERVER
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import recorded

ACCOUNT = "v1/ServiceAccount"
SECRET = "v1/Secret"  # noqa: S105
KINDS = (
    "v1/Namespace",
    ACCOUNT,
    f"{_bindings.RBAC}/ClusterRole",
    f"{_bindings.RBAC}/ClusterRoleBinding",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy",
    "admissionregistration.k8s.io/v1/ValidatingAdmissionPolicyBinding",
    "flowcontrol.apiserver.k8s.io/v1/FlowSchema",
)


def find_places(fleet: Fleet, tenants: Collection[str] | None = None) -> tuple[list[Place], dict[str, str]]:
    """The virtual clusters of these tenants, or of all, and one line for every host that could not be asked."""
    found, unreachable = fleet.vclusters()
    places = [Place(host, namespace) for host, namespace in found if not namespace["metadata"].get("deletionTimestamp")]
    wanted = (place for place in places if tenants is None or place.tenant in tenants)
    return sorted(wanted, key=lambda place: place.context), unreachable


def user_of(obj: dict) -> str | None:
    return (obj["metadata"].get("labels") or {}).get(_names.LABEL_USER)


def new_and_gone(plan: Plan) -> set[tuple[str, str]]:
    """The identities that a plan makes or removes: nothing may wait for them, or for the next of their name."""
    accounts = {
        (action.namespace, action.name)
        for action in plan.actions
        if action.kind == ACCOUNT and action.action in ("create", "delete")
    }
    return {*accounts, *_bindings.ended(plan.actions)}


@dataclass
class Place:
    """A virtual cluster of a tenant, found on a host."""

    host: Cluster
    namespace: dict
    roles: dict[str, str] = field(default_factory=dict)  # of the users in question who may enter
    persons: dict[str, Person] = field(default_factory=dict)  # those of them who come by an issuer
    server: str = ""
    problem: str | None = None
    paused: bool = False
    people: str = _names.PLATFORM_NAMESPACE  # where its users' identities are
    _inside: Cluster | None = None
    _plan: Plan | None = None
    _secrets: list[dict] = field(default_factory=list)

    @property
    def tenant(self) -> str:
        return self.namespace["metadata"]["labels"][_names.LABEL_TENANT]

    @property
    def vcluster(self) -> str:
        return self.namespace["metadata"]["labels"][_names.LABEL_VCLUSTER]

    @property
    def request(self) -> dict:
        """What it was made for, where a user asked for it."""
        return recorded(self.namespace).get("request") or {}

    @property
    def context(self) -> str:
        """The name of its context in a kubeconfig."""
        return self.namespace["metadata"]["name"]

    @property
    def default_namespace(self) -> str | None:
        """What the context names, where people would have to say it each time."""
        return None

    @property
    def ca_data(self) -> str:
        return self._inside.ca_data

    @property
    def issuer(self) -> dict | None:
        """What it was given as the option oidc."""
        return recorded(self.namespace).get("oidc")

    def trusts(self, person: Person) -> bool:
        return bool(self.issuer) and (person.group is None or self.issuer["groups_prefix"] is not None)

    def prepare(self, users: set[str]) -> None:
        """Open it, and plan the rights of these users: of those with a role here, and of those without (any more)."""
        try:
            self.paused = is_paused(self.host.get(STATEFUL_SET, SERVER, self.context))
            if self.paused:
                raise TenantryError("is paused; resume it with state: present, then run again for its users")
            self._inside = _tunnel.inside(self.host, self.context)
            self.server = _tunnel.endpoint(self.host, self.namespace)
            self._plan = self._make_plan(users)
        except TenantryError as error:
            self.problem = f"vcluster {self.vcluster} on {self.host.name}: {error}"

    def _make_plan(self, users: set[str]) -> Plan:
        found = existing(self._inside, (*KINDS, SECRET), _names.selector("user"))
        self._secrets = [secret for secret in found.of(SECRET) if user_of(secret) in users]
        # What has no user is for all of them: it is kept up for those who come, but does not go with one who leaves.
        concerned = {*users, None} if self.roles else users
        mine = Inventory(obj for kind in KINDS for obj in found.of(kind) if user_of(obj) in concerned)
        desired = inside_base() if self.roles else []
        for user, role in self.roles.items():
            desired += inside_user(self.tenant, user, role, self._subject(user))
        plan = Plan.make(self._inside, desired, owned=_names.selector("user"), prune_kinds=KINDS, inventory=mine)
        plan.actions += _bindings.inherited(self._inside, new_and_gone(plan))
        return plan

    def needs_tokens(self, user: str) -> bool:
        return user in self.roles and user not in self.persons

    def _subject(self, user: str) -> dict | None:
        person = self.persons.get(user)
        return person.inside(self.issuer) if person and self.trusts(person) else None

    def execute(self) -> None:
        """Apply the rights, and end the credentials of those who have none here."""
        if self.problem:
            return
        try:
            self._plan.execute()
            gone = [secret for secret in self._secrets if not self.needs_tokens(user_of(secret))]
            self._inside.map(lambda secret: _credentials.revoke(self._inside, secret), gone)
        except TenantryError as error:
            self.problem = f"vcluster {self.vcluster} on {self.host.name}: {error}"

    def plan_of(self, user: str) -> Plan:
        """The part of the plan that concerns one user; what concerns all of them is told with the first."""
        actions = self._plan.actions if self._plan else []
        first = user == next(iter(self.roles), None)
        others = {account for account, owner in _bindings.ended(actions).items() if owner == user}
        return Plan(self._inside, [a for a in actions if _concerns(a, user, first, others)], Inventory())

    def revocations(self, user: str) -> list[dict]:
        """The end of a user's credentials, who has no role here or another way in, as rows of a result."""
        return _credentials.revocation_actions(self.secrets_of(user))

    def secrets_of(self, user: str, kubeconfig: str | None = None) -> list[dict]:
        """The Secrets that a user's tokens are bound to; those of one kubeconfig, or all."""
        return [
            secret
            for secret in self._secrets
            if user_of(secret) == user and kubeconfig in (None, kubeconfig_of(secret))
        ]

    def leftovers(self, user: str, kubeconfig: str, there: str | None, kept: bool) -> list[dict]:
        """What to revoke once the kubeconfig is written: what it superseded, and whatever has expired.

        `there` is the token in the kubeconfig as it was found, which may go by another name than this one's.
        """
        claims = _credentials.claims(there)
        mine = claims.secret_uid if claims else None
        return [
            secret
            for secret in self.secrets_of(user)
            if (secret["metadata"]["uid"] == mine and not kept)
            or (kubeconfig_of(secret) == kubeconfig and secret["metadata"]["uid"] != mine)
            or _credentials.outlived(secret, time.time())
        ]

    def issue(self, user: str, kubeconfig: str, lifetime: int, requester: str) -> str:
        """A new token, proven: what it supersedes may end."""
        issued = _credentials.issue(
            self._inside,
            self.people,
            user,
            self.next_secret(user, kubeconfig),
            _names.labels("user", tenant=self.tenant, user=user),
            lifetime,
            {KUBECONFIG_ANNOTATION: kubeconfig, _credentials.REQUESTER_ANNOTATION: requester},
        )
        _credentials.prove(self._inside, issued)
        return issued.token

    def next_secret(self, user: str, kubeconfig: str) -> str:
        return _credentials.secret_name(f"{user}-{kubeconfig}", self.secrets_of(user, kubeconfig))

    def revoke(self, secrets: list[dict]) -> None:
        for secret in secrets:
            _credentials.revoke(self._inside, secret)

    def close(self) -> None:
        if self._inside:
            self._inside.close()


class Home(Place):
    """The tenant's home namespace on the hub, as the place where users ask for virtual clusters."""

    @classmethod
    def of(cls, hub: Cluster, tenant: str) -> Home:
        name = _names.tenant_namespace(tenant)
        space = {"metadata": {"name": name, "labels": _names.labels("tenant", tenant=tenant)}}
        return cls(hub, space, server=hub.server, people=name)

    @property
    def vcluster(self) -> str:
        return _names.HUB  # no virtual cluster may be called so

    @property
    def context(self) -> str:
        return f"{self.tenant}--{self.vcluster}"

    @property
    def default_namespace(self) -> str:
        return self.people

    def prepare(self, users: set[str]) -> None:
        """The rights of users here are not this place's: they are in every plan of users."""
        self._inside, self._plan = self.host, Plan(self.host, [], Inventory())
        try:
            found = self.host.list(SECRET, self.people, _names.selector("user"))
        except TenantryError as error:
            self.problem = f"the home of tenant {self.tenant} on {self.host.name}: {error}"
            return
        self._secrets = [one for one in found if one.get("type") == _credentials.TYPE and user_of(one) in users]

    def close(self) -> None:
        """The hub stays open."""


def _concerns(action: Action, user: str, first: bool, others: set[tuple[str, str]]) -> bool:
    """Whether it is for one user, known by `others` names too."""
    owner = user_of(action.after or action.before)
    if owner or _names.is_ours(action.after or action.before):
        return owner == user or (first and owner is None)
    accounts = {(_names.PLATFORM_NAMESPACE, user), *others}
    return any(_bindings.names(action.before, *account) for account in accounts)
