# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The kubeconfigs of a user: issue, keep current, rotate and revoke each of them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import bound_tokens
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.kubeconfig import KubeContext
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import NAMESPACE, SECRET
from ansible_collections.tenantry.kube.plugins.module_utils._module import (
    Context,
    attempt,
    run_concurrently,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.oidc import Person
from ansible_collections.tenantry.kube.plugins.module_utils._users.access import VClusterAccess
from ansible_collections.tenantry.kube.plugins.module_utils._users.kubeconfig_stores import (
    SECRET_TYPE,
    FileStore,
    Runner,
    SecretStore,
    Store,
    VaultStore,
    kubeconfig_of,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users.user_of import user_of

SHORTEST, LONGEST = "1h", "365d"

T = TypeVar("T")


@dataclass
class RequestedKubeconfig:
    """A kubeconfig of the options. `lifetime` is in seconds."""

    name: str
    present: bool
    lifetime: int
    force: bool
    file: UserKubeconfig | None  # none for one that is only to be revoked


@dataclass(frozen=True)
class Owner:
    """The user of kubeconfigs, and the virtual clusters in them."""

    tenant: str
    name: str
    entered: list[VClusterAccess]
    examined: set[str]  # contexts of the virtual clusters that answered
    incomplete: bool  # others did not: what leads there is kept
    person: Person | None = None  # at an issuer, who needs no token of ours


def asked_for(context: Context, item: dict, who: str) -> list[RequestedKubeconfig]:
    """Return the validated kubeconfigs of an item of tenant_user. `who` is the user in error messages."""
    present, lifetime = item["state"] == "present", item["lifetime"]
    requested_kubeconfigs = []
    if item["kubeconfig_path"]:
        store = FileStore(item["kubeconfig_path"])
        file = UserKubeconfig(store, item["tenant"])
        requested_kubeconfigs.append(
            RequestedKubeconfig(store.id, present, _seconds(lifetime, who), item["force"], file)
        )
    else:
        _seconds(lifetime, who)
    for given in item["kubeconfigs"] or []:
        of = f"kubeconfig {given['name']} of {who}"
        requested = RequestedKubeconfig(
            name=naming.check_name(given["name"], "kubeconfigs.name", reserved=()),
            present=present and given["state"] == "present",
            lifetime=_seconds(given["lifetime"] or lifetime, of),
            force=given["force"] or item["force"],
            file=_file(context, item, given, of),
        )
        if requested.name in {other.name for other in requested_kubeconfigs}:
            raise TenantryError(f"kubeconfigs: {requested.name} is given twice for {who}. Give each once")
        requested_kubeconfigs.append(requested)
    return requested_kubeconfigs


def _seconds(lifetime: str, of: str) -> int:
    return quantities.seconds(lifetime, f"lifetime of {of}", SHORTEST, LONGEST)


def _file(context: Context, item: dict, given: dict, of: str) -> UserKubeconfig | None:
    path, secret, vault = given["path"], given["secret"], given["vault_password_file"]
    if path and secret:
        raise TenantryError(f"kubeconfigs: path and secret are both given for {of}. Set one of them")
    if vault and not path:
        raise TenantryError(f"kubeconfigs: vault_password_file needs a path for {of}. Set path")
    if not path and not secret:
        if given["state"] == "present" and item["state"] == "present":
            raise TenantryError(f"kubeconfigs: neither path nor secret is given for {of}. Set one of them")
        return None
    store: Store
    if secret:
        if item["state"] == "absent":
            return None  # Secrets of a user who goes are found by their labels
        store = _secret(context, item, given["name"], secret)
    elif vault:
        store = VaultStore(path, vault, _runner(context))
    else:
        store = FileStore(path, "kubeconfigs.path")
    return UserKubeconfig(store, item["tenant"])


def _secret(context: Context, item: dict, kubeconfig: str, given: dict) -> SecretStore:
    namespace, name = given["namespace"], given["name"]
    for value, field in ((namespace, "namespace"), (name, "name")):
        if not naming.DNS_NAME.fullmatch(value):
            raise TenantryError(
                f"kubeconfigs.secret.{field}: {value!r} is not a valid Kubernetes name. "
                "Use lower-case letters, digits and -"
            )
    if context.hub.get(NAMESPACE, namespace) is None:
        context.missing(
            TenantryError(
                f"kubeconfigs.secret.namespace: there is no namespace {namespace} on the hub. Create it first"
            )
        )
    labels = naming.labels("user", tenant=item["tenant"], user=item["name"])
    return SecretStore(context.hub, namespace, name, labels, kubeconfig)


def _runner(context: Context) -> Runner:
    # Ansible's programs are beside its Python, which need not be on the PATH of a task.
    program = context.module.get_bin_path("ansible-vault", opt_dirs=[str(Path(sys.executable).parent)])
    if program is None:
        raise TenantryError("vault_password_file: the program ansible-vault is not found. Install ansible-core")

    def run(command: list[str], text: str | None) -> tuple[int, str, str]:
        return context.module.run_command([program, *command[1:]], data=text)

    return run


def write_kubeconfig(context: Context, owner: Owner, requested: RequestedKubeconfig) -> dict:
    """Update one kubeconfig, then revoke the tokens that it replaced. Return its row, with `problems` by context.

    Where it could not be written, the tokens in it stay valid.
    """
    entries = [_Entry.of(owner, place, requested) for place in owner.entered]
    actions = [row for entry in entries for row in entry.creation()]
    if not context.check_mode:
        run_concurrently(lambda entry: entry.obtain(context), entries)
        context.secret(*(entry.token for entry in entries))
    entries, failed = _by_success(entries)
    problem, stored = attempt(lambda: _store(context, owner, requested, entries, failed))
    done = [] if problem and requested.present else entries
    actions += [*(stored or []), *(row for entry in done for row in entry.revocation())]
    if not context.check_mode:
        run_concurrently(_Entry.clean_up, done)
    ways = [entry.way() for entry in done if requested.present]
    claims = [found for entry in done if (found := bound_tokens.claims(entry.token))]
    problems = {entry.place.context: entry.problem or problem for entry in [*entries, *failed]}
    return {
        "name": requested.name,
        **(requested.file.where if requested.file and ways else {}),
        "contexts": [way.name for way in ways],
        "credential": "oidc" if owner.person else "token",
        "expires": min((claim.expires_at for claim in claims), default=None),
        "changed": bool(actions),
        "actions": actions,
        "problems": [(name, text) for name, text in {"": problem, **problems}.items() if text],
    }


def _store(
    context: Context, owner: Owner, requested: RequestedKubeconfig, entries: list[_Entry], failed: list[_Entry]
) -> list[dict]:
    """Write the kubeconfig with these entries, or delete it. Return what changes as rows."""
    if requested.file is None:
        return []
    ways = [entry.way() for entry in entries if requested.present]
    kept = requested.present and bool(owner.incomplete or failed)
    examined = owner.examined - {entry.place.context for entry in failed}
    config = requested.file.content(ways, lambda name: kept and name not in examined)
    changed = requested.file.put(config, check=context.check_mode)
    return [requested.file.action(config)] if changed else []


def purge(context: Context, owner: Owner, wanted: set[str], actions: list[dict]) -> None:
    """Revoke all kubeconfigs of the user except `wanted`, and delete those in Secrets on the hub.

    Each is added to `actions` before it is tried.
    """
    for place in () if owner.person else owner.entered:
        ended = [secret for secret in place.secrets_of(owner.name) if kubeconfig_of(secret) not in wanted]
        actions += bound_tokens.revocation_actions(ended)
        if not context.check_mode:
            place.revoke(ended)
    selector = naming.selector("user", tenant=owner.tenant, user=owner.name)
    for secret in context.hub.list(SECRET, selector=selector):
        kept = secret.get("type") == SECRET_TYPE and kubeconfig_of(secret) not in wanted
        if kept and user_of(secret) == owner.name:
            actions += bound_tokens.revocation_actions([secret])
            if not context.check_mode:
                bound_tokens.revoke(context.hub, secret)


@dataclass
class _Entry:
    """One context of one kubeconfig."""

    user: str
    place: VClusterAccess
    requested: RequestedKubeconfig
    token: str | None
    superseded_secrets: list[dict]
    person: Person | None = None
    problem: str = ""  # of this way; the user's others are given all the same

    @classmethod
    def of(cls, owner: Owner, place: VClusterAccess, requested: RequestedKubeconfig) -> _Entry:
        there = requested.file.tokens.get(place.context) if requested.file else None
        stays = (
            requested.present
            and not owner.person
            and not requested.force
            and place.still_good(owner.name, there, requested.name, requested.lifetime)
        )
        # Of a person at an issuer, all tokens of ours are gone by now.
        superseded_secrets = [] if owner.person else place.superseded_secrets(owner.name, requested.name, there, stays)
        return cls(owner.name, place, requested, there if stays else None, superseded_secrets, owner.person)

    def creation(self) -> list[dict]:
        """Return the Secret of a new token as a row, if one is needed."""
        if not self._needs_token:
            return []
        secret = self.place.next_secret(self.user, self.requested.name)
        return [bound_tokens.creation_action(self.place.users_namespace, secret)]

    def revocation(self) -> list[dict]:
        """Return what `clean_up` deletes as rows."""
        return bound_tokens.revocation_actions(self.superseded_secrets)

    @property
    def _needs_token(self) -> bool:
        return self.requested.present and not self.token and not self.person

    def obtain(self, context: Context) -> None:
        if self._needs_token:
            requester = context.requester()
            self.token = self._try(
                lambda: self.place.issue(self.user, self.requested.name, self.requested.lifetime, requester)
            )

    def _try(self, do: Callable[[], T]) -> T | None:
        problem, result = attempt(do)
        if problem:
            self.problem = f"{self.place.where}: {problem}"
        return result

    def way(self) -> KubeContext:
        place = self.place
        plugin = self.person.plugin(place.issuer) if self.person and place.issuer else None
        token, namespace = self.token or "", place.default_namespace
        return KubeContext(place.context, place.server, place.ca_data, self.user, token, namespace, plugin)

    def clean_up(self) -> None:
        self._try(lambda: self.place.revoke(self.superseded_secrets))


def _by_success(entries: list[_Entry]) -> tuple[list[_Entry], list[_Entry]]:
    return [one for one in entries if not one.problem], [one for one in entries if one.problem]


class UserKubeconfig:
    """A stored kubeconfig of a user of one tenant. Raises a TenantryError if it is someone else's."""

    def __init__(self, store: Store, tenant: str) -> None:
        self._store = store
        self._prefix = f"{tenant}--"
        self._config = store.read() or {}
        self._contexts = {context["name"]: context for context in self._entries("contexts")}
        self.tokens: dict[str, str | None] = {
            entry["name"]: (entry.get("user") or {}).get("token") for entry in self._entries("users")
        }
        if store.exists and not self._is_ours():
            raise TenantryError(
                f"{self.option}: {self.label} exists and is not a kubeconfig of a user of tenant {tenant}. "
                "Remove it or choose another place"
            )

    @property
    def where(self) -> dict[str, Any]:
        return self._store.where

    @property
    def label(self) -> str:
        return self._store.label

    @property
    def option(self) -> str:
        """The option that names the place, for errors."""
        return self._store.option

    @property
    def exists(self) -> bool:
        return self._store.exists

    def content(self, ways: list[kubeconfig_files.KubeContext], keep: Callable[[str], bool]) -> dict | None:
        """Return a kubeconfig with these contexts and existing ones that `keep` accepts. None without any context."""
        config = kubeconfig_files.build(ways, current="")
        new = {way.name for way in ways}
        kept = {name for name in self._contexts if name not in new and keep(name)}
        for section in ("contexts", "clusters", "users"):
            config[section] += [entry for entry in self._entries(section) if entry["name"] in kept]
            config[section].sort(key=lambda entry: entry["name"])
        if not config["contexts"]:
            return None
        return {**config, "current-context": config["contexts"][0]["name"]}

    def put(self, config: dict | None, *, check: bool) -> bool:
        """Write the kubeconfig, or delete it if None. Return whether anything changes."""
        if config is not None:
            return self._store.write(config, check=check)
        if not self.exists:
            return False
        if not check:
            self._store.remove()
        return True

    def action(self, config: dict | None) -> dict:
        """Return the change as a row of a result."""
        action = "delete" if config is None else "update" if self.exists else "create"
        return {"action": action, "kind": "Kubeconfig", "name": self.label}

    def _entries(self, section: str) -> list[dict]:
        entries = self._config.get(section)
        return [entry for entry in entries if isinstance(entry, dict) and "name" in entry] if entries else []

    def _is_ours(self) -> bool:
        return bool(self._contexts) and all(str(name).startswith(self._prefix) for name in self._contexts)
