# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names, labels and namespaces: the only place that knows how they are composed."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Sequence

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown

MANAGED_BY = "tenantry.kube"
MANAGED_BY_SYNCER = "tenantry-syncer"  # what a tenant's objects become on the host: nothing of ours
FIELD_MANAGER = "tenantry.kube"
# Of promises on a tenant's record, by which the audit report tells them from changes of the quota.
PROMISES_MANAGER = "tenantry.kube-promises"
PLATFORM_NAMESPACE = "tenantry-system"
TENANT_PREFIX = "tenant-"  # of the names of tenants' namespaces on the hub
HUB = "hub"
# The variable of the reconciler with the hub's address outside of the hub, for kubeconfigs of users.
HUB_SERVER_VARIABLE = "TENANTRY_HUB_SERVER"

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_NAME = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_PREFIX = "tenantry.dev/"
LABEL_COMPONENT = LABEL_PREFIX + "component"
LABEL_TENANT = LABEL_PREFIX + "tenant"
LABEL_VCLUSTER = LABEL_PREFIX + "vcluster"
LABEL_USER = LABEL_PREFIX + "user"
LABEL_MEMBER = LABEL_PREFIX + "member"
LABEL_TIER = LABEL_PREFIX + "tier"

MAX_LABEL = 63  # of a DNS label, hence of a namespace
RESERVED = frozenset({"all", "default", HUB, "kube", "kube-node-lease", "kube-public", "kube-system", "none", "system"})
RESERVED_PREFIX = "tenantry"

# Of a host, and of most objects of Kubernetes.
DNS_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*", re.ASCII)
_NAME = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_YAML_WORDS = frozenset({"true", "false", "none", "null"})

# The parts of a virtual cluster, and their label.
SERVER = "server"
AGENT = "agent"
ETCD = "etcd"
SYNCER = "syncer"
PART_LABEL = "app.kubernetes.io/component"
K3S_CONTAINER = "k3s"  # of servers and agents
# The resources that quotas of tenants count, in the order of tables.
RESOURCES = ("cpu", "memory", "storage", "pods")
# As the syncer labels what it makes on the host.
NAMESPACE_LABEL = "tenantry.dev/virtual-namespace"


def labels(
    component: str,
    *,
    tenant: str | None = None,
    vcluster: str | None = None,
    user: str | None = None,
    member: str | None = None,
) -> dict[str, str]:
    """Return the labels of an object of the platform."""
    given = {
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_COMPONENT: component,
        LABEL_TENANT: tenant,
        LABEL_VCLUSTER: vcluster,
        LABEL_USER: user,
        LABEL_MEMBER: member,
    }
    return {label: value for label, value in given.items() if value is not None}


def selector(component: str | None = None, **same: str | None) -> str:
    """Return the label selector that matches what `labels()` with the same arguments marks."""
    return selecting({label: value for label, value in labels(component or "", **same).items() if value})


def selecting(wanted: dict[str, str]) -> str:
    """Return the label selector for objects with all of these labels."""
    return ",".join(f"{label}={value}" for label, value in wanted.items())


def is_ours(obj: dict) -> bool:
    """Return whether the object has the platform's label `managed-by`."""
    return (obj["metadata"].get("labels") or {}).get(LABEL_MANAGED_BY) == MANAGED_BY


def tenant_namespace(tenant: str) -> str:
    """Return the name of the tenant's namespace on the hub."""
    return _namespace(f"{TENANT_PREFIX}{tenant}", f"tenant {shown(tenant)}")


def tenant_of(namespace: str) -> str | None:
    """Return the tenant whose namespace has this name, or None."""
    return namespace.removeprefix(TENANT_PREFIX) if namespace.startswith(TENANT_PREFIX) else None


def vcluster_namespace(tenant: str, name: str) -> str:
    """Return the namespace of a virtual cluster. Unambiguous, because neither name contains `--`."""
    return _namespace(joined(tenant, name), f"tenant {shown(tenant)} and name {shown(name)}")


def joined(tenant: str, name: str) -> str:
    """Return that namespace for names that were not checked yet. It may be too long to exist."""
    return f"{tenant}--{name}"


def _namespace(composed: str, of: str) -> str:
    if len(composed) > MAX_LABEL:
        raise TenantryError(
            f"{of}: the namespace {composed} would have {len(composed)} characters, at most {MAX_LABEL} are allowed. "
            f"Shorten by {len(composed) - MAX_LABEL}"
        )
    return composed


def first_twice(names: Sequence[str]) -> str | None:
    """Return the first name that was given before, or None."""
    return next((name for index, name in enumerate(names) if name in names[:index]), None)


def check_name(value: object, field: str, *, reserved: Collection[str] = RESERVED) -> str:
    """Return `value` if it is a valid name: a DNS label without `--` that starts with a letter and is not reserved.

    Raise a TenantryError that begins with `field` otherwise.
    """
    problem = _problem(value, reserved)
    if problem or not isinstance(value, str):  # what is not text always has a problem
        raise TenantryError(f"{field}: {shown(value)} {problem}")
    return value


def _problem(value: object, reserved: Collection[str]) -> str | None:
    if not isinstance(value, str) or value.lower() in _YAML_WORDS:
        return "is not text (YAML reads no, yes, on, off and bare numbers as other types). Quote it or choose another"
    if not value:
        return "is empty. Set a name"
    if len(value) > MAX_LABEL:
        return f"has {len(value)} characters, at most {MAX_LABEL} are allowed. Shorten it"
    if not _NAME.fullmatch(value):
        return (
            "is not a valid name: lower-case letters, digits and `-` only, starting with a letter, "
            "ending with a letter or digit" + _suggestion(value)
        )
    if "--" in value:
        return "contains `--`, which separates tenant and virtual cluster" + _suggestion(value)
    if value in reserved or value.startswith(RESERVED_PREFIX):
        return "is reserved. Choose another name"
    return None


def _suggestion(value: str) -> str:
    better = re.sub(r"[^a-z0-9]+", "-", value.lower()).strip("-")
    return f"; for example {better}" if _NAME.fullmatch(better) else ". Choose another name"


def did_you_mean(value: object, choices: Iterable[str]) -> str:
    """Return ` (did you mean X?)` for the nearest choice, or an empty string."""
    near = difflib.get_close_matches(str(value).lower(), list(choices), n=1)
    return f" (did you mean {near[0]}?)" if near else ""


def pods_priority(tier: str) -> str:
    """Return the PriorityClass of tenants' pods in this tier."""
    return f"tenantry-{tier}"
