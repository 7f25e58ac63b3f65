# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Requests of a Cluster that create no object, but answer a question: tokens, rights, versions."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.resources import SERVICE_ACCOUNT


class _Requests(Protocol):
    """The part of Cluster that the reviews use."""

    def _doing(
        self, doing: str, kind: str | None, name: str | None, namespace: str | None
    ) -> AbstractContextManager[None]: ...

    def _json(self, method: str, path: str, **params: Any) -> Any: ...

    def _path(self, kind: str, name: str | None, namespace: str | None) -> str: ...


class Reviews:
    """A base class of Cluster with these requests."""

    def token_request(
        self: _Requests, namespace: str, service_account: str, *, seconds: int, bound_secret: dict | None
    ) -> tuple[str, str]:
        """Request a token, valid as long as `bound_secret` exists. Return it with the granted expiry (RFC 3339)."""
        spec: dict[str, Any] = {"expirationSeconds": seconds}
        if bound_secret:
            meta = bound_secret["metadata"]
            spec["boundObjectRef"] = {
                "apiVersion": "v1",
                "kind": "Secret",
                "name": meta["name"],
                "uid": meta["uid"],
            }
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        with self._doing("requesting a token of", SERVICE_ACCOUNT, service_account, namespace):
            path = self._path(SERVICE_ACCOUNT, service_account, namespace) + "/token"
            status = self._json("post", path, body=request, content_type="application/json")["status"]
        return status["token"], status["expirationTimestamp"]

    def token_review(self: _Requests, token: str) -> dict:
        """Return the status of a TokenReview: whether the token is valid, and its user."""
        with self._doing("reviewing a token", None, None, None):
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
            path = "/apis/authentication.k8s.io/v1/tokenreviews"
            return self._json("post", path, body=review, content_type="application/json").get("status") or {}

    def allows(self: _Requests, user: dict, right: tuple[str, str, str]) -> bool:
        """Return whether a user, as audit logs record it, has the right (group, resource, verb) in all namespaces."""
        group, resource, verb = right
        spec = {
            "user": user.get("username"),
            "groups": user.get("groups") or [],
            "resourceAttributes": {"group": group, "resource": resource, "verb": verb},
        }
        review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": spec}
        with self._doing("reviewing the rights of", None, str(user.get("username")), None):
            path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            answer = self._json("post", path, body=review, content_type="application/json")
        return bool(answer["status"].get("allowed"))

    def whoami(self: _Requests) -> str:
        """Return the name by which the API server knows the platform."""
        with self._doing("reviewing the platform's own user", None, None, None):
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
            path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
            answer = self._json("post", path, body=review, content_type="application/json")
        return answer["status"]["userInfo"]["username"]

    def version(self: _Requests) -> str:
        """Return the version of the server, such as `v1.37.2+k3s1`."""
        with self._doing("reading the version", None, None, None):
            return self._json("get", "/version")["gitVersion"]
