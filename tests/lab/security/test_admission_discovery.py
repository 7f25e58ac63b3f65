"""Every write and every connection that an API server serves in the namespace of a virtual cluster, for people of the
host whose rights end at namespaces, and for one at a time of these rights.

Admission sees no reads: who may read Secrets there reads those of the virtual cluster (docs/threat-model.md).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from ..harness import kubectl, ran, until
from ..people import await_policy
from .asking import Requests
from .bodies import BODIES, SUBRESOURCES
from .hosted import (
    COPY,
    DENIED,
    HERE,
    OURS,
    RBAC,
    SPACE,
    Change,
    Host,
    account,
    create,
    host_of,
    remove_accounts,
)
from .sweep import APPLY, MERGE, Request, Served, answer_of, served

PROBES = {"": {}, "-copy": COPY, "-ours": OURS}  # nobody's, the syncer's, the platform's
WRITES = {"create", "update", "patch", "delete", "deletecollection"}
METHODS = {"create": "POST", "get": "GET", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
STRATEGIC = "application/strategic-merge-patch+json"  # lists of named things are merged by name
CONNECTS = ("pods/attach", "pods/exec", "pods/portforward", "pods/proxy", "services/proxy")
NOTE = {"metadata": {"annotations": {"example.com/note": "x"}}}
# Controllers change them while the test runs.
RESTLESS = ("HorizontalPodAutoscaler", "Job", "Pod")
# Whose they are is judged by tenantry-requests too.
NOT_THE_ADMINISTRATORS = {"tenantuserrequests", "virtualclusterrequests"}

# What people of the host may in the namespace of a virtual cluster, by verb and resource.
ALLOWED = {
    ("create", "localsubjectaccessreviews"): "it asks who may do what, and changes nothing",
}
# The same for one who may change all Services, claims and events of the host, as a controller does.
ALLOWED_EVERYWHERE = {
    ("patch", "services"): "controllers of load balancers note what they have done",
    ("update", "services"): "as patch",
    ("patch", "persistentvolumeclaims"): "controllers of volumes note what they have done",
    ("update", "persistentvolumeclaims"): "as patch",
    ("create", "events"): "they say something and do nothing",
    ("patch", "events"): "as create",
    ("update", "events"): "as create",
}
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets", "singular": "widget", "listKind": "WidgetList"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                },
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
            }
        ],
    },
}


class Ask(NamedTuple):
    verb: str
    resource: str  # such as pods/exec
    group: str
    change: Change

    def __str__(self) -> str:
        request = f"{self.change.method} {self.change.path} {self.change.content}"
        return f"{self.verb} {self.resource} of {self.group or 'core'}: {request}"

    @property
    def connects(self) -> bool:
        return self.resource in CONNECTS

    def by(self, who: Cluster, headers: dict | None = None) -> tuple[int, str]:
        query = "" if self.connects else "?dryRun=All&fieldManager=probe"
        if self.verb == "deletecollection":
            query += "&fieldSelector=metadata.name=probe"
        if self.change.content == APPLY:
            query += "&force=true"
        if self.resource in ("pods/exec", "pods/attach"):
            query = "?command=id&stdout=1"
        content = None if self.change.body is None else self.change.content
        request = Request(self.change.method, self.change.path + query, content, str(self))
        return answer_of(who, request, self.change.body, headers)


class Sweep(NamedTuple):
    host: Host
    asks: list[Ask]


@pytest.fixture(scope="module")
def sweep(platform: Path) -> Iterator[Sweep]:
    with host_of(platform) as host:
        create(platform, DEFINITION)
        try:
            until(lambda: kubectl(platform, "get", "widgets").returncode == 0, 20)
            found = [one for one in served(host.admin) if one.namespaced and one.group != "metrics.k8s.io"]
            kinds = {(one.path, one.name): one for one in found}
            for one in kinds.values():
                if "create" in one.verbs and "delete" in one.verbs and "/" not in one.name:
                    _make(host.admin, one)
            yield Sweep(host, [ask for one in found for ask in _asks(host.admin, one)])
        finally:
            ran(platform, "delete", "crd", "widgets.example.com")


def _make(admin: Cluster, one: Served) -> None:
    for suffix, labels in PROBES.items():
        body = _body(one, f"probe{suffix}", labels)
        request = Request("POST", _path(one), "application/json", one.name)
        status, text = answer_of(admin, request, body)
        assert status in (201, 409), f"{one.name} needs more in BODIES: {text}"


def _path(one: Served) -> str:
    return f"{one.path}/namespaces/{SPACE}/{one.name.partition('/')[0]}"


def _body(one: Served, name: str, labels: dict | None = None) -> dict:
    body = {key: value for key, value in BODIES.get(one.name, {}).items() if key != "metadata"}
    if one.group == "events.k8s.io":
        body = {
            "regarding": {"namespace": SPACE},
            "reason": "A",
            "action": "a",
            "type": "Normal",
            "note": "a",
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "example.com/a",
            "reportingInstance": "a",
        }
    metadata = {"name": name, "namespace": SPACE, **({"labels": labels} if labels else {})}
    metadata |= BODIES.get(one.name, {}).get("metadata", {})
    return {"apiVersion": one.api_version, "kind": one.kind, "metadata": metadata, **body}


def _asks(admin: Cluster, one: Served) -> Iterator[Ask]:
    if one.name in CONNECTS:
        yield from _connections(one)
    elif "/" in one.name and "create" in one.verbs:
        path = (
            f"{_path(one)}/{'pods' if one.name.startswith('serviceaccounts') else 'probe'}/{one.name.partition('/')[2]}"
        )
        name = {} if one.name.startswith("serviceaccounts") else {"name": "probe"}
        body = {"metadata": {**name, "namespace": SPACE}, **SUBRESOURCES[one.name]}
        yield Ask("create", one.name, one.group, Change("POST", path, body))
    else:
        for verb in WRITES.intersection(one.verbs):
            for method, path, body, content in _writes(admin, one, verb):
                yield Ask(verb, one.name, one.group, Change(method, path, body, content))


def _connections(one: Served) -> Iterator[Ask]:
    plural, _slash, subresource = one.name.partition("/")
    for name, verb in itertools.product(("server-0", "probe") if plural == "pods" else ("api", "probe"), one.verbs):
        yield Ask(verb, one.name, one.group, Change(METHODS[verb], f"{_path(one)}/{name}/{subresource}"))


def _writes(admin: Cluster, one: Served, verb: str) -> Iterator[tuple[str, str, Any, str]]:
    collection, subresource = _path(one), one.name.partition("/")[2]
    if verb == "create":
        yield "POST", collection, _body(one, "another"), "application/json"
        return
    if verb == "deletecollection":
        yield "DELETE", collection, None, ""
        return
    for suffix in PROBES:
        path = "/".join(filter(None, [f"{collection}/probe{suffix}", subresource]))
        if verb == "delete":
            yield "DELETE", path, None, ""
            continue
        there = admin._json("get", path)
        change = {"spec": {"replicas": 1}} if subresource == "scale" else SUBRESOURCES.get(one.name, NOTE)
        if verb == "update":
            body = {**there, **change} if subresource == "scale" else {**there, **_noted(there)}
            yield "PUT", path, body, "application/json"
        else:
            yield "PATCH", path, change, STRATEGIC if one.name in SUBRESOURCES else MERGE
            if subresource != "scale":
                kind = {"apiVersion": there["apiVersion"], "kind": there["kind"]}
                yield "PATCH", path, {**kind, "metadata": {"name": f"probe{suffix}", **NOTE["metadata"]}}, APPLY


def _noted(obj: dict) -> dict:
    notes = {**(obj["metadata"].get("annotations") or {}), **NOTE["metadata"]["annotations"]}
    metadata = {**obj["metadata"], "annotations": notes}
    if obj["kind"] in RESTLESS:
        del metadata["resourceVersion"]
    return {"metadata": metadata}


def answers(who: Cluster, asks: Iterable[Ask], requests: Requests, what: str) -> dict[str, tuple[Ask, int, str]]:
    asks = list(asks)
    found = who.map(lambda ask: ask.by(who), asks)
    requests.count(what, len(asks))
    return {str(ask): (ask, *answer) for ask, answer in zip(asks, found, strict=True)}


def passed(found: dict) -> dict[str, str]:
    """What was allowed by RBAC and by every policy; what Kubernetes then said to it does not matter."""
    return {what: text for what, (_ask, status, text) in found.items() if status != 403}


def unexpected(found: dict, allowed: dict) -> dict[str, str]:
    return {
        what: text
        for what, text in passed(found).items()
        if (found[what][0].verb, found[what][0].resource) not in allowed
    }


@pytest.fixture(scope="module")
def requests(request: pytest.FixtureRequest) -> Iterator[Requests]:
    found = Requests()
    yield found
    found.tell("the namespace of a virtual cluster", request.config)


def test_an_administrator_may_all_of_it(sweep: Sweep, requests: Requests) -> None:
    """The positive control: each of these requests is one that Kubernetes carries out."""
    found = answers(sweep.host.admin, sweep.asks, requests, "of an administrator")
    assert len(found) > 300
    failed = {
        what: text
        for what, (ask, status, text) in found.items()
        if (DENIED in text if ask.connects else status not in (200, 201))
        and ask.resource.partition("/")[0] not in NOT_THE_ADMINISTRATORS
    }
    assert failed == {}


@pytest.mark.parametrize("role", ["cluster-admin", "admin", "edit"])
def test_rights_in_a_namespace_are_of_no_use(sweep: Sweep, requests: Requests, role: str) -> None:
    """All that RBAC can give in a namespace, and Kubernetes' own roles."""
    host = sweep.host
    who = account(host.kubeconfig, "default", f"host-{role}", role, only_in=SPACE)
    try:
        wall = Change("POST", f"{HERE}/configmaps", {"metadata": {"name": "another"}})
        await_policy(lambda: 403 if DENIED in wall.by(who)[1] else 0)
        found = answers(who, sweep.asks, requests, f"of {role} in the namespace")
        assert unexpected(found, ALLOWED) == {}
        if role == "cluster-admin":
            by_rbac = {
                what: text for what, (_ask, status, text) in found.items() if status == 403 and DENIED not in text
            }
            assert by_rbac == {}
    finally:
        remove_accounts(host.kubeconfig, f"host-{role}")


def test_rights_everywhere_leave_notes(sweep: Sweep, requests: Requests) -> None:
    """A role of Kubernetes for all namespaces: as much as controllers of load balancers and volumes have."""
    host = sweep.host
    events = {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]}
    edit = host.admin.get("rbac.authorization.k8s.io/v1/ClusterRole", "edit")["rules"]
    who = account(host.kubeconfig, "default", "host-everywhere", [*edit, events])
    try:
        wall = Change("POST", f"{HERE}/configmaps", {"metadata": {"name": "another"}})
        await_policy(lambda: 403 if DENIED in wall.by(who)[1] else 0)
        found = answers(who, sweep.asks, requests, "of edit in all namespaces")
        assert unexpected(found, ALLOWED_EVERYWHERE) == {}
        assert {tuple(what.split()[:2]) for what in passed(found)} == {*ALLOWED_EVERYWHERE}
    finally:
        remove_accounts(host.kubeconfig, "host-everywhere")


def test_one_right_at_a_time_is_of_no_use(sweep: Sweep, requests: Requests) -> None:
    host = sweep.host
    rights = sorted({(ask.verb, ask.group, ask.resource) for ask in sweep.asks})
    who = {right: f"host-{number}" for number, right in enumerate(rights)}
    host.admin.map(lambda right: _grant(host.admin, who[right], right), rights)

    def asked(ask: Ask) -> tuple[Ask, int, str]:
        return ask, *ask.by(host.admin, {"Impersonate-User": who[ask.verb, ask.group, ask.resource]})

    last = next(ask for ask in sweep.asks if (ask.verb, ask.group, ask.resource) == rights[-1])
    await_policy(lambda: 403 if DENIED in asked(last)[2] else 0)
    found = {str(ask): answer for ask, answer in zip(sweep.asks, host.admin.map(asked, sweep.asks), strict=True)}
    requests.count("with one right each", len(found))
    assert unexpected(found, ALLOWED) == {}
    # Server-side apply needs the right to create too; RBAC refuses it, here and nowhere else.
    by_rbac = [
        what for what, (ask, _status, text) in found.items() if DENIED not in text and ask.change.content != APPLY
    ]
    assert {tuple(what.split()[:2]) for what in by_rbac} == {*ALLOWED}


def _grant(admin: Cluster, user: str, right: tuple[str, str, str]) -> None:
    verb, group, resource = right
    rule = {"apiGroups": [group], "resources": [resource], "verbs": [verb]}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": user}
    for plural, body in (("roles", {"rules": [rule]}), ("rolebindings", {"roleRef": role, "subjects": [subject]})):
        request = Request("POST", f"{RBAC}/namespaces/{SPACE}/{plural}", "application/json", plural)
        status, text = answer_of(admin, request, {"metadata": {"name": user}, **body})
        assert status == 201, text


def test_without_the_policies_rights_are_of_use(sweep: Sweep, requests: Requests) -> None:
    """The mutation control: what cluster-admin in the namespace may is what an administrator may."""
    host = sweep.host
    who = account(host.kubeconfig, "default", "host-mutation", "cluster-admin", only_in=SPACE)
    wall = Change("POST", f"{HERE}/configmaps", {"metadata": {"name": "another"}})
    try:
        with host.without("tenantry-objects", "tenantry-vclusters", "tenantry-pods"):
            await_policy(lambda: 403 if wall.by(who)[0] == 201 else 0)
            asks = [ask for ask in sweep.asks if ask.resource.partition("/")[0] not in NOT_THE_ADMINISTRATORS]
            found = answers(who, asks, requests, "without the policies")
            refused = {what: text for what, (_ask, status, text) in found.items() if status == 403}
            assert refused == {}
    finally:
        remove_accounts(host.kubeconfig, "host-mutation")
