"""The table of permissions (PERM), for every role: on the host and in virtual clusters, in own, others' and the
platform's namespaces.

Nothing of it is written down twice: a row says who may, everybody else and everywhere else may not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform.rbac import ROLES

from ..harness import call_module, kubectl
from ..people import await_policy
from .asking import Requests, Right, Row, allowed
from .conftest import NAMES, Scene, connect, token_of
from .sweep import served

READ, WRITE = "get list watch", "create update patch delete deletecollection"
RBAC, ADMISSION = "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
EVERYONE, NOBODY = " ".join(ROLES), ""
WORKLOADS = (
    "pods services configmaps persistentvolumeclaims replicationcontrollers apps/deployments apps/statefulsets "
    "apps/daemonsets apps/replicasets batch/jobs batch/cronjobs"
)
REQUESTS = "tenantry.dev/virtualclusterrequests"
USER_REQUESTS = "tenantry.dev/tenantuserrequests"
ROLES_AND_BINDINGS = f"{RBAC}/roles {RBAC}/rolebindings"
CLUSTER_ROLES = f"{RBAC}/clusterroles {RBAC}/clusterrolebindings"
WEBHOOKS = (
    f"{ADMISSION}/mutatingwebhookconfigurations {ADMISSION}/validatingwebhookconfigurations "
    f"{ADMISSION}/validatingadmissionpolicies {ADMISSION}/validatingadmissionpolicybindings"
)
CLUSTER_WIDE = (
    f"persistentvolumes nodes apiextensions.k8s.io/customresourcedefinitions {WEBHOOKS} {CLUSTER_ROLES} "
    "scheduling.k8s.io/priorityclasses certificates.k8s.io/certificatesigningrequests storage.k8s.io/storageclasses "
    "apiregistration.k8s.io/apiservices"
)
# Verbs that are no requests of their own: an API server asks for them when it handles another.
SPECIAL = {"bind", "escalate", "impersonate", "approve", "sign", "attest", "administer"}


def doors(roles: str) -> list[Row]:
    """The ways to more than a role gives."""
    return [
        Row("escalate, bind", roles, "escalate bind", f"{RBAC}/roles"),
        Row("escalate, bind", roles, "escalate bind", f"{RBAC}/clusterroles", clusterwide=True),
        Row("impersonate", roles, "impersonate", "users groups", clusterwide=True),
        Row("impersonate", roles, "impersonate", "serviceaccounts"),
        Row("tokens of others", roles, "create", "serviceaccounts:token"),
        Row("approve, sign", roles, "approve sign", "certificates.k8s.io/signers", clusterwide=True),
        Row(
            "approve",
            roles,
            "update patch",
            "certificates.k8s.io/certificatesigningrequests:approval "
            "certificates.k8s.io/certificatesigningrequests:status",
            clusterwide=True,
        ),
        Row("nodes/proxy", roles, "get create", "nodes:proxy", clusterwide=True),
        Row("finalize", roles, "update", "namespaces:finalize", clusterwide=True),
        Row("roles", roles, WRITE, ROLES_AND_BINDINGS),
        Row("what is cluster-wide", roles, WRITE, CLUSTER_WIDE, clusterwide=True),
    ]


INSIDE = [
    Row("read pods, services, events", EVERYONE, READ, "pods services events"),
    Row("pod logs", "viewer developer admin", "get", "pods:log"),
    Row("secrets", "developer admin", f"{READ} {WRITE}", "secrets"),
    Row("create workloads", "developer admin", WRITE, WORKLOADS),
    Row("exec, port-forward", "developer admin", "get create", "pods:exec pods:attach pods:portforward"),
    Row("exec, port-forward", "developer admin", "update patch", "pods:ephemeralcontainers"),
    Row("cluster-admin", "admin", WRITE, "limitranges resourcequotas"),
    Row("cluster-admin", "admin", "create update patch delete", "namespaces", clusterwide=True),
    *doors("admin"),
]

# Of the host a tenant sees its tenant namespace. What runs in the namespaces of virtual clusters is the platform's.
HOST = [
    Row("read pods, services, events", EVERYONE, READ, "pods services events configmaps resourcequotas limitranges"),
    Row("pod logs", NOBODY, "get", "pods:log"),
    Row("secrets", NOBODY, f"{READ} {WRITE}", "secrets"),
    Row("create workloads", NOBODY, WRITE, WORKLOADS),
    Row("exec, port-forward", NOBODY, "get create", "pods:exec pods:attach pods:portforward"),
    Row("exec, port-forward", NOBODY, "update patch", "pods:ephemeralcontainers"),
    Row("quotas, limit ranges, network policies", "platform_operator", WRITE, "resourcequotas limitranges"),
    Row("quotas, limit ranges, network policies", "platform_operator", WRITE, "networking.k8s.io/networkpolicies"),
    Row("quotas, limit ranges, network policies", NOBODY, "update patch", "resourcequotas:status"),
    Row("namespaces", "platform_operator", f"{READ} create update patch delete", "namespaces", clusterwide=True),
    Row("namespaces", NOBODY, "update patch", "namespaces:status", clusterwide=True),
    Row("read vclusters", EVERYONE, READ, REQUESTS),
    Row("create/delete a vcluster", "developer admin platform_operator", "create update patch delete", REQUESTS),
    Row("create/delete a vcluster of others", "admin platform_operator", "administer", REQUESTS),
    Row("say that there is a vcluster", NOBODY, "update patch", f"{REQUESTS}:status"),
    Row("users", "admin platform_operator", READ, f"serviceaccounts {RBAC}/rolebindings"),
    Row("add/remove users", "admin platform_operator", f"{READ} create update patch delete administer", USER_REQUESTS),
    Row("say that there is a user", NOBODY, "update patch", f"{USER_REQUESTS}:status"),
    # What is asked for, and users, are made by playbooks, with the platform's own rights.
    Row("users", NOBODY, WRITE, f"serviceaccounts {RBAC}/rolebindings"),
    *doors(NOBODY),
]

OWN, OTHERS = ("tenant-payments",), ("tenant-research", "research--lab")
# Who could read Secrets or make pods beside the server of a virtual cluster would own it, its own tenant included.
PLATFORM = ("payments--dev", "tenantry-system", "kube-system", "kube-public", "default")


def wrong(cluster: Cluster, role: str, rows: list[Row], namespace: str, mine: bool, requests: Requests) -> list[str]:
    """Where the API server says something else than the table."""
    expected: dict[Right, bool] = {}
    for row in rows:
        # An operator runs the platform: its rights on the hub are the same everywhere.
        may = role in row.roles.split() and (mine or role == "platform_operator")
        for right in row.rights(namespace):
            expected[right] = expected.get(right, False) or may
    answers = allowed(cluster, expected, requests)
    return [
        f"{role} may{'' if answer else ' not'} {right}"
        for right, answer in answers.items()
        if answer != expected[right]
    ]


@pytest.fixture(scope="module")
def requests(pytestconfig: pytest.Config) -> Iterator[Requests]:
    made = Requests()
    yield made
    made.tell("permissions", pytestconfig)


def discovered(cluster: Cluster) -> set[tuple[str, str, str]]:
    """(verb, group, resource) of all that an API server serves."""
    return {(verb, one.group, one.name) for one in served(cluster) for verb in one.verbs}


def test_the_table_names_what_there_is(scene: Scene) -> None:
    """A misspelt resource is denied to everybody, and so would prove nothing."""
    known = discovered(connect(scene.hub))
    named = {right for row in (*INSIDE, *HOST) for right in row.rights("default") if right.verb not in SPECIAL}
    unknown = {
        str(right)
        for right in named
        if (right.verb, right.group, "/".join(filter(None, [right.resource, right.subresource]))) not in known
    }
    assert unknown == set()


@pytest.mark.parametrize("role", ROLES)
def test_inside_the_own_virtual_cluster(scene: Scene, requests: Requests, role: str) -> None:
    assert wrong(scene.in_dev[role], role, INSIDE, "default", True, requests) == []


@pytest.mark.parametrize("role", ROLES)
def test_on_the_host(scene: Scene, requests: Requests, role: str) -> None:
    user, found = scene.on_hub[role], []
    for namespace in OWN:
        found += wrong(user, role, HOST, namespace, True, requests)
    for namespace in (*OTHERS, *PLATFORM):
        found += wrong(user, role, HOST, namespace, False, requests)
    assert found == []


def test_the_positive_control(scene: Scene, requests: Requests) -> None:
    """The same questions, asked by the administrators: all are answered with yes."""
    for kubeconfig, rows in ((scene.hub, HOST), (scene.dev, INSIDE)):
        rights = [right for row in rows for right in row.rights("default")]
        answers = allowed(connect(kubeconfig), rights, requests)
        assert [str(right) for right, answer in answers.items() if not answer] == []


@pytest.mark.parametrize(
    ("role", "namespace", "granted"),
    [
        ("viewer", "tenant-payments", "get secrets in tenant-payments"),
        ("admin", "research--lab", "create pods/exec in research--lab"),
        ("developer", "kube-system", "create serviceaccounts/token in kube-system"),
    ],
)
def test_a_right_too_many_is_found(scene: Scene, requests: Requests, role: str, namespace: str, granted: str) -> None:
    """The mutation control: whoever grants more than the table says turns it red."""
    subject = f"--serviceaccount=tenant-payments:{NAMES[role]}"
    binding = ("rolebinding", "mutation", "-n", namespace)
    assert kubectl(scene.hub, "create", *binding, "--clusterrole=cluster-admin", subject).returncode == 0
    try:
        await_policy(
            lambda: f"{role} may {granted}" in wrong(scene.on_hub[role], role, HOST, namespace, False, requests)
        )
        assert f"{role} may {granted}" in wrong(scene.on_hub[role], role, HOST, namespace, False, requests)
    finally:
        kubectl(scene.hub, "delete", *binding)


# What access reviews cannot tell: admission decides after them, and another cluster's API server knows nobody. --------

SYSTEM_NAMESPACES = ("kube-system", "kube-public", "kube-node-lease", "tenantry-system")
HARMLESS = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
OBJECTS: list[dict[str, Any]] = [
    {"apiVersion": "v1", "kind": "ConfigMap", "data": {}},
    {"apiVersion": "v1", "kind": "Secret", "type": "Opaque"},
    {"apiVersion": "v1", "kind": "ServiceAccount"},
    {"apiVersion": "v1", "kind": "Service", "spec": {"ports": [{"port": 80}]}},
    {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {"containers": [{"name": "thief", "image": "thief", "securityContext": HARMLESS}]},
    },
]


@pytest.mark.parametrize("role", ROLES)
def test_system_namespaces_inside_are_changed_by_administrators_only(
    scene: Scene, requests: Requests, role: str
) -> None:
    user, may = scene.in_dev[role], role == "admin"
    for namespace in (*SYSTEM_NAMESPACES, "default"):
        for template in OBJECTS:
            obj = {**template, "metadata": {"name": "probe", "namespace": namespace}}
            made = _created(user, obj)
            requests.count("dry-run creations", 1)
            expected = may or (role == "developer" and namespace == "default")
            assert made == expected, (role, namespace, obj["kind"])


def _created(cluster: Cluster, obj: dict[str, Any]) -> bool:
    try:
        cluster.create(obj, dry_run=True)
    except ApiError as error:
        if error.status != 403:
            raise
        return False
    return True


@pytest.mark.parametrize("role", ROLES)
def test_another_tenants_virtual_cluster_knows_nobody(scene: Scene, requests: Requests, role: str) -> None:
    """Not denied but unknown: 401, whatever is asked."""
    stranger = connect(scene.lab, token_of(scene.users[role]))
    for row in INSIDE:
        right = next(iter(row.rights("default")))
        with pytest.raises(ApiError) as refused:
            allowed(stranger, [right], requests)
        assert refused.value.status == 401
    assert connect(scene.users["research"]).list("v1/Pod", "default") == []  # the positive control


# Access that changes --------------------------------------------------------------------------------------------------


def test_a_user_of_two_tenants_has_a_role_in_each(scene: Scene, requests: Requests, tmp_path: Any) -> None:
    """Two identities of one name: admin of research, viewer of payments, and nothing of one in the other."""
    path = str(tmp_path / "alice.yaml")
    options = {"kubeconfig": scene.hub, "tenant": "payments", "name": "eve", "role": "viewer", "kubeconfig_path": path}
    assert not call_module("tenant_user", **options).failed
    there = str(tmp_path / "research.yaml")
    assert not call_module(
        "tenant_user", **{**options, "tenant": "research", "role": "admin", "kubeconfig_path": there}
    ).failed
    secrets = Right("get", "", "secrets", "", "default")
    try:
        here, elsewhere = connect(tmp_path / "alice.yaml"), connect(tmp_path / "research.yaml")
        assert allowed(here, [secrets], requests) == {secrets: False}
        assert allowed(elsewhere, [secrets], requests) == {secrets: True}
        with pytest.raises(ApiError) as refused:
            connect(scene.dev, token_of(tmp_path / "research.yaml")).list("v1/Pod", "default")
        assert refused.value.status == 401
    finally:
        for tenant in ("payments", "research"):
            call_module("tenant_user", kubeconfig=scene.hub, tenant=tenant, name="eve", state="absent")


def test_a_demotion_counts_from_the_next_request(scene: Scene, requests: Requests, tmp_path: Any) -> None:
    path = tmp_path / "eve.yaml"
    options = {"kubeconfig": scene.hub, "tenant": "payments", "name": "eve", "kubeconfig_path": str(path)}
    steps = [
        ({"role": "admin"}, {"get secrets": True, "create namespaces": True}),
        ({"role": "developer"}, {"get secrets": True, "create namespaces": False}),
        ({"role": "viewer"}, {"get secrets": False, "create namespaces": False}),
        ({"role": "admin", "access": [{"vcluster": "dev", "role": "viewer"}]}, {"get secrets": False}),
        ({"role": "viewer", "access": [{"vcluster": "dev", "role": "developer"}]}, {"get secrets": True}),
    ]
    try:
        handed_out = None
        for change, expected in steps:
            assert not call_module("tenant_user", **options, **change).failed
            handed_out = handed_out or connect(path)  # the very kubeconfig, and connection, of the first step
            for question, may in expected.items():
                verb, resource = question.split()
                right = Right(verb, "", resource, "", None if resource == "namespaces" else "default")
                assert _settles(handed_out, right, may, requests), (change, question)
    finally:
        call_module("tenant_user", kubeconfig=scene.hub, tenant="payments", name="eve", state="absent")


def _settles(cluster: Cluster, right: Right, may: bool, requests: Requests) -> bool:
    await_policy(lambda: allowed(cluster, [right], requests)[right] == may)
    return allowed(cluster, [right], requests)[right] == may


def test_bindings_of_the_platform_name_the_four_roles_only(scene: Scene) -> None:
    """Nothing but the four own ClusterRoles is ever bound for a person, and none aggregates others."""
    for kubeconfig in (scene.hub, scene.dev):
        selector = ("-l", "tenantry.dev/component=user", "-A", "-o", "json")
        bindings = json.loads(kubectl(kubeconfig, "get", "rolebindings,clusterrolebindings", *selector).stdout)["items"]
        assert {binding["roleRef"]["name"] for binding in bindings} <= {f"tenantry:{role}" for role in ROLES}
        assert {binding["roleRef"]["kind"] for binding in bindings} == {"ClusterRole"}
        for role in ROLES:
            found = json.loads(kubectl(kubeconfig, "get", "clusterrole", f"tenantry:{role}", "-o", "json").stdout)
            assert "aggregationRule" not in found
