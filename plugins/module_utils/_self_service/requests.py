# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What requests for virtual clusters and users share: requester, outcome, status."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    Obstacle,
    TenantryError,
    without_addresses,
)
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import VIRTUAL_CLUSTER_REQUEST
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context, Rejected, attempt, explained
from ansible_collections.tenantry.kube.plugins.module_utils._platform.crds import FORMER, SHORT
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import OIDC_ANNOTATION, ROLE_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import PLATFORM_OPERATOR
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of

READY = "Ready"
PENDING = "Pending"
PAUSED = "Paused"
DENIED = "Denied"
FAILED = "Failed"
EXPIRED = "Expired"
DELETED = "Deleted"


@dataclass(frozen=True)
class BaseRequest:
    """One request of a tenant."""

    tenant: str
    obj: dict

    @property
    def name(self) -> str:
        return self.obj["metadata"]["name"]

    @property
    def uid(self) -> str:
        return self.obj["metadata"]["uid"]

    @property
    def generation(self) -> int:
        return self.obj["metadata"].get("generation", 0)

    @property
    def created(self) -> datetime:
        return moment(self.obj["metadata"]["creationTimestamp"])

    @property
    def spec(self) -> dict:
        return self.obj.get("spec") or {}

    @property
    def status(self) -> dict:
        return self.obj.get("status") or {}

    @property
    def requester(self) -> str:
        return str(self.spec.get("requestedBy") or "")

    @property
    def user(self) -> str | None:
        """The requester's name in the tenant. None for other requesters, such as a platform operator."""
        name = self.requester.removeprefix(f"system:serviceaccount:{naming.tenant_namespace(self.tenant)}:")
        return name if re.fullmatch(SHORT, name, re.ASCII) else None

    @property
    def namespace(self) -> str:
        """The namespace of the requested object."""
        return naming.tenant_namespace(self.tenant)

    @property
    def is_new(self) -> bool:
        """Whether it was created or changed since the last answer."""
        return self.status.get("observedGeneration") != self.generation


def requester_account(request: BaseRequest, accounts: list[dict]) -> dict | None:
    """Return the account of the requester. None if it is not a user of the tenant, or not any more."""
    mine = [one for one in accounts if one["metadata"]["labels"].get(naming.LABEL_TENANT) == request.tenant]
    return next((account for account in mine if full_name(account) == _full(request)), None)


def operator(request: BaseRequest, accounts: list[dict]) -> dict | None:
    """Return the account of a requester who is a platform operator, of any tenant, or None."""
    found = [one for one in accounts if annotations_of(one).get(ROLE_ANNOTATION) == PLATFORM_OPERATOR]
    return next((account for account in found if full_name(account) == _full(request)), None)


def full_name(account: dict) -> str | None:
    """Return the user's name on the hub, or None for a group of an issuer."""
    kind, _space, name = annotations_of(account).get(OIDC_ANNOTATION, "").partition(" ")
    if kind:
        return name if kind == "user" else None
    home = naming.tenant_namespace(account["metadata"]["labels"][naming.LABEL_TENANT])
    return f"system:serviceaccount:{home}:{user_of(account)}"


def annotations_of(account: dict) -> dict:
    return account["metadata"].get("annotations") or {}


def _full(request: BaseRequest) -> str:
    home = naming.tenant_namespace(request.tenant)
    return f"system:serviceaccount:{home}:{request.user}" if request.user else request.requester


def is_requester(request: BaseRequest, account: dict) -> bool:
    """Return whether this account made the request.

    An account younger than the request belongs to another user of the same name. Times have whole seconds, so one of
    the same age may too.
    """
    return moment(account["metadata"]["creationTimestamp"]) < request.created


def is_lost(made: dict, home: dict, definition: dict) -> bool:
    """Return whether the request for an existing object may have been lost.

    If the tenant namespace or the custom resource definition is younger than the object, all requests were lost at
    once, which is no wish of a user. Times have whole seconds, so the same time counts as younger.
    """
    since = moment(made["metadata"]["creationTimestamp"])
    return any(moment(place["metadata"]["creationTimestamp"]) >= since for place in (home, definition))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a request in this run."""

    phase: str
    message: str = ""
    endpoint: str | None = None
    kubeconfig: str | None = None
    for_tenants: str = ""  # what they read instead of the message, where that tells of hosts


def status_of(request: BaseRequest, outcome: Outcome, now: datetime) -> dict:
    """Return the status of the request. It equals the current one, with its times, if nothing changed.

    Tenants read it, so it omits addresses and capacities of hosts, which the administrator's row has.
    """
    message = outcome.for_tenants or outcome.message
    if outcome.phase in (FAILED, DENIED, PAUSED):
        message = without_addresses(message, outcome.endpoint)
    before: dict = next(iter(request.status.get("conditions") or []), {})
    ready = "True" if outcome.phase == READY else "False"
    since = before.get("lastTransitionTime") if before.get("status") == ready else None
    found = {
        "phase": outcome.phase,
        "message": message,
        "namespace": request.namespace,
        "endpoint": outcome.endpoint,
        "kubeconfig": outcome.kubeconfig,
        "observedGeneration": request.generation,
        "conditions": [
            {
                "type": READY,
                "status": ready,
                "reason": outcome.phase,
                "message": message,
                "lastTransitionTime": since or stamp(now),
                "observedGeneration": request.generation,
            }
        ],
    }
    return {key: value for key, value in found.items() if value is not None}


def row_of(
    kind: str, tenant: str, name: str, namespace: str, request: BaseRequest | None, phase: str = PENDING
) -> dict:
    """Return the initial row of a requested object."""
    row: dict = {"kind": kind, "tenant": tenant, "name": name, "namespace": namespace}
    row["requested_by"] = request and request.requester
    return {**row, "phase": phase, "message": "", "changed": False, "actions": [], "diff": []}


def note(row: dict, done: dict) -> None:
    """Add the row of a module to the row of a request."""
    row["actions"] = [*row["actions"], *done["actions"]]
    row["changed"] = row["changed"] or bool(done["actions"])
    row["diff"] = [*row["diff"], *(done.get("diff") or [])]


def judged(judge: Callable[[], Outcome | None]) -> Outcome | None:
    """Return the outcome of `judge`. Any error becomes the outcome of this request, and stops no other."""
    try:
        return judge()
    except Exception as error:  # pylint: disable=broad-except
        reason = explained(error)
        return Outcome(DENIED if is_refusal(reason) else FAILED, str(reason))


def report_failure(row: dict, update: Callable[[], None]) -> None:
    """Update the status of one request. A failure is reported in its row, and the other requests go on."""
    problem, _nothing = attempt(update)
    if problem:
        row |= {"phase": FAILED, "message": problem, "error": problem}


def with_renamed_fields(context: Context, request: dict) -> dict:
    """Return the request. Rename the fields that had other names before the first release."""
    former = {field: request["spec"][field] for field in FORMER if field in request["spec"]}
    if not former:
        return request
    renamed = {FORMER[field]: request["spec"].get(FORMER[field]) or value for field, value in former.items()}
    as_renamed = {**request, "spec": {**request["spec"], **renamed}}
    if context.check_mode:
        return as_renamed
    meta = request["metadata"]
    change = {"metadata": {"uid": meta["uid"]}, "spec": {**renamed, **dict.fromkeys(former)}}
    problem, changed = attempt(
        lambda: context.hub.merge(VIRTUAL_CLUSTER_REQUEST, meta["name"], meta["namespace"], change)
    )
    if problem:
        context.warn(
            f"{meta['namespace']}/{meta['name']}: the former fields will be renamed by the next run: {problem}"
        )
    return changed or as_renamed


def update_status(context: Context, request: BaseRequest, outcome: Outcome, row: dict) -> None:
    """Write the outcome to the status of the request and to the row."""
    status = status_of(request, outcome, clock())
    row |= {"phase": outcome.phase, "message": outcome.message}
    if outcome.phase == FAILED:
        row["error"] = outcome.message
    if status == request.status:
        return
    where = {key: request.obj["metadata"][key] for key in ("name", "namespace")}
    kind = {"apiVersion": request.obj["apiVersion"], "kind": request.obj["kind"]}
    if not context.check_mode:
        try:
            context.hub.apply_status({**kind, "metadata": {**where, "uid": request.uid}, "status": status})
        except ApiError as error:
            if error.status not in (404, 409):  # it was deleted meanwhile, which the next pass sees
                raise
    row["changed"] = True
    row["actions"] = [*row["actions"], {"action": "update", "kind": request.obj["kind"], **where}]


def is_refusal(error: TenantryError) -> bool:
    """Return whether the request itself is invalid, as opposed to a problem on a cluster."""
    return not any(isinstance(reason, Obstacle) for reason in _reasons(error))


def _reasons(error: TenantryError) -> list[TenantryError]:
    return [reason for _item, reason in error.reasons] if isinstance(error, Rejected) else [error]


def run_bisecting(
    run_all: Callable[[list[dict]], list[dict]],
    items: list[dict],
    named: Callable[[dict], dict] = lambda item: {"tenant": item["tenant"], "name": item["name"]},
) -> list[dict]:
    """Return a row per item.

    A module rejects all items if one is invalid, before it writes. So rejected items are tried again in halves, the
    older first, until the invalid ones are found. Problems on a cluster and unexpected errors fail an item, and the
    next run may succeed.
    """
    if not items:
        return []
    try:
        return run_all(items)
    except Exception as error:  # pylint: disable=broad-except
        reason = explained(error)
    if len(items) == 1:
        text = "; ".join(map(str, _reasons(reason)))
        return [{**named(items[0]), "actions": [], "refused": is_refusal(reason), "error": text}]
    half = len(items) // 2
    return [row for part in (items[:half], items[half:]) for row in run_bisecting(run_all, part, named)]
