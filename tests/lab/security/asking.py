"""Asking an API server who may do what, many questions at a time, and counting them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster

from ...notes import note

GROUP = "/apis/tenantry.dev/v1alpha1"
COUNT = itertools.count()


class Right(NamedTuple):
    """A verb on a resource in a namespace; None is the whole cluster."""

    verb: str
    group: str
    resource: str
    subresource: str
    namespace: str | None

    def __str__(self) -> str:
        resource = "/".join(filter(None, [self.group, self.resource, self.subresource]))
        return f"{self.verb} {resource} in {self.namespace or 'the cluster'}"


@dataclass(frozen=True)
class Row:
    """A row of the table: what it is about, which roles may, and the requests it means."""

    what: str
    roles: str
    verbs: str
    resources: str  # such as `pods apps/deployments pods:exec`
    clusterwide: bool = False

    def rights(self, namespace: str | None) -> Iterator[Right]:
        for verb, name in itertools.product(self.verbs.split(), self.resources.split()):
            path, _colon, subresource = name.partition(":")
            group, _slash, resource = path.rpartition("/")
            yield Right(verb, group, resource, subresource, None if self.clusterwide else namespace)


@dataclass
class Requests:
    """How many requests were made."""

    made: int = 0
    by: dict[str, int] = field(default_factory=dict)

    def count(self, what: str, number: int) -> None:
        self.made += number
        self.by[what] = self.by.get(what, 0) + number

    def tell(self, what: str, config: pytest.Config) -> None:
        """At the end of the run."""
        note(config, f"{what}: {self}")

    def __str__(self) -> str:
        return f"{self.made} requests: " + ", ".join(f"{number} {what}" for what, number in self.by.items())


def allowed(cluster: Cluster, rights: Iterable[Right], requests: Requests) -> dict[Right, bool]:
    """What the API server says to a SelfSubjectAccessReview of each."""
    asked = list(dict.fromkeys(rights))
    answers = cluster.map(lambda right: _allowed(cluster, right), asked)
    requests.count("access reviews", len(asked))
    return dict(zip(asked, answers, strict=True))


def _allowed(cluster: Cluster, right: Right) -> bool:
    attributes = {key: value for key, value in right._asdict().items() if value}
    review: dict[str, Any] = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "metadata": {},
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    with cluster._doing("asking", None, None, None):
        answer = cluster._json("post", path, body=review, content_type="application/json")
    return bool(answer["status"]["allowed"])


def with_value(obj: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """The object with another value at one place; None takes it away."""
    found = copy.deepcopy(obj)
    *parents, last = path.split(".")
    place = found
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return found


def dry_run(
    cluster: Cluster, obj: dict[str, Any], method: str = "post", path: str = "", content: str = "json", *, plural: str
) -> int:
    """The HTTP status of one on the hub, about a request of a tenant."""
    home = obj["metadata"]["namespace"]
    url = f"{GROUP}/namespaces/{home}/{plural}{path}?dryRun=All&fieldValidation=Strict"
    if "apply" in content:
        url += "&fieldManager=probe&force=true"
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "dryRun": ["All"]} if method == "delete" else obj
    try:
        with cluster._doing("asking", None, None, None):
            cluster._json(method, url, body=body, content_type=f"application/{content}")
    except ApiError as error:
        return error.status or 0
    return 200
