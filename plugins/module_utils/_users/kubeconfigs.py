# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kubeconfigs of a user: issued, kept current, rotated and revoked one by one."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming as _names
from ansible_collections.tenantry.kube.plugins.module_utils._core import quantities as _quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens as _credentials
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import KubeContext
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import Person
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import SECRET, Place, user_of
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import (
    SECRET_TYPE,
    FileStore,
    Runner,
    SecretStore,
    Store,
    VaultStore,
    kubeconfig_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_kubeconfig import UserKubeconfig

SHORTEST, LONGEST = "1h", "365d"


@dataclass
class Handout:
    """One kubeconfig of a user, as asked for."""

    name: str
    present: bool
    lifetime: int
    force: bool
    file: UserKubeconfig | None  # none for one that is only to be revoked


@dataclass(frozen=True)
class Owner:
    """Whose kubeconfigs these are, and where they lead."""

    tenant: str
    name: str
    entered: list[Place]
    examined: set[str]  # contexts of the virtual clusters that answered
    incomplete: bool  # others did not: what leads there is kept
    person: Person | None = None  # at an issuer, who needs no token of ours


def asked_for(context: Context, item: dict, who: str) -> list[Handout]:
    """Everything that an item of tenant_user says about kubeconfigs, checked."""
    present, lifetime = item["state"] == "present", item["lifetime"]
    handouts = []
    if item["kubeconfig_path"]:
        store = FileStore(item["kubeconfig_path"])
        file = UserKubeconfig(store, item["tenant"])
        handouts.append(Handout(store.id, present, _seconds(lifetime, who), item["force"], file))
    else:
        _seconds(lifetime, who)
    for given in item["kubeconfigs"] or []:
        of = f"kubeconfig {given['name']} of {who}"
        handout = Handout(
            name=_names.check_name(given["name"], "kubeconfigs.name", reserved=()),
            present=present and given["state"] == "present",
            lifetime=_seconds(given["lifetime"] or lifetime, of),
            force=given["force"] or item["force"],
            file=_file(context, item, given, of),
        )
        if handout.name in {other.name for other in handouts}:
            raise TenantryError(f"kubeconfigs: {handout.name} is given twice for {who}; give each once")
        handouts.append(handout)
    return handouts


def _seconds(lifetime: str, of: str) -> int:
    return _quantities.seconds(lifetime, f"lifetime of {of}", SHORTEST, LONGEST)


def _file(context: Context, item: dict, given: dict, of: str) -> UserKubeconfig | None:
    path, secret, vault = given["path"], given["secret"], given["vault_password_file"]
    if path and secret:
        raise TenantryError(f"kubeconfigs: path and secret are both given for {of}; give one of them")
    if vault and not path:
        raise TenantryError(f"kubeconfigs: vault_password_file needs a path for {of}; give path")
    if not path and not secret:
        if given["state"] == "present" and item["state"] == "present":
            raise TenantryError(f"kubeconfigs: neither path nor secret is given for {of}; give one of them")
        return None
    store: Store
    if secret:
        if item["state"] == "absent":
            return None  # Secrets of a user who goes are found by their labels
        store = _secret(context, item, given["name"], secret)
    elif vault:
        store = VaultStore(path, vault, _runner(context))
    else:
        store = FileStore(path)
    return UserKubeconfig(store, item["tenant"])


def _secret(context: Context, item: dict, kubeconfig: str, given: dict) -> SecretStore:
    namespace, name = given["namespace"], given["name"]
    for value, field in ((namespace, "namespace"), (name, "name")):
        if not _names.DNS_NAME.fullmatch(value):
            raise TenantryError(
                f"kubeconfigs.secret.{field}: {value!r} is not a name in Kubernetes; "
                "use lower-case letters, digits and -"
            )
    if context.hub.get("v1/Namespace", namespace) is None:
        context.missing(
            TenantryError(f"kubeconfigs.secret.namespace: there is no namespace {namespace} on the hub; make it first")
        )
    labels = _names.labels("user", tenant=item["tenant"], user=item["name"])
    return SecretStore(context.hub, namespace, name, labels, kubeconfig)


def _runner(context: Context) -> Runner:
    # Ansible's programs are beside its Python, which need not be on the PATH of a task.
    program = context.module.get_bin_path("ansible-vault", opt_dirs=[str(Path(sys.executable).parent)])
    if program is None:
        raise TenantryError("vault_password_file: the program ansible-vault is not found; install ansible-core")

    def run(command: list[str], text: str | None) -> tuple[int, str, str]:
        return context.module.run_command([program, *command[1:]], data=text)

    return run


def hand_out(context: Context, owner: Owner, handout: Handout) -> dict:
    """Bring one kubeconfig up to date. What it supersedes is revoked after the new one is in place."""
    entries = [_Entry.of(owner, place, handout) for place in owner.entered]
    actions = [row for entry in entries for row in entry.actions()]
    if not context.check_mode:
        context.hub.map(lambda entry: entry.obtain(context), entries)
        context.secret(*(entry.token for entry in entries))
    ways = [entry.way() for entry in entries if handout.present]
    if handout.file:
        kept = owner.incomplete and handout.present
        config = handout.file.content(ways, lambda name: kept and name not in owner.examined)
        if handout.file.put(config, check=context.check_mode):
            actions.append(handout.file.action(config))
    if not context.check_mode:
        context.hub.map(_Entry.clean_up, entries)
    claims = [found for entry in entries if (found := _credentials.claims(entry.token))]
    return {
        "name": handout.name,
        **(handout.file.where if handout.file and ways else {}),
        "contexts": [way.name for way in ways],
        "credential": "oidc" if owner.person else "token",
        "expires": min((claim.expires_at for claim in claims), default=None),
        "changed": bool(actions),
        "actions": actions,
    }


def purge(context: Context, owner: Owner, wanted: set[str]) -> list[dict]:
    """End every other kubeconfig of the user, and remove those that are in Secrets on the hub."""
    actions = []
    for place in () if owner.person else owner.entered:
        ended = [secret for secret in place.secrets_of(owner.name) if kubeconfig_of(secret) not in wanted]
        actions += _credentials.revocation_actions(ended)
        if not context.check_mode:
            place.revoke(ended)
    selector = _names.selector("user", tenant=owner.tenant, user=owner.name)
    for secret in context.hub.list(SECRET, selector=selector):
        kept = secret.get("type") == SECRET_TYPE and kubeconfig_of(secret) not in wanted
        if kept and user_of(secret) == owner.name:
            actions += _credentials.revocation_actions([secret])
            if not context.check_mode:
                _credentials.revoke(context.hub, secret)
    return actions


@dataclass
class _Entry:
    """A user's way into one virtual cluster, as one kubeconfig has it."""

    user: str
    place: Place
    handout: Handout
    token: str | None
    leftovers: list[dict]
    person: Person | None = None

    @classmethod
    def of(cls, owner: Owner, place: Place, handout: Handout) -> _Entry:
        there = handout.file.tokens.get(place.context) if handout.file else None
        secrets = place.secrets_of(owner.name, handout.name)
        stays = (
            handout.present
            and not owner.person
            and not handout.force
            and _credentials.still_good(there, secrets, handout.lifetime, time.time())
        )
        # Of a person at an issuer, all tokens of ours are gone by now.
        leftovers = [] if owner.person else place.leftovers(owner.name, handout.name, there, stays)
        return cls(owner.name, place, handout, there if stays else None, leftovers, owner.person)

    def actions(self) -> list[dict]:
        ended = _credentials.revocation_actions(self.leftovers)
        if not self._needs_token:
            return ended
        secret = self.place.next_secret(self.user, self.handout.name)
        return [_credentials.creation_action(self.place.people, secret), *ended]

    @property
    def _needs_token(self) -> bool:
        return self.handout.present and not self.token and not self.person

    def obtain(self, context: Context) -> None:
        if self._needs_token:
            requester = context.requester()
            self.token = self.place.issue(self.user, self.handout.name, self.handout.lifetime, requester)

    def way(self) -> KubeContext:
        place = self.place
        plugin = self.person.plugin(place.issuer) if self.person and place.issuer else None
        token, namespace = self.token or "", place.default_namespace
        return KubeContext(place.context, place.server, place.ca_data, self.user, token, namespace, plugin)

    def clean_up(self) -> None:
        self.place.revoke(self.leftovers)
