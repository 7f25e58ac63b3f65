# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests for users: which rights may be given, and who may read the initial kubeconfig. Pure."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    ACCESS_ANNOTATION,
    OIDC_ANNOTATION,
    REQUEST_ANNOTATION,
    ROLE_ANNOTATION,
    access_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import PLATFORM_OPERATOR, RBAC_GROUP, ROLES
from ansible_collections.tenantry.kube.plugins.module_utils._self_service.requests import (
    BaseRequest,
    annotations_of,
    is_requester,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of

INITIAL_KUBECONFIG = "initial"
INITIAL_LIFETIME = timedelta(days=1)


class UserRequest(BaseRequest):
    """A request for a user."""

    @property
    def role(self) -> str:
        return self.spec["role"]

    @property
    def access(self) -> dict[str, str] | None:
        """The role by virtual cluster; None: the user's role in all of the tenant's."""
        given = self.spec.get("access")
        return None if given is None else {one["vcluster"]: one["role"] for one in given}


def refusal(request: UserRequest, account: dict | None, requester: dict | None) -> str:
    """Return why a request is denied, or an empty string.

    `account` is the existing user's, `requester` the requester's, whose rights limit those of the user.
    """
    if account and REQUEST_ANNOTATION not in annotations_of(account):
        return f"metadata.name: {request.name} is a user of the inventory. Choose another name"
    if account and not request.is_new and _is_given(request, annotations_of(account)):
        return ""  # granted rights stay when the requester loses rights
    if requester is None:
        return (
            f"spec.requestedBy: {request.requester} is neither a user of the tenant nor a platform_operator on record, "
            "so their rights are not known. Ask an admin of the tenant to create a request"
        )
    if not is_requester(request, requester):
        return (
            f"spec.requestedBy: the current user {request.user} did not create this request; ask an admin of the "
            "tenant to create a new one"
        )
    return _excess(request, annotations_of(requester))


def _is_given(request: UserRequest, given: dict) -> bool:
    """Return whether the user has what is requested. A denied request was answered too."""
    return (request.role, request.access) == (given.get(ROLE_ANNOTATION), access_of(given))


def _excess(request: UserRequest, own: dict) -> str:
    role = own.get(ROLE_ANNOTATION) or "viewer"
    if role == PLATFORM_OPERATOR:
        return ""  # a platform operator may grant everything that can be requested
    if role != "admin":
        return f"spec.requestedBy: only admins of the tenant can add users; {request.user} is {role}"
    limits = json.loads(own.get(ACCESS_ANNOTATION) or "null")
    if limits is None:
        return ""
    if request.access is None:
        return "spec.access: missing, which means all virtual clusters. Name those that you may enter yourself"
    for name, asked in request.access.items():
        if name not in limits:
            return f"spec.access: {request.user} may not enter vcluster {name}. Omit it"
        if ROLES.index(asked) > ROLES.index(limits[name]):
            return f"spec.access: {request.user} is {limits[name]} in vcluster {name}, less than {asked}. Lower it"
    return ""


def initial_kubeconfig_of(
    request: UserRequest, account: dict | None, requester: dict | None, now: datetime
) -> dict | None:
    """Return the subject that may read the initial kubeconfig: the requester, for a day. None afterwards."""
    if account and moment(account["metadata"]["creationTimestamp"]) + INITIAL_LIFETIME <= now:
        return None
    if requester is None or not is_requester(request, requester):
        return None
    if OIDC_ANNOTATION in annotations_of(requester):
        return {"apiGroup": RBAC_GROUP, "kind": "User", "name": request.requester}
    home = naming.tenant_namespace(requester["metadata"]["labels"][naming.LABEL_TENANT])
    return {"kind": "ServiceAccount", "name": user_of(requester), "namespace": home}


def kubeconfig(tenant: str, name: str, secret: str, lifetime: str, *, present: bool) -> dict:
    """Return an item of tenant_user's option kubeconfigs, for a Secret in the tenant namespace."""
    return {
        "name": name,
        "state": "present" if present else "absent",
        "secret": {"namespace": naming.tenant_namespace(tenant), "name": secret},
        "path": None,
        "vault_password_file": None,
        "lifetime": lifetime,
        "force": False,
    }
