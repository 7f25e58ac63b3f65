"""What is a way into a virtual cluster that the platform did not make."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._platform import identities
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings, findings_rbac
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

NOW = datetime(2026, 4, 1, 12, tzinfo=UTC)
BOB = {"bob": {"admin"}}
RBAC = "rbac.authorization.k8s.io/v1"
_V1_MUTATING = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicyBinding"
KUBELET_ADMIN = "kube-apiserver-kubelet-admin"  # of k3s


def _binding(
    *subjects: dict[str, str],
    name: str = "b",
    namespace: str | None = None,
    role: str = "cluster-admin",
    kind: str = "ClusterRole",
    **labels: str,
) -> dict[str, Any]:
    metadata = {"name": name, "labels": labels, **({"namespace": namespace} if namespace else {})}
    ref = {"kind": kind, "name": role}
    return {"apiVersion": RBAC, "kind": "B", "metadata": metadata, "roleRef": ref, "subjects": list(subjects)}


def _user(name: str) -> dict[str, str]:
    return {"kind": "User", "name": name}


def _account(namespace: str, name: str) -> dict[str, str]:
    return {"kind": "ServiceAccount", "namespace": namespace, "name": name}


@pytest.mark.parametrize(
    ("binding", "is_one"),
    [
        (_binding(_user("eve")), True),
        (_binding({"kind": "Group", "name": "friends"}), True),
        (_binding(_user("eve"), namespace="shop"), True),
        (_binding(_user("system:kube-scheduler")), True),
        (_binding(_user("system:kube-scheduler"), role="system:kube-scheduler"), False),
        (_binding({"kind": "Group", "name": "system:nodes"}), True),
        (_binding({"kind": "Group", "name": "system:nodes"}, role="system:node"), True),
        (_binding({"kind": "Group", "name": "system:nodes"}, role="clustercidrs-node"), False),
        (_binding({"kind": "Group", "name": "system:bootstrappers"}), True),
        (_binding({"kind": "Group", "name": "system:kube-proxy"}, role="system:node-proxier"), True),
        (_binding(_user("system:kube-proxy")), True),
        (_binding(_user("system:kube-proxy"), role="system:node-proxier"), False),
        (_binding(_user("system:k3s-controller")), True),
        (_binding(_user("system:k3s-controller"), role="system:k3s-controller"), False),
        (_binding({"kind": "Group", "name": "system:monitoring"}, role="system:monitoring"), False),
        (_binding(_user("system:kube-proxy"), role="system:node-proxier", kind="Role", namespace="kube-system"), True),
        (_binding({"kind": "Group", "name": "system:authenticated"}, role="system:basic-user", kind="Role"), True),
        (_binding({"kind": "Group", "name": "system:masters"}), False),
        (_binding(_user("system:serviceaccount:shop:web")), True),
        (_binding(_user("system:anonymous")), True),
        (_binding(_user("system:node:eve")), True),
        (_binding(_account("shop", "web")), True),
        (_binding(_account("shop", "web"), namespace="shop"), False),
        (_binding(_account("shop", "web"), namespace="kube-system"), True),
        (_binding(_account("kube-system", "coredns")), True),
        (_binding(_account("kube-system", "coredns"), role="system:coredns"), False),
        (_binding(_account("kube-system", "eve")), True),
        (_binding(_account("kube-system", "eve"), namespace="kube-public"), True),
        (_binding(_account("kube-system", "eve"), namespace="shop"), False),
        (_binding(_account("kube-system", "job-controller"), role="system:controller:job-controller"), False),
        (_binding(_account("kube-system", "eve"), role="system:controller:job-controller"), True),
        (_binding(_account("shop", "job-controller"), role="system:controller:job-controller"), True),
        (_binding(_account("kube-system", "metrics-server"), role="system:auth-delegator"), False),
        (_binding(_account("kube-system", "kube-dns"), role="system:kube-dns"), False),
        (_binding(_user("system:kube-scheduler"), _user("eve"), name="system:kube-scheduler"), True),
        (_binding(), False),
        (_binding(_user("kube-apiserver"), name=KUBELET_ADMIN, role="system:kubelet-api-admin"), False),
        (_binding(_user("system:serviceaccount:kube-system:web"), role="system:basic-user"), True),
        (_binding(_user("kube-apiserver"), name=KUBELET_ADMIN), True),
        (_binding({"kind": "Group", "name": "system:authenticated"}), True),
        (_binding({"kind": "Group", "name": "system:serviceaccounts"}), True),
        (_binding({"kind": "Group", "name": "system:serviceaccounts:shop"}, namespace="kube-system"), True),
        (_binding({"kind": "Group", "name": "system:authenticated"}, role="system:basic-user"), False),
    ],
)
def test_bindings(binding: dict[str, Any], is_one: bool) -> None:
    assert (findings_rbac.binding(binding, {"bob": {"admin"}}) is not None) == is_one


def test_what_kubernetes_binds_in_a_namespace_is_none() -> None:
    scheduler, manager = _user("system:kube-scheduler"), _user("system:kube-controller-manager")
    for role, subjects in {
        "extension-apiserver-authentication-reader": [manager, scheduler],
        "system::leader-locking-kube-controller-manager": [manager, _account("kube-system", "kube-controller-manager")],
        "system::leader-locking-kube-scheduler": [scheduler, _account("kube-system", "kube-scheduler")],
    }.items():
        name = role if role.startswith("system::") else f"system::{role}"
        assert not findings_rbac.binding(
            _binding(*subjects, name=name, namespace="kube-system", role=role, kind="Role"), {}
        )
        assert findings_rbac.binding(_binding(*subjects, name=name, namespace="shop", role=role, kind="Role"), {})
        assert findings_rbac.binding(_binding(*subjects, name=name, role=role), {})


def test_what_we_make_is_none() -> None:
    made = [
        *identities.inside_base(),
        *identities.inside_shared(),
        *identities.inside_user("payments", "bob", "developer"),
        *identities.inside_user("payments", "ann", "viewer", {"kind": "User", "name": "ann@example.com"}),
        *identities.inside_administrator(naming.labels("vcluster", tenant="payments", vcluster="dev")),
    ]
    known = {"bob": {"developer"}, "ann": {"viewer"}, identities.ADMINISTRATOR: {"admin"}}
    subjects = {"ann": {("User", "ann@example.com")}}
    for obj in made:
        judge = {
            "ClusterRoleBinding": lambda one: findings_rbac.binding(one, known, subjects),
            "ServiceAccount": lambda one: findings.account(one, known),
            "ValidatingAdmissionPolicyBinding": findings.policy,
        }.get(obj["kind"], lambda one: None)
        assert judge(obj) is None, obj
    gone = [findings_rbac.binding(one, {}) for one in made if one["kind"] == "ClusterRoleBinding"]
    assert any(gone), "that of a user whom nobody made is one"


@pytest.mark.parametrize("other", [_user("eve"), {"kind": "Group", "name": "system:serviceaccounts"}])
def test_our_own_bindings_hide_nobody(other: dict[str, str]) -> None:
    made = [
        *identities.inside_user("payments", "bob", "admin"),
        *identities.inside_user("payments", "ann", "viewer", {"kind": "User", "name": "ann@example.com"}),
        *identities.inside_administrator(naming.labels("vcluster", tenant="payments", vcluster="dev")),
    ]
    bindings = [obj for obj in made if obj["kind"] == "ClusterRoleBinding"]
    assert len(bindings) == 3
    for obj in bindings:
        obj["subjects"].append(other)
        known = {name: {"admin"} for name in ("bob", "ann", identities.ADMINISTRATOR)}
        assert findings_rbac.binding(obj, known), obj["metadata"]["name"]


def test_our_name_is_for_our_roles() -> None:
    account, mine = identities.inside_user("payments", "bob", "viewer")
    assert account["metadata"]["name"] == "bob"
    mine["metadata"]["name"] = "tenantry:bob:cluster-admin"
    mine["roleRef"]["name"] = "cluster-admin"
    assert findings_rbac.binding(mine, {"bob": {"admin"}})


def _request(**more: Any) -> dict[str, Any]:
    status = {"conditions": [{"type": "Approved", "lastUpdateTime": more.pop("at", "2026-04-01T11:00:00Z")}], **more}
    spec = {"signerName": "kubernetes.io/kube-apiserver-client", "username": "alice"}
    return {"metadata": {"name": "c", "creationTimestamp": "2026-04-01T11:00:00Z"}, "spec": spec, "status": status}


def test_certificates_while_they_are_good() -> None:
    assert findings.certificate(_request(), NOW)["expires"] == "2026-04-02T11:00:00Z"
    assert findings.certificate(_request(at="2026-03-30T11:00:00Z"), NOW) is None
    assert findings.certificate(_request(conditions=[]), NOW) is None
    assert findings.certificate(_request(certificate="bm9uZQ=="), NOW)["expires"] == "2026-04-02T11:00:00Z"


def test_how_to_end_one_is_safe_to_copy() -> None:
    class Api:
        limit = None

        def pages(self, kind: str, **_options: Any) -> list[list[dict[str, Any]]]:
            if kind.endswith("/ClusterRoleBinding"):
                return [[_binding(_user("eve"), name=f"x; rm -rf {number}\n") for number in range(40)]]
            return []

    found, more = findings.look(Api(), BOB, NOW)
    assert (len(found), more) == (findings.MOST, 20)
    assert found[0]["end"] == "kubectl delete clusterrolebinding 'x; rm -rf 0 '"
    assert findings.summary(found, more).endswith(" and 30 more")


def test_certificate_of_a_replaced_ca_is_no_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    for ours, is_one, names_the_option in ((True, True, True), (None, True, False), (False, False, False)):
        monkeypatch.setattr(findings.client_ca, "is_of", lambda *_of, answer=ours: answer)
        found = findings.certificate(_request(), NOW, "CA")
        assert (found is not None) == is_one
        assert ("revoke_certificates: true" in (found or {"end": ""})["end"]) == names_the_option


class Api:
    """Of a virtual cluster, with what `made` has: objects by kind, or by kind and namespace."""

    limit = None

    def __init__(self, made: dict[str, list[dict[str, Any]]]) -> None:
        self.made = made

    def pages(self, kind: str, namespace: str | None = None, **options: Any) -> list[list[dict[str, Any]]]:
        key = " ".join(filter(None, (kind, namespace, options.get("fields"))))
        return [[{"kind": kind.rpartition("/")[2], **obj} for obj in self.made.get(key, [])]]


def test_a_certificate_that_no_server_accepts_is_none() -> None:
    now = {"lastUpdateTime": "2026-07-26T00:00:00Z", "type": "Approved"}
    request = {"metadata": {"name": "eve"}, "spec": {"signerName": "a/b"}, "status": {"conditions": [now]}}
    api = Api({findings.CERTIFICATE_SIGNING_REQUEST: [request]})
    told = [len(findings.look(api, BOB, NOW, certificates=accepted)[0]) for accepted in (True, False)]
    assert told == [1, 0]


def test_a_bootstrap_token_is_one() -> None:
    secret = {"metadata": {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}}
    found, _more = findings.look(Api({"v1/Secret type=bootstrap.kubernetes.io/token": [secret]}), BOB, NOW)
    assert [(one["kind"], one["name"]) for one in found] == [("Secret", "bootstrap-token-abcdef")]
    assert found[0]["end"] == "kubectl delete secret -n kube-system bootstrap-token-abcdef"


def _role(name: str, *rules: dict[str, Any]) -> dict[str, Any]:
    return {"metadata": {"name": name}, "rules": list(rules)}


def _rule(verbs: str, resources: str = "", group: str = "", **more: Any) -> dict[str, Any]:
    return {"verbs": verbs.split(), "apiGroups": [group], "resources": resources.split(), **more}


_SELF = _rule("create", "selfsubjectaccessreviews selfsubjectrulesreviews", "authorization.k8s.io")
_PATHS = {"verbs": ["get"], "nonResourceURLs": ["/api", "/api/*", "/healthz", "/version/"]}


@pytest.mark.parametrize(
    ("role", "is_one"),
    [
        (_role("system:basic-user", _SELF, _rule("create", "selfsubjectreviews", "authentication.k8s.io")), False),
        (_role("system:discovery", _PATHS), False),
        (
            _role("system:cluster-trust-bundle-discovery", _rule("get", "clustertrustbundles", "certificates.k8s.io")),
            False,
        ),
        (
            _role(
                "system:cluster-trust-bundle-discovery", _rule("create", "clustertrustbundles", "certificates.k8s.io")
            ),
            True,
        ),
        (_role("system:basic-user", _SELF, _rule("get", "secrets")), True),
        (_role("system:basic-user", _SELF, _rule("get", "*", "authorization.k8s.io")), True),
        (_role("system:basic-user", _rule("create", "selfsubjectreviews", "example.com")), True),
        (_role("system:basic-user", _rule("*", "selfsubjectreviews", "authentication.k8s.io")), True),
        (_role("system:discovery", _PATHS, {"verbs": ["*"], "nonResourceURLs": ["*"]}), True),
        (_role("system:discovery", {"verbs": ["get"], "nonResourceURLs": ["*"]}), True),
        (_role("system:node", _rule("get list watch", "secrets configmaps")), False),
        (_role("system:node", _rule("get list watch delete", "secrets")), True),
        (_role("system:node", _rule("get", "*")), True),
        (_role("system:node-proxier", _rule("list watch", "services endpoints")), False),
        (_role("system:node-proxier", _rule("list", "secrets")), True),
        (_role("system:k3s-controller", _rule("impersonate", "users")), True),
        (_role("system:k3s-controller", _rule("get", "pods", "*")), True),
        (_role("system:controller:job-controller", _rule("create delete", "pods")), False),
        (_role("system:controller:eve", _rule("*", "*", "*")), True),
        (_role("system:controller:generic-garbage-collector", _rule("get delete", "*", "*")), False),
        (_role("system:controller:generic-garbage-collector", _rule("*", "*", "*")), True),
        (_role("system:controller:clusterrole-aggregation-controller", _rule("escalate", "clusterroles")), False),
        (_role("system:coredns", _rule("get", "secrets")), True),
        (_role("cluster-admin", _rule("*", "*", "*")), False),
        (_role("eve", _rule("*", "*", "*")), False),
        ({"metadata": {"name": "system:basic-user"}, "rules": None}, False),
    ],
)
def test_rules_that_default_roles_do_not_have(role: dict[str, Any], is_one: bool) -> None:
    found = findings_rbac.role(role)
    assert (found is not None) == is_one
    assert not found or role["metadata"]["name"] in found["end"]


def test_many_hide_none_after_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings, "LOOKED_AT", 3)
    kind = f"{RBAC}/ClusterRoleBinding"
    harmless = [_binding(name=f"a{number}") for number in range(3)]
    assert findings.look(Api({kind: harmless}), BOB, NOW) == ([], 0)
    (found,), more = findings.look(Api({kind: [*harmless, _binding(_user("eve"), name="z")]}), BOB, NOW)
    assert (found["kind"], more) == ("ClusterRoleBinding", 0)
    assert "only the first 3 were checked" in found["why"]
    assert "kubectl get clusterrolebinding" in found["end"]


def _unreadable(error: Exception) -> Any:
    def load(_pem: bytes) -> None:
        raise error

    return load


@pytest.mark.parametrize("error", [x509.InvalidVersion("v4", 4), UnsupportedAlgorithm("none"), ValueError("none")])
def test_a_certificate_that_nobody_can_read_is_one(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    ca = client_ca.make("payments--dev")["ca.crt"]
    monkeypatch.setattr(x509, "load_pem_x509_certificate", _unreadable(error))
    assert client_ca.is_of("bm9uZQ==", ca) is None
    assert findings.certificate(_request(certificate="bm9uZQ=="), NOW, ca)["expires"] == "2026-04-02T11:00:00Z"


def test_what_cannot_be_judged_is_one_and_hides_no_other() -> None:
    kind = f"{RBAC}/ClusterRoleBinding"
    odd = {"metadata": {"name": "odd"}, "roleRef": "none", "subjects": [_user("eve")]}
    found, _more = findings.look(Api({kind: [odd, _binding(_user("eve"))]}), BOB, NOW)
    assert [one["name"] for one in found] == ["odd", "b"]
    assert "cannot be judged" in found[0]["why"]


def test_our_label_exempts_no_policy() -> None:
    (ours,) = [one for one in identities.inside_base() if one["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert findings.policy(ours) is None
    assert findings.policy({**ours, "metadata": {**ours["metadata"], "name": "eve"}})
    assert findings.policy({**ours, "spec": {**ours["spec"], "policyName": "eve"}})
    assert findings.policy({**ours, "metadata": {"name": ours["metadata"]["name"]}})


@pytest.mark.parametrize("name", ["metrics-server", "tenantry-metrics"])
def test_the_metrics_server_and_the_syncer_answer_for_metrics_alone(name: str) -> None:
    service = {"namespace": "kube-system", "name": name, "port": 443}

    def answers(group: str, version: str = "v1beta1") -> bool:
        spec = {"group": group, "version": version, "service": service}
        return findings.api_service({"metadata": {"name": f"{version}.{group}"}, "spec": spec}) is not None

    assert not answers("metrics.k8s.io")
    assert answers("custom.metrics.k8s.io")
    assert answers("apps", "v1")
    local = {"metadata": {"name": "v1.apps"}, "spec": {"group": "apps", "version": "v1", "service": None}}
    assert findings.api_service(local) is None


def test_kinds_that_not_each_api_server_has() -> None:
    class Some(Api):
        def pages(self, kind: str, namespace: str | None = None, **options: Any) -> Any:
            if kind not in self.made:
                raise ApiError("no such kind", 404 if kind in findings._OPTIONAL else None)
            return super().pages(kind, namespace, **options)

    beta = "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicyBinding"
    made = {kind: [] for kind, _judge, _options in findings._looks({}, {}) if kind not in findings._OPTIONAL}
    made[findings.CERTIFICATE_SIGNING_REQUEST] = []
    made |= {one: [{"metadata": {"name": "eve"}, "spec": {"policyName": "eve"}}] for one in (beta, _V1_MUTATING)}
    found, _more = findings.look(Some(made), BOB, NOW)
    assert [(one["kind"], one["name"]) for one in found] == [("MutatingAdmissionPolicyBinding", "eve")]
    assert "can change the requests of others" in found[0]["why"]
    del made["v1/Pod"]
    with pytest.raises(ApiError):
        findings.look(Some(made), BOB, NOW)


def test_conversions_and_charts_are_findings() -> None:
    kind = "apiextensions.k8s.io/v1/CustomResourceDefinition"
    spec = {"names": {"plural": "ears"}}
    made = [
        {"metadata": {"name": name}, "spec": {**spec, "conversion": {"strategy": strategy}}}
        for name, strategy in (("a", "Webhook"), ("b", "None"))
    ]
    chart = {"metadata": {"name": "again", "namespace": "shop"}}
    found, _more = findings.look(Api({kind: made, "helm.cattle.io/v1/HelmChart": [chart]}), BOB, NOW)
    assert [(one["kind"], one["name"]) for one in found] == [("CustomResourceDefinition", "a"), ("HelmChart", "again")]


_BASE = [obj for obj in identities.inside_base() if obj["kind"] not in ("Namespace", "FlowSchema")]


@pytest.mark.parametrize("made", _BASE, ids=lambda obj: f"{obj['kind']} {obj['metadata']['name']}")
def test_what_somebody_changed_of_ours_is_one(made: dict[str, Any]) -> None:
    assert findings.changed(made) is None
    rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
    more = {"aggregationRule": {"clusterRoleSelectors": [{}]}, "rules": [*made.get("rules", []), *rules]}
    more = more if made["kind"] == "ClusterRole" else {"spec": {**made["spec"], "matchResources": {"a": "b"}}}
    for key, value in more.items():
        found = findings.changed({**made, key: value})
        assert found is not None
        assert key in found["why"]
