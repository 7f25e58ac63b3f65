# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Bindings that others created for an identity of the platform, which a new identity of that name must not inherit."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import LABEL_COMPONENT, LABEL_USER, is_ours
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Action
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    CLUSTER_ROLE_BINDING,
    ROLE_BINDING,
)

KINDS = (CLUSTER_ROLE_BINDING, ROLE_BINDING)
ACCOUNT = "ServiceAccount"  # the kind of subject that a user is who comes by no issuer


def inherited(cluster: Cluster, accounts: Collection[tuple[str, str]]) -> list[Action]:
    """Return the actions that remove ServiceAccounts, given as (namespace, name), from bindings of others.

    A binding names its subject, survives it, and applies to the next one of that name. A user of an issuer has no
    namespace: ("", name).
    """
    if not accounts:
        return []

    def found(kind: str) -> list[Action]:
        every = (binding for page in cluster.pages(kind) for binding in page)
        return [action for binding in every if (action := _without(binding, accounts))]

    return [action for of_kind in cluster.map(found, KINDS) for action in of_kind]


def ended(actions: Iterable[Action]) -> dict[tuple[str, str], str]:
    """
    Return the issuer's users who lose all the platform's bindings, as `inherited` takes them, with their names here.
    """
    before: dict[tuple[str, str], str] = {}
    after: set[tuple[str, str]] = set()
    for action in actions:
        binding = action.before or action.desired
        user = (binding["metadata"].get("labels") or {}).get(LABEL_USER)
        role = binding.get("roleRef") or {}
        if user and action.kind in KINDS and role.get("kind") != "Role":  # such a one is for somebody else
            before |= dict.fromkeys(_users(action.before), user)
            after |= _users(action.after)
    return {account: user for account, user in before.items() if account not in after}


def _users(binding: dict | None) -> set[tuple[str, str]]:
    subjects = (binding or {}).get("subjects") or []
    return {("", subject["name"]) for subject in subjects if subject["kind"] == "User"}


def names(binding: dict, namespace: str, account: str) -> bool:
    """Return whether the binding has this ServiceAccount as a subject, or this user if `namespace` is empty."""
    return any(_is(subject, namespace, account) for subject in binding.get("subjects") or [])


def _without(binding: dict, accounts: Collection[tuple[str, str]]) -> Action | None:
    meta = binding["metadata"]
    labels = meta.get("labels") or {}
    # With all of our labels it is in a plan; one of them alone can be anybody's.
    user = labels.get(LABEL_USER) if is_ours(binding) and labels.get(LABEL_COMPONENT) == "user" else None
    foreign = [account for account in accounts if (account[1] != user if account[0] else not user)]
    subjects = binding.get("subjects") or []
    others = [subject for subject in subjects if not any(_is(subject, *account) for account in foreign)]
    if others == subjects:
        return None
    place = f"{binding['apiVersion']}/{binding['kind']}", meta.get("namespace"), meta["name"]
    if not others:
        return Action(*place, "delete", before=binding)
    after = {
        "apiVersion": binding["apiVersion"],
        "kind": binding["kind"],
        "metadata": {key: meta[key] for key in ("name", "namespace") if key in meta},
        "roleRef": binding["roleRef"],
        "subjects": others,
    }
    return Action(*place, "update", ["subjects"], before=binding, after=after)


def _is(subject: dict, namespace: str, account: str) -> bool:
    if subject["kind"] == "ServiceAccount":
        return (subject.get("namespace"), subject["name"]) == (namespace, account)
    if not namespace:
        return subject["kind"] == "User" and subject["name"] == account
    return subject["kind"] == "User" and subject["name"] == f"system:serviceaccount:{namespace}:{account}"
