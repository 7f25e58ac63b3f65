# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Desired users, with the validation that argument specs cannot express."""

from __future__ import annotations

from dataclasses import dataclass, field

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    validate_all,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    ADMINISTRATOR,
    OnRecord,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import Person, parse_person
from ansible_collections.tenantry.kube.plugins.module_utils._users import former_administrators as users_former
from ansible_collections.tenantry.kube.plugins.module_utils._users import kubeconfigs as users_kubeconfigs
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import (
    VClusterAccess,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfigs import RequestedKubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._users.tenant_namespace import TenantNamespaceAccess

# Users share a namespace with the platform's own administrator: a user of that name would be the administrator.
RESERVED = {*naming.RESERVED, ADMINISTRATOR}


@dataclass
class DesiredUser:
    """One user of a call."""

    tenant: str
    name: str
    present: bool
    role: str
    access: dict[str, str] | None  # role by virtual cluster; None: the user's role in all of the tenant's
    person: Person | None  # at an issuer; None: a ServiceAccount
    requested_kubeconfigs: list[RequestedKubeconfig]
    purge: bool
    revoke: bool = False  # the certificates too
    hub_access: bool = False
    request: dict | None = None  # of the tenant itself, as hub_user has it
    account: str | None = None  # the UID of the identity on the hub, where it matters
    plan: Plan | None = None  # of the hub
    before: list[OnRecord] = field(default_factory=list)  # what the hub has of the user, if it does
    note: users_former.Note | None = None  # of an earlier run
    unasked: bool = False  # a host does not answer
    places: list[VClusterAccess] = field(default_factory=list)  # all of the tenant's that could be found
    problems: list[str] = field(default_factory=list)
    actions: list[dict] = field(default_factory=list)  # of this run

    @property
    def key(self) -> tuple[str, str]:
        """Tenant and name."""
        return self.tenant, self.name

    @property
    def on_record(self) -> OnRecord:
        """The user as the hub will record it."""
        person = self.person.recorded if self.person else None
        return OnRecord(self.name, self.role, self.access, self.account, person)

    def role_in(self, place: VClusterAccess) -> str | None:
        """Return the role in a virtual cluster or in the tenant namespace, or None."""
        if not self.present:
            return None
        if isinstance(place, TenantNamespaceAccess):
            return self.role if self.hub_access else None
        return self.on_record.role_in(place.vcluster, place.request)


def validated(context: Context, item: dict) -> DesiredUser:
    """Return a validated item of tenant_user. Raise a TenantryError."""
    tenant = naming.check_name(item["tenant"], "tenant")
    name = naming.check_name(item["name"], "name", reserved=RESERVED)
    naming.tenant_namespace(tenant)
    present, who = item["state"] == "present", f"user {name} of tenant {tenant}"
    if present and not item["role"]:
        raise TenantryError(f"role: missing for {who}. Set viewer, developer, admin or platform_operator")
    person = parse_person(item["oidc"], who) if present else None
    if person and item["hub_access"]:
        raise TenantryError(
            f"hub_access: mutually exclusive with oidc for {who}, who logs in to the hub with the issuer. Omit one of "
            "them"
        )
    if present and item["revoke_certificates"]:
        raise TenantryError(f"revoke_certificates: requires state: absent, and {who} is present. Omit it")
    return DesiredUser(
        tenant=tenant,
        name=name,
        present=present,
        role=item["role"],
        access=_access(item["access"], item["role"], who),
        person=person,
        requested_kubeconfigs=users_kubeconfigs.asked_for(context, item, who),
        purge=item["purge_kubeconfigs"],
        revoke=item["revoke_certificates"],
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
            raise TenantryError(f"access: vcluster {vcluster} is given twice for {who}. Give each once")
        access[vcluster] = entry["role"] or role
    return access


def refuse_shared_files(wanted: list[DesiredUser]) -> None:
    """Raise Rejected if two users have the same kubeconfig path or Secret."""
    owners: dict[str, str] = {}

    def check(want: DesiredUser) -> None:
        for file in [requested.file for requested in want.requested_kubeconfigs if requested.file]:
            if file.label in owners:
                raise TenantryError(
                    f"{file.option}: {file.label} is given for {owners[file.label]} and {want.name}. "
                    "Use a separate place for each kubeconfig"
                )
            owners[file.label] = want.name

    validate_all(wanted, check)
