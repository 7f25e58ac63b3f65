"""What an administrator of a virtual cluster prepares for the time after, and what his removal says of it (GONE-1)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._users import access
from cryptography import x509

from .harness import call_module, kubectl, ran, until
from .people import User, can, contexts, is_known, is_refused, lose_promises, signed_inside, silent_member, tokens

CONTEXT = "payments--dev"
KINDS = (
    "clusterrolebinding/later", "clusterrolebinding/helper", "rolebinding/quiet", "serviceaccount/helper",
    "secret/forever", "validatingwebhookconfiguration/ear", "mutatingwebhookconfiguration/hand",
    "apiservice/v1.eve.example.com", "pod/ghost", "replicaset/ghosts", "deployment/metrics-server",
    "crd/ears.ear.example.com", "mutatingadmissionpolicybinding/hands", "role/system::leader-locking-kube-scheduler",
    "csr",
)  # fmt: skip


def _made(kind: str, api: str, name: str, *, namespace: str | None = None, **content: Any) -> dict[str, Any]:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **content}


def _hook(name: str) -> dict[str, Any]:
    return {
        "name": f"{name}.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1/"},
        "rules": [{"apiGroups": [""], "apiVersions": ["*"], "operations": ["CREATE"], "resources": ["secrets"]}],
        "namespaceSelector": {"matchLabels": {"nobody": "has"}},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }


def _prepared() -> list[dict[str, Any]]:
    rbac, admission = "rbac.authorization.k8s.io/v1", "admissionregistration.k8s.io/v1"
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    eve = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "eve"}
    helper = {"kind": "ServiceAccount", "namespace": "tenantry-system", "name": "helper"}
    secret = _made("Secret", "v1", "forever", namespace="default", type="kubernetes.io/service-account-token")
    secret["metadata"]["annotations"] = {"kubernetes.io/service-account.name": "default"}
    label = {"matchLabels": {"ghost": "1"}}
    ghost = {"serviceAccountName": "namespace-controller", "containers": [{"name": "a", "image": "a"}]}
    ghosts = {"replicas": 0, "selector": label, "template": {"metadata": {"labels": {"ghost": "1"}}, "spec": ghost}}
    system = {"namespace": "kube-system"}
    tokens = {"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}
    spec = {"group": "eve.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    spec |= {"service": {"namespace": "default", "name": "eve"}, "insecureSkipTLSVerify": True}
    return [
        _made("ClusterRoleBinding", rbac, "later", roleRef=role, subjects=[eve]),
        _made("ServiceAccount", "v1", "helper", namespace="tenantry-system"),
        _made("ClusterRoleBinding", rbac, "helper", roleRef=role, subjects=[helper]),
        _made("RoleBinding", rbac, "quiet", namespace="default", roleRef=role, subjects=[eve]),
        secret,
        _made("ValidatingWebhookConfiguration", admission, "ear", webhooks=[_hook("ear")]),
        _made("MutatingWebhookConfiguration", admission, "hand", webhooks=[_hook("hand")]),
        _made("APIService", "apiregistration.k8s.io/v1", "v1.eve.example.com", spec=spec),
        _made("Pod", "v1", "ghost", **system, spec=ghost),
        _made("ReplicaSet", "apps/v1", "ghosts", **system, spec=ghosts),
        _made("Deployment", "apps/v1", "metrics-server", **system, spec=ghosts),
        _made("CustomResourceDefinition", "apiextensions.k8s.io/v1", "ears.ear.example.com", spec=_converted()),
        _made("MutatingAdmissionPolicyBinding", f"{admission}beta1", "hands", spec={"policyName": "hands"}),
        _made("Role", rbac, "system::leader-locking-kube-scheduler", **system, rules=[tokens]),
    ]


def _converted() -> dict[str, Any]:
    client = {"url": "https://127.0.0.1:1/"}
    how = {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}
    schema = {"openAPIV3Schema": {"type": "object"}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"kind": "Ear", "plural": "ears"}
    return {"group": "ear.example.com", "scope": "Cluster", "names": names, "versions": [version], "conversion": how}


@pytest.fixture
def left(dev: Path, user: User, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Bob is an administrator, and has prepared all kinds of ways in; the certificate of one of them."""
    path = tmp_path / "users" / "bob.yaml"
    assert not user(role="admin").failed
    bob = (path, "--context", CONTEXT)
    for obj in _prepared():
        how = "replace" if obj["kind"] == "Role" else "create"  # Kubernetes has it
        made = kubectl(*bob, how, "-f", "-", stdin=json.dumps(obj))
        assert made.returncode == 0, made.stderr
    yield signed_inside(dev, "eve")
    ran(dev, "delete", "csr", "--all")
    for one in KINDS[:-1]:
        for space in ("tenantry-system", "kube-system", "default"):
            kubectl(dev, "delete", one, "-n", space, "--ignore-not-found")


def _as_eve(dev: Path, certificate: dict[str, str]) -> Cluster:
    config = {**kubeconfig.load(str(dev)), "users": [{"name": "eve", "user": certificate}]}
    return Cluster.from_kubeconfig(config, name="dev")


def _names(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(one["kind"], one["name"]) for one in found if one["kind"] != "CertificateSigningRequest"}


@pytest.mark.parametrize("check", [True, False])
def test_the_removal_says_what_remains_and_how_to_end_it(
    payments: Path, dev: Path, user: User, left: dict[str, str], check: bool
) -> None:
    expected = {(obj["kind"], obj["metadata"]["name"]) for obj in _prepared()}
    info = call_module("tenant_user_info", kubeconfig=payments, tenant="payments")
    assert _names(info.data["findings"]) == expected
    removed = user(state="absent", kubeconfig_path=None, check=check)
    assert not removed.failed, removed.msg
    row = removed.data["results"][0]
    assert _names(row["remains"]) == expected
    assert {one["vcluster"] for one in row["remains"]} == {"dev"}
    assert "bob was administrator there, and may have left a way in" in removed.text
    assert not call_module("tenant_user_info", kubeconfig=payments, findings=False).data["findings"]
    if check:
        return
    eve = _as_eve(dev, left)
    assert eve.get("v1/Namespace", "kube-system"), "the positive control: what was prepared works"
    for one in row["remains"]:
        if one["kind"] == "Role":
            ran(dev, "delete", "role", "-n", "kube-system", one["name"])
        elif one["end"].startswith("kubectl "):
            ran(dev, *one["end"].removeprefix("kubectl ").split())
    with pytest.raises(Exception, match="403"):
        eve.get("v1/Namespace", "kube-system")
    eve.close()
    left_over = call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data["findings"]
    assert {one["kind"] for one in left_over} == {"CertificateSigningRequest"}


def test_who_is_demoted_is_asked_about_as_well_and_others_are_not(user: User, left: dict[str, str]) -> None:
    del left
    assert user(role="viewer").data["results"][0]["remains"]
    assert not user(role="developer").data["results"][0]["remains"]
    assert not user(state="absent", kubeconfig_path=None).data["results"][0]["remains"]


LABELS = ("app.kubernetes.io/managed-by", "tenantry.dev/component", "tenantry.dev/user")


@pytest.mark.parametrize("label", [*LABELS, "all"])
@pytest.mark.parametrize("leaves", [True, False])
def test_without_our_labels_nobody_stays(dev: Path, user: User, tmp_path: Path, label: str, leaves: bool) -> None:
    """An administrator takes them from what makes him one, so that no selector finds it."""
    path = tmp_path / "users" / "bob.yaml"
    assert not user(role="admin").failed
    kept = tmp_path / "kept.yaml"
    kept.write_bytes(path.read_bytes())
    bob = (kept, "--context", CONTEXT)
    gone = [f"{one}-" for one in (LABELS if label == "all" else (label,))]
    what = ["clusterrolebinding/tenantry:bob:admin"]
    what += ["serviceaccount/bob"] if leaves else []  # of who stays, it is an error that says so
    for one in what:
        assert kubectl(*bob, "label", one, *gone, "-n", "tenantry-system").returncode == 0
    ran(
        dev,
        "create",
        "clusterrolebinding",
        "own",
        "--clusterrole=cluster-admin",
        "--serviceaccount=tenantry-system:bob",
    )
    ran(dev, "label", "clusterrolebinding", "own", "tenantry.dev/user=bob")
    assert can(kept, CONTEXT, "create", "clusterroles")
    try:
        changed = user(state="absent", kubeconfig_path=None) if leaves else user(role="viewer")
        assert not changed.failed, changed.msg
        assert "bob was administrator there" in changed.text
        assert ("delete", "tenantry:bob:admin") in [(one["action"], one["name"]) for one in changed.data["actions"]]
        if leaves:
            assert is_refused(kept, CONTEXT)
            user(role="viewer")
            assert not can(path, CONTEXT, "create", "clusterroles"), "a later user of the name inherits nothing"
        else:
            ran(dev, "delete", "clusterrolebinding", "own")  # one that somebody made for a user who stays is his own
            assert not can(kept, CONTEXT, "create", "clusterroles")
        assert not user(role="viewer").changed
    finally:
        kubectl(dev, "delete", "clusterrolebinding", "own")


def test_what_a_finalizer_keeps_is_told(dev: Path, user: User, tmp_path: Path) -> None:
    path = tmp_path / "users" / "bob.yaml"
    assert not user(role="admin").failed
    binding = ("clusterrolebinding", "tenantry:bob:admin", "--type=merge", "-p")
    held = kubectl(
        path, "--context", CONTEXT, "patch", *binding, '{"metadata":{"finalizers":["bob.example.com/keep"]}}'
    )
    assert held.returncode == 0, held.stderr
    try:
        kept = user(role="viewer")
        assert "ClusterRoleBinding tenantry:bob:admin is being deleted, but" in kept.msg
        assert "bob.example.com/keep" in kept.msg
    finally:
        ran(dev, "patch", *binding, '{"metadata":{"finalizers":null}}')
    assert not user(role="viewer").failed
    assert not can(path, CONTEXT, "create", "clusterroles")


def test_what_the_platform_makes_is_no_finding(payments: Path, user: User) -> None:
    users = [
        {"tenant": "payments", "name": name, "role": role}
        for name, role in (("bob", "admin"), ("carol", "platform_operator"))
    ]
    assert not call_module("tenant_user", kubeconfig=payments, users=users).failed
    assert call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data["findings"] == []
    assert not user(state="absent", kubeconfig_path=None).data["results"][0]["remains"]


def test_our_label_hides_nothing(payments: Path, dev: Path, user: User) -> None:
    assert not user(role="admin").failed
    subject = ["--serviceaccount=default:default", "--clusterrole=cluster-admin"]
    labels = ["app.kubernetes.io/managed-by=tenantry.kube", "tenantry.dev/component=user", "tenantry.dev/user=bob"]
    try:
        for name in ("tenantry:bob:platform_operator", "other"):
            ran(dev, "create", "clusterrolebinding", name, *subject)
            ran(dev, "label", "clusterrolebinding", name, *labels)
        found = call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data["findings"]
        assert _names(found) == {
            ("ClusterRoleBinding", "tenantry:bob:platform_operator"),
            ("ClusterRoleBinding", "other"),
        }
    finally:
        kubectl(dev, "delete", "clusterrolebinding", "tenantry:bob:platform_operator", "other")


def test_our_labels_and_names_make_nobody_a_user(payments: Path, dev: Path, user: User) -> None:
    """What looks like the rights of bob, who has an account, and is for the name in a certificate of eve's."""
    assert not user(role="admin").failed
    labels = ["app.kubernetes.io/managed-by=tenantry.kube", "tenantry.dev/component=user", "tenantry.dev/user=bob"]
    kube_system = ("-n", "kube-system")
    made = {
        ("rolebinding", "tenantry:bob:admin"): ("--clusterrole=tenantry:admin", "--user=eve", *kube_system),
        ("clusterrolebinding", "tenantry:bob:developer"): ("--clusterrole=tenantry:developer", "--user=eve"),
        ("clusterrolebinding", "tenantry:bob:viewer"): ("--clusterrole=tenantry:viewer", "--group=friends"),
    }
    eve = _as_eve(dev, signed_inside(dev, "eve"))
    try:
        for (kind, name), what in made.items():
            ran(dev, "create", kind, name, *what)
            ran(dev, "label", kind, name, *labels, *(kube_system if "-n" in what else ()))
        until(lambda: _may_read_secrets(eve))  # the positive control
        found = call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data["findings"]
        assert {(kind.lower(), name) for kind, name in _names(found)} == {*made}
    finally:
        eve.close()
        for (kind, name), what in made.items():
            kubectl(dev, "delete", kind, name, *(kube_system if "-n" in what else ()))
        ran(dev, "delete", "csr", "--all")


def _may_read_secrets(eve: Cluster) -> bool:
    try:
        eve.list("v1/Secret", "kube-system")
    except ApiError as error:
        if error.status == 403:
            return False
        raise
    return True


def test_a_component_that_may_act_as_another_is_told(payments: Path, dev: Path, tmp_path: Path) -> None:
    """By verbs of Kubernetes 1.36, none of which is called impersonate."""
    role, account = ("clusterrole", "system:kube-dns"), ("serviceaccount", "kube-dns", "-n", "kube-system")
    before = json.loads(ran(dev, "get", *role, "-o", "json"))["rules"]
    acting = {"apiGroups": ["authentication.k8s.io"], "resources": ["serviceaccounts"]}
    on = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["impersonate-on:serviceaccount:list"]}
    dns = tmp_path / "dns.yaml"
    config = kubeconfig.load(str(dev))
    ran(dev, "create", *account)
    config["users"][0]["user"] = {"token": ran(dev, "create", "token", "kube-dns", "-n", "kube-system").strip()}
    dns.write_text(json.dumps(config))
    other = ("--as=system:serviceaccount:kube-system:generic-garbage-collector", "get", "configmaps", "-A")
    assert kubectl(dns, *other).returncode != 0
    try:
        _set_rules(dev, role, [*before, {**acting, "verbs": ["impersonate:serviceaccount"]}, on])
        until(lambda: kubectl(dns, *other).returncode == 0)  # the positive control
        found = call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data["findings"]
        assert _names(found) == {("ClusterRole", "system:kube-dns")}
    finally:
        _set_rules(dev, role, before)
        ran(dev, "delete", *account)


def _set_rules(cluster: Path, role: tuple[str, str], rules: list[dict[str, Any]]) -> None:
    patch = [{"op": "replace", "path": "/rules", "value": rules}]
    ran(cluster, "patch", *role, "--type=json", "-p", json.dumps(patch))


def test_a_certificate_made_inside_is_good_for_a_day(payments: Path, dev: Path) -> None:
    for seconds in (None, 365 * 24 * 3600, 3600):
        pem = base64.b64decode(signed_inside(dev, "eve", seconds=seconds)["client-certificate-data"])
        ends = x509.load_pem_x509_certificate(pem).not_valid_after_utc
        assert ends <= datetime.now(UTC) + timedelta(seconds=min(seconds or 86400, 86400))
    found = call_module("tenant_user_info", kubeconfig=payments, tenant="payments").data["findings"]
    told = [one["expires"] for one in found if one["kind"] == "CertificateSigningRequest"]
    assert len(told) == 3
    assert max(told) <= (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    ran(dev, "delete", "csr", "--all")


def test_tokens_end_with_their_account_and_are_made_anew(dev: Path, user: User, tmp_path: Path) -> None:
    """The way to end tokens that somebody requested for another account, of which nothing is stored."""
    path = tmp_path / "users" / "bob.yaml"
    assert not user(role="admin").failed
    stolen = tmp_path / "stolen.yaml"
    config = json.loads(json.dumps(kubeconfig.load(str(path), CONTEXT)))
    token = ran(dev, "create", "token", "bob", "-n", "tenantry-system", "--duration=48h").strip()
    config["users"][0]["user"] = {"token": token}
    stolen.write_text(json.dumps(config))
    assert is_known(stolen, contexts(stolen)[0])
    before = tokens(path)[CONTEXT]
    ran(dev, "delete", "serviceaccount", "bob", "-n", "tenantry-system")
    assert is_refused(stolen, contexts(stolen)[0])
    assert not user(role="admin").failed
    assert tokens(path)[CONTEXT] != before
    assert can(path, CONTEXT, "create", "clusterroles")
    assert not user(role="admin").changed


def test_a_removal_that_did_not_ask_every_host_is_noted(payments: Path, user: User) -> None:
    def note() -> str:
        key = r"jsonpath={.metadata.annotations.former\.tenantry\.dev/bob}"
        return ran(payments, "get", "configmap", "tenant", "-n", "tenant-payments", "-o", key)

    assert not user(role="admin").failed
    with silent_member(payments):
        lose_promises(payments, "payments")  # so that the member may have virtual clusters of it
        removed = user(state="absent", kubeconfig_path=None)
        assert removed.failed
        assert json.loads(note())["before"]["role"] == "admin"
        assert json.loads(note())["done"] == ["payments--dev", "payments--stage"]
        assert not call_module("tenant_quota", kubeconfig=payments, tenant="payments").changed
        assert note()
    assert not user(state="absent", kubeconfig_path=None).failed
    assert note() == ""


@pytest.mark.parametrize("made", ["by the platform", "inside"])
def test_a_later_user_of_a_name_inherits_no_tokens(
    payments: Path, dev: Path, user: User, tmp_path: Path, made: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of one who was removed while a host did not answer, or whom a snapshot brought back; or whom nobody made yet."""
    kept, later = tmp_path / "kept.yaml", tmp_path / "later.yaml"
    assert not user(kubeconfig_path=kept).failed
    if made == "inside":
        assert not user(state="absent", kubeconfig_path=None).failed
        labels = {"app.kubernetes.io/managed-by": "tenantry.kube", "tenantry.dev/component": "user"}
        labels |= {"tenantry.dev/tenant": "payments", "tenantry.dev/user": "bob"}
        account = _made("ServiceAccount", "v1", "bob", namespace="tenantry-system")
        account["metadata"]["labels"] = labels
        ran(dev, "create", "-f", "-", stdin=json.dumps(account))
        config = kubeconfig.load(str(dev))
        config["users"][0]["user"] = {"token": ran(dev, "create", "token", "bob", "-n", "tenantry-system").strip()}
        kept.write_text(json.dumps(config))
    else:
        ran(payments, "delete", "serviceaccount/bob", "rolebinding/tenantry:bob:developer", "-n", "tenant-payments")
    context = contexts(kept)[0]
    assert is_known(kept, context)  # the positive control
    monkeypatch.setattr(access, "AT_ONCE", timedelta(0))
    foreseen = user(kubeconfig_path=later, check=True)
    again = user(kubeconfig_path=later)
    assert not again.failed, again.msg
    assert [one for one in again.data["actions"] if one["kind"] == "ServiceAccount"] == [
        one for one in foreseen.data["actions"] if one["kind"] == "ServiceAccount"
    ]
    assert is_refused(kept, context)
    assert is_known(later, CONTEXT)
    assert not user(kubeconfig_path=later).changed
