# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Users in self-service: those that admins of a tenant request, and access to requested virtual clusters."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SERVICE_ACCOUNT
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    HUB_ACCESS_ANNOTATION,
    OIDC_ANNOTATION,
    REQUEST_ANNOTATION,
    ROLE_ANNOTATION,
    access_of,
    initial_kubeconfig,
    own_secret,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import PLATFORM_OPERATOR
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.requests import (
    DELETED,
    DENIED,
    FAILED,
    PENDING,
    READY,
    BaseRequest,
    Outcome,
    annotations_of,
    is_lost,
    judged,
    note,
    operator,
    report_failure,
    requester_account,
    row_of,
    run_bisecting,
    update_status,
)
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.user_requests import (
    INITIAL_KUBECONFIG,
    INITIAL_LIFETIME,
    UserRequest,
    initial_kubeconfig_of,
    kubeconfig,
    refusal,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users import reconcile
from ansible_collections.tenantry.kube.plugins.module_utils._users.desired import RESERVED
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of

KUBECONFIG = "self-service"
LIFETIME = "30d"

Who = tuple[str, str]  # tenant and name


class UserReconciler:
    """The users of tenants, and the requests for users there."""

    def __init__(
        self,
        context: Context,
        definition: dict,
        tenant_namespaces: Mapping[str, dict],
        requests: list[UserRequest],
        accounts: list[dict],
    ) -> None:
        self.context = context
        self.accounts = accounts
        self.rows: dict[str, dict] = {}
        self._definition = definition
        self._tenant_namespaces = tenant_namespaces
        self._requests = {(one.tenant, one.name): one for one in requests}
        self._outcomes: dict[Who, Outcome] = {}

    def reconcile(self) -> None:
        """Delete users without a request, create or update requested ones, and write each request's status."""
        self._remove()
        self._make()
        for who in self._requests:
            report_failure(self._row(who), partial(self._update_status, who))
        if any(row["changed"] for row in self.rows.values()) and not self.context.check_mode:
            self.accounts = self.context.hub.list(SERVICE_ACCOUNT, selector=naming.selector("user"))

    def grant_access(self, tenant: str) -> list[dict]:
        """Give the tenant's users access to its current virtual clusters, with the recorded rights.

        Return their rows.
        """
        accounts = [one for one in self.accounts if _can_grant_access(one, tenant)]
        return run_bisecting(
            lambda some: reconcile.run(self.context, [self._item(one) for one in some]), accounts, _named
        )

    def secret_of(self, request: BaseRequest) -> str | None:
        """Return the Secret with the requester's kubeconfig. None if the requester has no access to the hub."""
        user = request.user
        if user is None:
            return None
        mine = [one for one in self.accounts if _can_grant_access(one, request.tenant) and _who(one)[1] == user]
        return own_secret(user) if any(map(_has_hub_access, mine)) else None

    def _remove(self) -> None:
        gone = [account for account in self.accounts if self._is_forgotten(account)]
        items = [{**_item(*_who(account)), "state": "absent", "kubeconfigs": None} for account in gone]
        for done in run_bisecting(lambda some: reconcile.run(self.context, some), items):
            who = done["tenant"], done["name"]
            note(row := self._row(who, DELETED), done)
            if done.get("error"):
                self._outcomes[who] = Outcome(FAILED, done["error"])
                row |= {"phase": FAILED, "error": done["error"]}
        left = {id(account) for account in gone}
        self.accounts = [account for account in self.accounts if id(account) not in left]

    def _update_status(self, who: Who) -> None:
        update_status(self.context, self._requests[who], self._outcomes[who], self._row(who))

    def _is_forgotten(self, account: dict) -> bool:
        uid, home = _request_of(account), self._tenant_namespaces.get(_who(account)[0])
        request = self._requests.get(_who(account))
        if not uid or home is None or (request and request.uid == uid):
            return False
        return not is_lost(account, home, self._definition)

    def _make(self) -> None:
        known = {_who(account): account for account in self.accounts}
        items: list[dict] = []
        for who, request in self._requests.items():
            if who in self._outcomes:
                continue
            if outcome := judged(partial(self._admit, request, known.get(who), items)):
                self._outcomes[who] = outcome
        for done in run_bisecting(lambda some: reconcile.run(self.context, some), items):
            who = done["tenant"], done["name"]
            note(self._row(who), done)
            self._outcomes[who] = self._outcome(done)

    def _admit(self, request: UserRequest, account: dict | None, items: list[dict]) -> Outcome | None:
        """Add an item to `items`, or return the outcome if the request is denied."""
        # Checked here, because run_bisecting tries rejected items again and again.
        naming.check_name(request.name, "metadata.name", reserved=RESERVED)
        if reason := refusal(request, account, self._requester(request)):
            return Outcome(DENIED, reason)
        items.append(self._requested(request, account))
        return None

    def _outcome(self, done: dict) -> Outcome:
        if error := done.get("error"):
            return Outcome(DENIED if done.get("refused") else FAILED, error)
        if self.context.check_mode and done["changed"]:
            return Outcome(PENDING, "is to be created or updated")
        is_initial = any(one["name"] == INITIAL_KUBECONFIG and one["contexts"] for one in done["kubeconfigs"])
        return Outcome(READY, kubeconfig=(initial_kubeconfig if is_initial else own_secret)(done["name"]))

    def _requester(self, request: UserRequest) -> dict | None:
        return requester_account(request, self.accounts) or operator(request, self.accounts)

    def _requested(self, request: UserRequest, account: dict | None) -> dict:
        item = _item(request.tenant, request.name, request.role, request.access, hub_access=True)
        return self._invited(item, request, account)

    def _invited(self, item: dict, request: UserRequest, account: dict | None) -> dict:
        reader = initial_kubeconfig_of(request, account, self._requester(request), clock())
        secret, lifetime = initial_kubeconfig(request.name), f"{INITIAL_LIFETIME.days}d"
        item["kubeconfigs"].append(
            kubeconfig(request.tenant, INITIAL_KUBECONFIG, secret, lifetime, present=bool(reader))
        )
        return {**item, "request": {"uid": request.uid, "reader": reader}}

    def _item(self, account: dict) -> dict:
        """Return the user as recorded, because the current request may have been denied."""
        annotations, uid = annotations_of(account), _request_of(account)
        role, access = annotations.get(ROLE_ANNOTATION), access_of(annotations)
        item = _item(*_who(account), role, access, hub_access=_has_hub_access(account))
        request = self._requests.get(_who(account))
        if request and request.uid == uid:
            return self._invited(item, request, account)
        return {**item, "request": {"uid": uid, "reader": None}} if uid else item

    def _row(self, who: Who, phase: str = PENDING) -> dict:
        home = naming.tenant_namespace(who[0])
        return self.rows.setdefault(f"{home}/{who[1]}", row_of("user", *who, home, self._requests.get(who), phase))


def _can_grant_access(account: dict, tenant: str) -> bool:
    """Others get access by the next run of tenant_user.

    How users of an issuer log in is not recorded. The reconciler's account could write a record of a platform operator,
    and reads the kubeconfigs that self-service issues.
    """
    notes = annotations_of(account)
    return (
        _who(account)[0] == tenant and OIDC_ANNOTATION not in notes and notes.get(ROLE_ANNOTATION) != PLATFORM_OPERATOR
    )


def _item(
    tenant: str, name: str, role: str | None = None, access: dict[str, str] | None = None, *, hub_access: bool = False
) -> dict:
    own = kubeconfig(tenant, KUBECONFIG, own_secret(name), LIFETIME, present=hub_access)
    return {
        "tenant": tenant,
        "name": name,
        "state": "present",
        "role": role,
        "access": None if access is None else [{"vcluster": where, "role": as_} for where, as_ in access.items()],
        "oidc": None,
        "hub_access": hub_access,
        "kubeconfig_path": None,
        "kubeconfigs": [own],
        "purge_kubeconfigs": False,
        "revoke_certificates": False,
        "lifetime": LIFETIME,
        "force": False,
    }


def _who(account: dict) -> Who:
    return account["metadata"]["labels"][naming.LABEL_TENANT], user_of(account) or ""


def _named(account: dict) -> dict:
    tenant, name = _who(account)
    return {"tenant": tenant, "name": name}


def _request_of(account: dict) -> str | None:
    return annotations_of(account).get(REQUEST_ANNOTATION)


def _has_hub_access(account: dict) -> bool:
    return HUB_ACCESS_ANNOTATION in annotations_of(account)
