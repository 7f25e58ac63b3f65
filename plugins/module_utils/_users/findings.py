# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Find means of access to a virtual cluster that the platform did not create. Pure, except for `look`.

An administrator can prepare access for the time after a removal: a signed certificate, a binding for its name, a token
of another account. Removing the user ends none of these.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, one_line
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import moment, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.diff import additions, differences
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import (
    API_SERVICE,
    CERTIFICATE_SIGNING_REQUEST,
    CLUSTER_ROLE,
    CUSTOM_RESOURCE_DEFINITION,
    HELM_CHART,
    HELM_CHART_CONFIG,
    MUTATING_ADMISSION_POLICY_BINDING,
    MUTATING_ADMISSION_POLICY_BINDING_V1ALPHA1,
    MUTATING_ADMISSION_POLICY_BINDING_V1BETA1,
    MUTATING_WEBHOOK_CONFIGURATION,
    NAMESPACE,
    ROLE,
    SECRET,
    SERVICE_ACCOUNT,
    VALIDATING_ADMISSION_POLICY,
    VALIDATING_ADMISSION_POLICY_BINDING,
    VALIDATING_WEBHOOK_CONFIGURATION,
)
from ansible_collections.tenantry.kube.plugins.module_utils._platform.identities import (
    ADMINISTRATOR,
    SYSTEM_NAMESPACES,
    inside_base,
    inside_shared,
)
from ansible_collections.tenantry.kube.plugins.module_utils._users import findings_pods, findings_rbac
from ansible_collections.tenantry.kube.plugins.module_utils._users.bindings import KINDS as BINDINGS
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests.server import SIGNED_FOR

try:
    from cryptography import x509
except ImportError:
    x509 = None  # type: ignore[assignment]  # a certificate cannot be looked into then

_NO_NAME: tuple[type[Exception], ...] = (AttributeError, *client_ca.UNREADABLE)

# Of each kind in one virtual cluster: as many are told, so that many of one kind hide none of another; and as many
# objects looked at.
MOST = 20
LOOKED_AT = 10_000
TOKEN_SECRET = "kubernetes.io/service-account-token"  # noqa: S105 - a type
BOOTSTRAP_SECRET = "bootstrap.kubernetes.io/token"  # noqa: S105 - a type
# A metrics-server, or the syncer of mode shared.
_METRICS = (("kube-system", "metrics-server"), ("kube-system", "tenantry-metrics"))
_METRICS_API = "v1beta1.metrics.k8s.io"
_OURS = {(obj["kind"], obj["metadata"]["name"]): obj for obj in (*inside_base(), *inside_shared())}
_CHARTS = (HELM_CHART, HELM_CHART_CONFIG)
_MUTATING = (
    MUTATING_ADMISSION_POLICY_BINDING,
    MUTATING_ADMISSION_POLICY_BINDING_V1BETA1,
    MUTATING_ADMISSION_POLICY_BINDING_V1ALPHA1,
)
# Not in each API server: by release, by switch, by the parts of k3s that run.
_OPTIONAL = {*_MUTATING, *_CHARTS}

Finding = dict[str, Any]  # texts, or None
_Judge = Callable[[dict], "Finding | None"]
_Look = tuple[str, _Judge, dict[str, Any]]  # a kind, how to judge it, what to list of it
REVOKE = "remove its requester by tenantry.kube.tenant_user with revoke_certificates: true, again if necessary"


def look(
    api: Cluster,
    users: Mapping[str, Collection[str | None]],
    now: datetime,
    ca: str | None = None,
    *,
    subjects: findings_rbac.Subjects | None = None,
    certificates: bool = True,
    has_nodes: bool = False,
) -> tuple[list[Finding], int]:
    """Return the findings in one virtual cluster, and how many more there are at least.

    `users` are the platform's, with their recorded roles; a user who is not in `subjects` has an account of that name.
    `ca` is the platform's CA for client certificates, as PEM; `certificates` says whether the API server accepts those.
    """
    found: list[Finding] = []
    more, seen = 0, set()
    of_certificates: list[_Look] = []
    if certificates:
        of_certificates = [(CERTIFICATE_SIGNING_REQUEST, lambda obj: certificate(obj, now, ca), {})]
    of_nodes = [(NAMESPACE, findings_pods.namespace, {"metadata_only": True})] if has_nodes else []
    for kind, judge, options in (*of_certificates, *_looks(users, subjects or {}), *of_nodes):
        here = _here(api, kind, judge, options)
        # One that is served in several versions is one.
        new = [one for one in here if (one["kind"], one["namespace"], one["name"]) not in seen]
        seen |= {(one["kind"], one["namespace"], one["name"]) for one in new}
        found += new[:MOST]
        more += len(new[MOST:])
    return found, more


def _here(api: Cluster, kind: str, judge: _Judge, options: dict) -> list[Finding]:
    """Of one kind. One that cannot be listed, because somebody serves its API or nobody does, hides no other."""
    here: list[Finding] = []
    try:
        objects = (obj for page in _pages(api, kind, options) for obj in page)
        for obj in islice(objects, LOOKED_AT):
            if (finding := _judged(judge, obj)) is not None:
                here.append(_row(kind, obj, finding))
        if next(objects, None) is not None:
            here.insert(0, _unseen(kind, options.get("namespace")))
    except ApiError as error:
        if error.status is None or (api.limit and api.limit.reason):
            raise  # so are all others
        here.insert(0, _unlisted(kind, error))
    return here


def _pages(api: Cluster, kind: str, options: dict) -> Iterator[list[dict]]:
    try:
        yield from api.pages(kind, **options)
    except ApiError as error:
        if kind not in _OPTIONAL or error.status != 404:
            raise


def _looks(users: Mapping[str, Collection[str | None]], subjects: findings_rbac.Subjects) -> Iterator[_Look]:
    """Return what to list, how to check each object, and which part of it is needed."""
    known = {**users, ADMINISTRATOR: {"admin"}}
    accounts = {name for name in known if findings_rbac.has_account(name, subjects)}
    yield from ((kind, lambda obj: findings_rbac.binding(obj, known, subjects), {}) for kind in BINDINGS)
    yield CLUSTER_ROLE, lambda obj: changed(obj) or findings_rbac.role(obj), {}
    yield from ((ROLE, findings_rbac.role, {"namespace": one}) for one in SYSTEM_NAMESPACES)
    yield VALIDATING_WEBHOOK_CONFIGURATION, webhook, {}
    yield MUTATING_WEBHOOK_CONFIGURATION, webhook, {}
    yield VALIDATING_ADMISSION_POLICY, changed, {}
    yield VALIDATING_ADMISSION_POLICY_BINDING, lambda obj: changed(obj) or policy(obj), {}
    yield from ((kind, policy, {}) for kind in _MUTATING)
    yield CUSTOM_RESOURCE_DEFINITION, conversion, {}
    yield API_SERVICE, api_service, {}
    yield from ((kind, chart, {}) for kind in _CHARTS)
    yield SECRET, token, {"fields": f"type={TOKEN_SECRET}", "metadata_only": True}
    yield SECRET, bootstrap_token, {"fields": f"type={BOOTSTRAP_SECRET}", "metadata_only": True}
    system = {"namespace": naming.PLATFORM_NAMESPACE, "metadata_only": True}
    yield SERVICE_ACCOUNT, lambda obj: account(obj, accounts), system
    workloads = findings_pods.Workloads()
    for kind in findings_pods.WORKLOADS:
        for one in SYSTEM_NAMESPACES:
            yield kind, partial(workloads.judge, kind), {"namespace": one}


def _judged(judge: _Judge, obj: dict) -> Finding | None:
    """Return the finding for an object. One that cannot be parsed is a finding, and hides no others."""
    try:
        return judge(obj)
    except Exception as error:  # pylint: disable=broad-except
        return {"why": f"cannot be judged: {type(error).__name__}: {error}"}


def _row(kind: str, obj: dict, finding: Finding) -> Finding:
    meta = obj["metadata"]
    short, namespace, name = kind.rpartition("/")[2], meta.get("namespace"), meta["name"]
    where = f" -n {namespace}" if namespace else ""  # a command to copy, with a name that somebody chose
    return {
        "kind": short,
        "namespace": namespace,
        "name": one_line(name),
        "expires": None,
        "end": one_line(f"kubectl delete {short.lower()}{where} {shlex.quote(name)}"),
        **{key: value and one_line(value) for key, value in finding.items()},
    }


def _unseen(kind: str, namespace: str | None) -> Finding:
    """Return the finding for objects beyond the limit, which others may have been created to hide."""
    short = kind.rpartition("/")[2]
    where = f"-n {namespace}" if namespace else "-A"
    return {
        "kind": short,
        "namespace": namespace,
        "name": "*",
        "why": f"there are more: only the first {LOOKED_AT:,} were checked",
        "expires": None,
        "end": f"delete those that nobody needs (kubectl get {short.lower()} {where}), then run tenant_user_info again",
    }


def _unlisted(kind: str, error: ApiError) -> Finding:
    short = kind.rpartition("/")[2]
    return {
        "kind": short,
        "namespace": None,
        "name": "*",
        "why": one_line(f"cannot be listed, so what there is is not known: {error}"),
        "expires": None,
        "end": "repair that, such as by deleting an APIService for its group that is no longer served, and look again",
    }


def certificate(request: dict, now: datetime, ca: str | None = None) -> Finding | None:
    """Return a client certificate that was requested in the virtual cluster and may still be valid."""
    status, spec = request.get("status") or {}, request["spec"]
    approved = [one for one in status.get("conditions") or [] if one.get("type") == "Approved"]
    if not approved:
        return None
    ends = _end_of(status.get("certificate"))
    if ends is None:  # not signed yet, or by something that cannot be read
        ends = moment(approved[0].get("lastUpdateTime") or request["metadata"]["creationTimestamp"]) + SIGNED_FOR
    ours = client_ca.is_of(status.get("certificate") or "", ca)
    if ends <= now or ours is False:
        return None
    until = stamp(ends)
    return {
        "why": f"a certificate for {_subject(spec.get('request'))} of signer {spec['signerName']} was approved, "
        f"requested by {spec.get('username')}",
        "expires": until,
        "end": f"it ends by itself at {until} at the latest. Use its name out of all bindings"
        + (f", or end it at once: {REVOKE}" if ours else ""),
    }


def _subject(request: str | None) -> str:
    """Return the names in a certificate request. Kubernetes gives rights to some names itself."""
    try:
        return x509.load_pem_x509_csr(base64.b64decode(request or "")).subject.rfc4514_string() or "nobody"
    except _NO_NAME:
        return "an unknown name"


def _end_of(certificate: str | None) -> datetime | None:
    """Return the expiry. Certificates from before the limit live longer."""
    if not certificate or x509 is None:
        return None
    try:
        return x509.load_pem_x509_certificate(base64.b64decode(certificate)).not_valid_after_utc
    except client_ca.UNREADABLE:
        return None


def webhook(found: dict) -> Finding:
    """Return the finding for an admission webhook."""
    rules = [rule for one in found.get("webhooks") or [] for rule in one.get("rules") or []]
    what = sorted({resource for rule in rules for resource in rule.get("resources") or []})
    return {
        "why": f"sees the requests of others, including the platform, and can deny or delay them: {', '.join(what)}"
    }


def policy(found: dict) -> Finding | None:
    """Return the finding for an admission policy binding, or None for the platform's."""
    name, used = found["metadata"]["name"], found["spec"].get("policyName")
    if naming.is_ours(found) and (found["kind"], name) in _OURS and used == name:
        return None
    can = "change" if found["kind"].startswith("Mutating") else "refuse"
    return {"why": f"can {can} the requests of others, including the platform: policy {used}"}


def changed(found: dict) -> Finding | None:
    """Return the finding for a changed object of the platform, or None."""
    wanted = _OURS.get((found["kind"], found["metadata"]["name"]))
    paths = sorted({*differences(wanted, found), *additions(wanted, found)}) if wanted else []
    if not paths:
        return None
    return {
        "why": f"belongs to the platform, and somebody changed it: {', '.join(paths[:5])}",
        "end": "run tenantry.kube.vcluster for this virtual cluster",
    }


def conversion(found: dict) -> Finding | None:
    """Return the finding for a custom resource definition with a conversion webhook, or None."""
    how = found["spec"].get("conversion") or {}
    if how.get("strategy") != "Webhook":
        return None
    return {"why": f"sends all {found['spec']['names']['plural']} to a webhook, which reads and changes them"}


def chart(_found: dict) -> Finding:
    """Return the finding for a HelmChart."""
    return {"why": "k3s installs it with all rights, and again when its objects are deleted"}


def api_service(found: dict) -> Finding | None:
    """Return the finding for an APIService that a Service serves, or None for k3s's metrics."""
    service = (found["spec"] or {}).get("service")
    of_metrics = found["metadata"]["name"] == _METRICS_API
    if not service or (of_metrics and (service.get("namespace"), service.get("name")) in _METRICS):
        return None
    return {
        "why": f"service {service.get('namespace')}/{service.get('name')} answers for the API group "
        f"{found['spec'].get('group')} in the API server's place, and sees the requester"
    }


def token(found: dict) -> Finding:
    """Return the finding for a Secret with a ServiceAccount token."""
    account_name = (found["metadata"].get("annotations") or {}).get("kubernetes.io/service-account.name")
    return {"why": f"holds a token without an expiry of ServiceAccount {found['metadata']['namespace']}/{account_name}"}


def bootstrap_token(_found: dict) -> Finding:
    """Return the finding for a bootstrap token."""
    return {"why": "is a bootstrap token, a credential where the API server accepts them (enable-bootstrap-token-auth)"}


def account(found: dict, known: Collection[str]) -> Finding | None:
    """Return the finding for a ServiceAccount in tenantry-system, or None for those of `known` users."""
    meta = found["metadata"]
    if held := meta.get("finalizers") if meta.get("deletionTimestamp") else None:
        return {
            "why": f"is being deleted, but kept by the finalizer {', '.join(held)}",
            "end": f"kubectl patch serviceaccount -n {meta['namespace']} {shlex.quote(meta['name'])} --type=merge "
            """-p '{"metadata":{"finalizers":null}}'""",
        }
    if meta["name"] in {*known, "default"}:
        return None
    return {"why": "an identity in the platform's namespace that is no user of the tenant"}


def summary(findings: Iterable[Finding], more: int, at_most: int = 10) -> str:
    """Return the findings in one line, at most so many of them."""
    listed = [f"{one['kind']} {'/'.join(filter(None, (one['namespace'], one['name'])))}" for one in findings]
    rest = max(0, len(listed) - at_most) + more
    return ", ".join(listed[:at_most]) + (f" and {rest} more" if rest else "")
