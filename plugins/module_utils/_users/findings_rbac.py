# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find rights in a virtual cluster that neither the platform nor Kubernetes nor k3s gave. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import ADMINISTRATOR, SYSTEM_NAMESPACES
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import role_name
from ansible_collections.tenantry.kube.plugins.module_utils._users.bindings import ACCOUNT

# How much the roles of users are inside.
_RANK = {"viewer": 0, "platform_operator": 0, "developer": 1, "admin": 2}
# Groups that everybody is in who can make an account inside, or nobody at all; and what Kubernetes lets them have.
_EVERYBODY = ("system:authenticated", "system:unauthenticated", "system:serviceaccounts")
_FOR_EVERYBODY = (
    "system:basic-user",
    "system:cluster-trust-bundle-discovery",
    "system:discovery",
    "system:public-info-viewer",
    "system:service-account-issuer-discovery",
)
# All that they are about, but for paths.
_ABOUT_ONESELF = {
    ("authentication.k8s.io", "selfsubjectreviews"),
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
}
# What everybody may read beside that.
_TO_READ = {("certificates.k8s.io", "clustertrustbundles")}
# Others that are bound without anybody's doing, or seem to be.
_OF_COMPONENTS = (
    "clustercidrs-node",
    "system:auth-delegator",
    "system:coredns",
    "system:k3s-controller",
    "system:kube-dns",
    "system:kube-proxy",
    "system:kube-scheduler",
    "system:metrics-server",
    "system:monitoring",
    "system:node",
    "system:node-proxier",
    "system:volume-scheduler",
)
# Each controller of Kubernetes has a role of its name. These have secrets or everything in it, in one release at least.
_OF_CONTROLLERS = "system:controller:"
_WIDE = {
    f"{_OF_CONTROLLERS}{name}"
    for name in (
        "attachdetach-controller",
        "clusterrole-aggregation-controller",
        "disruption-controller",
        "expand-controller",
        "generic-garbage-collector",
        "horizontal-pod-autoscaler",
        "legacy-service-account-token-cleaner",
        "namespace-controller",
        "persistent-volume-binder",
        "resourcequota-controller",
        "storage-version-migrator-controller",
    )
}
# All that some release has: of a name that Kubernetes does not know, an account may have been given anything.
_CONTROLLERS = {
    f"{name}-controller"
    for name in (
        "attachdetach", "certificate", "clusterrole-aggregation", "cronjob", "daemon-set", "deployment",
        "device-taint-eviction", "disruption", "endpoint", "endpointslice", "endpointslicemirroring",
        "ephemeral-volume", "expand", "job", "namespace", "node", "podgroup-protection", "pv-protection",
        "pvc-protection", "replicaset", "replication", "resource-claim", "resourcepoolstatusrequest",
        "resourcequota", "route", "selinux-warning", "service", "service-account", "service-cidrs", "statefulset",
        "storage-version-migrator", "ttl", "ttl-after-finished", "validatingadmissionpolicy-status",
        "volumeattributesclass-protection",
    )
} | {
    "generic-garbage-collector", "horizontal-pod-autoscaler", "kube-apiserver-serving-clustertrustbundle-publisher",
    "legacy-service-account-token-cleaner", "persistent-volume-binder", "pod-garbage-collector",
    "podcertificaterequestcleaner", "root-ca-cert-publisher", "storage-version-garbage-collector",
}  # fmt: skip
_CONTROLLERS_OF_NAMESPACES = {"bootstrap-signer", "cloud-provider", "token-cleaner"}
# What no other has.
_NEVER_VERBS = {"*", "bind", "escalate"}
_ESCALATES = f"{_OF_CONTROLLERS}clusterrole-aggregation-controller"
# From Kubernetes 1.36 on also impersonate:serviceaccount and others, with impersonate-on:... for what is done so.
_IMPERSONATES = "impersonate"
_READ = {"get", "list", "watch"}
# What these do with everything, by default.
_TO_ALL = {
    f"{_OF_CONTROLLERS}{name}": set(verbs.split())
    for name, verbs in {
        "generic-garbage-collector": "delete get list patch update watch",
        "namespace-controller": "delete deletecollection get list watch",
        "resourcequota-controller": "list watch",
        "storage-version-migrator-controller": "get list patch update watch",
    }.items()
}
# Ways from some right to that of another account: to make tokens or what has them, to enter it, to sign for it, to see
# or change the requests of others. Writing RBAC is none, because nobody grants rights that they lack.
_WRITE = {"approve", "attest", "create", "patch", "sign", "update"}
_ENTRANCES = {f"pods/{part}" for part in ("attach", "exec", "portforward", "proxy")} | {"nodes/proxy", "services/proxy"}
_REACHING = {
    *("cronjobs", "daemonsets", "deployments", "jobs", "pods", "replicasets", "replicationcontrollers"),
    *("secrets", "serviceaccounts/token", "statefulsets", "pods/ephemeralcontainers", "helmchartconfigs", "helmcharts"),
    *("certificatesigningrequests", "certificatesigningrequests/approval", "certificatesigningrequests/status"),
    *("apiservices", "customresourcedefinitions", "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"),
    *("mutatingwebhookconfigurations", "signers", "validatingadmissionpolicies", "validatingadmissionpolicybindings"),
    "validatingwebhookconfigurations",
}
# Who has which of them by default.
_REACHING_BY_DEFAULT = {
    "system:node": {"certificatesigningrequests", "pods", "serviceaccounts/token"},
    **{
        f"{_OF_CONTROLLERS}{name}": set(resources.split())
        for name, resources in {
            "certificate-controller": "certificatesigningrequests/approval certificatesigningrequests/status signers",
            "cronjob-controller": "cronjobs jobs",
            "daemon-set-controller": "pods",
            "deployment-controller": "deployments pods replicasets",
            "job-controller": "jobs pods",
            "kube-apiserver-serving-clustertrustbundle-publisher": "signers",
            "legacy-service-account-token-cleaner": "secrets",  # of them, see _TO_SECRETS
            "persistent-volume-binder": "pods",
            "replicaset-controller": "pods replicasets",
            "replication-controller": "pods replicationcontrollers",
            "statefulset-controller": "pods",
        }.items()
    },
}
# What these do with Secrets, the last two in their namespace; in older releases, the first three read one by name.
_TO_SECRETS = {
    "system:node": _READ,
    **{
        f"{name}": set(verbs.split())
        for name, verbs in {
            f"{_OF_CONTROLLERS}attachdetach-controller": "get",
            f"{_OF_CONTROLLERS}expand-controller": "get",
            f"{_OF_CONTROLLERS}persistent-volume-binder": "get",
            f"{_OF_CONTROLLERS}legacy-service-account-token-cleaner": "delete patch",
            f"kube-system/{_OF_CONTROLLERS}bootstrap-signer": "delete get list watch",
            f"kube-system/{_OF_CONTROLLERS}token-cleaner": "delete get list watch",
        }.items()
    },
}
# Groups of APIs in which Kubernetes and k3s have rules. In others a right can be any: a GitOps operator installs what
# its resources say.
_GROUPS = {"*", "", "apps", "autoscaling", "batch", "extensions", "helm.cattle.io", "k3s.cattle.io", "policy"}
_GROUPS_OF_KUBERNETES = ".k8s.io"
_METRICS = {"custom.metrics.k8s.io", "external.metrics.k8s.io"}
# ClusterRoles that Kubernetes and k3s bind, by who has them. The lab's k3s binds fewer.
_BOUND = {
    ("Group", "system:masters"): ("cluster-admin",),
    ("Group", "system:monitoring"): ("system:monitoring",),
    ("Group", "system:nodes"): ("clustercidrs-node",),
    ("User", "kube-apiserver"): ("system:kubelet-api-admin",),
    ("User", "system:k3s-controller"): ("system:k3s-controller",),
    ("User", "system:kube-controller-manager"): ("system:kube-controller-manager",),
    ("User", "system:kube-proxy"): ("system:node-proxier",),
    ("User", "system:kube-scheduler"): ("system:kube-scheduler", "system:volume-scheduler"),
    **{("Group", group): _FOR_EVERYBODY for group in _EVERYBODY},
}
# The same for accounts of kube-system, beside the roles of controllers.
_BOUND_ACCOUNTS = {
    "coredns": ("system:coredns",),
    "kube-dns": ("system:kube-dns",),
    "metrics-server": ("system:auth-delegator", "system:metrics-server"),
}
# Roles of kube-system that are bound there.
_READER = "extension-apiserver-authentication-reader"
_MANAGER, _SCHEDULER = (f"system::leader-locking-kube-{one}" for one in ("controller-manager", "scheduler"))
_BOUND_IN_KUBE_SYSTEM = {
    ("User", "system:kube-controller-manager"): (_READER, _MANAGER),
    ("User", "system:kube-scheduler"): (_READER, _SCHEDULER),
    ("ServiceAccount", "kube-controller-manager"): (_MANAGER,),
    ("ServiceAccount", "kube-scheduler"): (_SCHEDULER,),
    ("ServiceAccount", "leader-election-controller"): (_MANAGER,),
    ("ServiceAccount", "metrics-server"): (_READER,),
}


Subjects = Mapping[str, Collection[tuple[str, str]]]  # kind and name, by user


def has_account(user: str, subjects: Subjects) -> bool:
    """Whether the platform makes one for this user: not for one who comes by an issuer."""
    return user not in subjects or (ACCOUNT, user) in subjects[user]


def binding(
    found: dict, known: Mapping[str, Collection[str | None]], subjects: Subjects | None = None
) -> dict[str, str] | None:
    """Return the finding for a binding, or None.

    It gives rights to a subject that the platform does not know, to an account in the whole cluster, or to a user with
    less on record. `known` has the roles of each user, `subjects` the users without an account of their name.
    """
    meta, role = found["metadata"], found["roleRef"]
    foreign = [one for one in found.get("subjects") or [] if _is_foreign(one, found, known, subjects or {})]
    if not foreign:
        return None
    whose = ", ".join(
        f"{one['kind']} {one.get('namespace', '')}/{one['name']}".replace(" /", " ") for one in foreign[:3]
    )
    scope = f"in namespace {meta['namespace']}" if meta.get("namespace") else "in the whole virtual cluster"
    more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
    return {"why": f"gives {role['kind']} {role['name']} to {whose}{more}, {scope}"}


def _is_foreign(subject: dict, found: dict, known: Mapping[str, Collection[str | None]], subjects: Subjects) -> bool:
    kind, name, space = subject["kind"], subject["name"], subject.get("namespace")
    # Ours are for the whole virtual cluster: in a namespace, our labels say nothing.
    own = found["metadata"]["name"].startswith("tenantry:") and naming.is_ours(found)
    own = own and found["metadata"].get("namespace") is None
    if own and (user := (found["metadata"].get("labels") or {}).get(naming.LABEL_USER, ADMINISTRATOR)) in known:
        role = found["roleRef"]["name"]
        expected = {f"tenantry:{user}:{role.removeprefix(role_name(''))}", f"tenantry:{ADMINISTRATOR}"}
        place = naming.PLATFORM_NAMESPACE if kind == ACCOUNT else None
        is_expected = space == place and (kind, name) in subjects.get(user, {(ACCOUNT, user)})
        is_named = role.startswith(role_name("")) and found["metadata"]["name"] in expected
        return not is_named or not is_expected or _is_more_than(role.removeprefix(role_name("")), known[user])
    if kind == ACCOUNT:
        namespace = found["metadata"].get("namespace")
        if namespace is not None and namespace not in SYSTEM_NAMESPACES:
            return False
        return space != "kube-system" or not _is_default_of_account(name, found)
    return not _is_default(kind, name, found)


def _is_more_than(role: str, on_record: Collection[str | None]) -> bool:
    return all(_RANK.get(role, max(_RANK.values())) > _RANK.get(one or "", -1) for one in on_record)


def _is_default_of_account(name: str, found: dict) -> bool:
    """Return whether Kubernetes or k3s gives this role to that account of kube-system."""
    role, namespace = found["roleRef"], found["metadata"].get("namespace")
    if role["name"] == f"{_OF_CONTROLLERS}{name}":
        if role["kind"] == "ClusterRole":
            return namespace is None and name in _CONTROLLERS
        return namespace in ("kube-public", "kube-system") and name in _CONTROLLERS_OF_NAMESPACES
    if role["kind"] == "ClusterRole":
        return namespace is None and role["name"] in _BOUND_ACCOUNTS.get(name, ())
    return _is_default("ServiceAccount", name, found)


def role(found: dict) -> dict[str, str] | None:
    """Return the finding for a default role with additional rules, which Kubernetes does not remove, or None."""
    name, namespace = found["metadata"]["name"], found["metadata"].get("namespace")
    is_more = _is_more_for_everybody if name in _FOR_EVERYBODY else _is_more_for_components
    bound = (_READER, _MANAGER, _SCHEDULER) if namespace else (*_FOR_EVERYBODY, *_OF_COMPONENTS)
    if name not in bound and not name.startswith(_OF_CONTROLLERS):
        return None
    key = f"{namespace}/{name}" if namespace else name
    more = [rule for rule in found.get("rules") or [] if is_more(key, rule)]
    if not more:
        return None
    what = sorted({one for rule in more for key in ("resources", "nonResourceURLs") for one in rule.get(key) or []})
    what_to_edit = f"role -n {namespace}" if namespace else "clusterrole"
    whose = "everybody" if name in _FOR_EVERYBODY else "a component of Kubernetes"
    return {
        "why": f"is for {whose}, and has rules that are not Kubernetes' own: {', '.join(what[:5])}",
        "end": f"remove these rules: kubectl edit {what_to_edit} {name}",
    }


def _is_more_for_everybody(_name: str, rule: dict) -> bool:
    about = {(group, one) for group in rule.get("apiGroups") or [] for one in rule.get("resources") or []}
    paths = rule.get("nonResourceURLs") or []
    allowed = _ABOUT_ONESELF | _TO_READ if {*rule["verbs"]} <= _READ else _ABOUT_ONESELF
    return "*" in rule["verbs"] or not about <= allowed or "*" in paths or "/*" in paths


def _is_more_for_components(name: str, rule: dict) -> bool:
    verbs, resources, groups = ({*(rule.get(key) or [])} for key in ("verbs", "resources", "apiGroups"))
    if _is_reaching(name, verbs, resources) or any(verb.startswith(_IMPERSONATES) for verb in verbs):
        return True
    if any(one not in _GROUPS and not one.endswith(_GROUPS_OF_KUBERNETES) for one in groups):
        return True
    if verbs & (_NEVER_VERBS - ({"escalate"} if name == _ESCALATES else set())):
        return True
    if "secrets" in resources and not verbs <= _TO_SECRETS.get(name, set()):
        return True
    if "*" in resources and not verbs <= _TO_ALL.get(name, set()) and not groups <= _METRICS:
        return True
    return name not in _WIDE and "*" in {*groups, *(rule.get("nonResourceURLs") or [])}


def _is_reaching(name: str, verbs: Collection[str], resources: Collection[str]) -> bool:
    """By the name of a resource, or by that of a subresource of all: */token is serviceaccounts/token too."""

    def among(known: Collection[str]) -> set[str]:
        return {one for one in known if one in resources or ("/" in one and f"*/{one.partition('/')[2]}" in resources)}

    reaching = among(_REACHING) if {*verbs} & _WRITE else set()
    return bool(reaching - _REACHING_BY_DEFAULT.get(name, set()) or among(_ENTRANCES))


def _is_default(kind: str, name: str, found: dict) -> bool:
    """Return whether Kubernetes or k3s gives this role to that user or group."""
    role, namespace = found["roleRef"], found["metadata"].get("namespace")
    if role["kind"] == "ClusterRole":
        return namespace is None and role["name"] in _BOUND.get((kind, name), ())
    return namespace == "kube-system" and role["name"] in _BOUND_IN_KUBE_SYSTEM.get((kind, name), ())
