# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""One connection to one API server: plain dictionaries, bounded retries, errors of one line."""

from __future__ import annotations

import builtins
import json
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from ssl import SSLSocket
from typing import Any, TypeVar
from urllib.parse import quote

from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    ApiError,
    TenantryError,
    WebhookError,
    api_error,
    is_terminating,
    refusal,
)
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import FIELD_MANAGER, HUB
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import resources
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.conflicts import repeat_lost
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.reviews import Reviews
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.time_limit import TimeLimit
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.transport import (
    Limiter,
    environment_proxy,
    events,
    open_socket,
    pool_manager,
    ssl_context,
)

try:
    from kubernetes.client import ApiClient, Configuration
    from kubernetes.client.exceptions import ApiException
    from kubernetes.dynamic import DynamicClient
    from kubernetes.dynamic.resource import Resource
    from urllib3.exceptions import HTTPError
except ImportError:
    DynamicClient = None  # type: ignore[assignment,misc]  # reported once, by _module.main()

T = TypeVar("T")
R = TypeVar("R")

THREADS = 8
# Where an API server is a tenant's: objects in one answer, and of one kind in all.
PAGE = 500
MOST = 10_000
APPLY = "application/apply-patch+yaml"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


class _NoDiscovery:
    """Replaces the discoverer of the package, which queries the server when a client is created."""

    def __init__(self, client: Any, cache_file: str | None) -> None:
        self.client = client


class Cluster(Reviews):
    """A cluster and a credential for it. Thread-safe."""

    def __init__(self, config: dict, *, name: str, timeout: float, connection_pool: type | None = None) -> None:
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.name = name
        self.server: str = cluster["server"].rstrip("/")
        self.ca_data: str = cluster.get("certificate-authority-data", "")
        self.timeout = timeout
        # Opening a port-forward costs more than several requests on an open one, so fewer threads are faster.
        self.threads = 1 if connection_pool else THREADS
        self.ssl_context = ssl_context(cluster, user, f"the kubeconfig of {name}")
        self.headers = {"Authorization": f"Bearer {user['token']}"} if user.get("token") else {}
        # The requester, for user agents on members and virtual clusters. The hub knows it by the credential.
        self.requester: Callable[[], str] | None = None
        # The remedy if this credential is rejected, if known.
        self.renewal = ""
        self.limit: TimeLimit | None = None
        self._limiter: Limiter | None = None
        self._client = _dynamic_client(self, cluster, connection_pool)

    @classmethod
    def from_kubeconfig(
        cls, config: dict, *, name: str, timeout: float = 30, connection_pool: type | None = None
    ) -> Cluster:
        """Connect with the first context of `config`, as kubeconfig.load() and build() return it.

        `timeout` is in seconds. `connection_pool` replaces urllib3's HTTPSConnectionPool, for connections that are not
        plain TCP.
        """
        return cls(config, name=name, timeout=timeout, connection_pool=connection_pool)

    @property
    def user_agent(self) -> str:
        return self._client.client.user_agent

    def introduce(self) -> None:
        """Name the requester in the user agent, which audit logs record.

        Members and virtual clusters know only the platform's credential.
        """
        if self.requester and self.name != HUB:
            self._client.client.user_agent = f"{FIELD_MANAGER} for {quote(self.requester(), safe=':@/. ')}"

    def limited(self, seconds: float) -> Cluster:
        """Return this cluster with a limit of so many seconds for all its requests together.

        For virtual clusters, whose administrators may make them slow. The first webhook that fails also ends it.
        """
        self.limit = TimeLimit(seconds, self.name)
        self._limiter = Limiter(self._client.client.rest_client.pool_manager, self.limit, self.name)
        return self

    def get(self, kind: str, name: str, namespace: str | None = None) -> dict | None:
        """Return the object, or None."""
        with self._doing("reading", kind, name, namespace):
            return self._call("get", kind, name, namespace, missing_ok=True)

    def list(self, kind: str, namespace: str | None = None, selector: str | None = None) -> list[dict]:
        """Return the objects of a kind, in one namespace or in all."""
        found: list[dict] = []
        for page in self.pages(kind, namespace, selector, size=PAGE if self.limit else None):
            found += page
            if self.limit and len(found) > MOST:
                raise ApiError(
                    f"listing {kind} on {self.name}: there are more than {MOST}. Delete those that nothing needs, "
                    "then run again"
                )
        return found

    def pages(
        self,
        kind: str,
        namespace: str | None = None,
        selector: str | None = None,
        size: int | None = PAGE,
        *,
        fields: str | None = None,
        metadata_only: bool = False,
    ) -> Iterator[builtins.list[dict]]:
        """Yield the objects of a kind, `size` at a time, so that the caller need not keep all of them."""
        following = None
        how: dict[str, Any] = {"header_params": {"Accept": METADATA_ONLY}} if metadata_only else {}
        while True:
            with self._doing("listing", kind, None, namespace):
                how |= {"label_selector": selector, "field_selector": fields, "limit": size, "_continue": following}
                answer = self._call("get", kind, None, namespace, **how)
            version, item_kind = answer["apiVersion"], answer["kind"].removesuffix("List")
            items = answer.get("items") or []
            if self.limit and not all(map(_is_object, items)):
                raise ApiError(
                    f"listing {kind} on {self.name}: the answer has items that are no Kubernetes objects. Check which "
                    "APIService serves that API"
                )
            yield [{"apiVersion": version, "kind": item_kind, **item} for item in items]
            following = (answer.get("metadata") or {}).get("continue")
            if not following:
                return

    def create(self, obj: dict, *, dry_run: bool = False) -> dict:
        """Create an object that must not exist (ApiError 409 otherwise). To keep an object in step, apply it."""
        kind, name, namespace = _identity(obj)
        dry = "All" if dry_run else None
        with self._doing("creating", kind, name, namespace):
            return self._call("post", kind, None, namespace, body=obj, field_manager=FIELD_MANAGER, dry_run=dry)

    def apply(self, obj: dict, *, force: bool = True) -> dict:
        """Apply an object by server-side apply, and return it. `force` takes over fields of other managers."""
        kind, name, namespace = _identity(obj)
        with self._doing("applying", kind, name, namespace):
            forced = "true" if force else None
            return self._patch(self._path(kind, name, namespace), obj, APPLY, force_conflicts=forced)

    def apply_status(self, obj: dict) -> dict:
        """Apply the status of an existing object, and nothing else of it."""
        kind, name, namespace = _identity(obj)
        with self._doing("applying the status of", kind, name, namespace):
            return self._patch(f"{self._path(kind, name, namespace)}/status", obj, APPLY, force_conflicts="true")

    def merge(self, kind: str, name: str, namespace: str | None, body: dict, *, manager: str = FIELD_MANAGER) -> dict:
        """Patch single fields of an existing object, until an apply sets them."""
        with self._doing("changing", kind, name, namespace):
            how = f"application/{'' if resources.is_custom(kind) else 'strategic-'}merge-patch+json"
            return self._patch(self._path(kind, name, namespace), body, how, field_manager=manager)

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        propagation: str = "Background",
        grace: int | None = None,
    ) -> bool:
        """Delete the object; return False if there is none. `uid` must match if given; `grace` is in seconds."""
        options: dict[str, Any] = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": propagation}
        if grace is not None:
            options["gracePeriodSeconds"] = grace
        if uid:
            options["preconditions"] = {"uid": uid}
        with self._doing("deleting", kind, name, namespace):
            return self._call("delete", kind, name, namespace, body=options, missing_ok=True) is not None

    def evict(self, pod: dict) -> str:
        """Evict a pod.

        Return why not if a disruption budget denies it or the pod is terminating, else an empty string.
        """
        meta = pod["metadata"]
        name, namespace = meta["name"], meta["namespace"]
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": {"preconditions": {"uid": meta["uid"]}},
        }
        with self._doing("evicting", resources.POD, name, namespace):
            path = self._path(resources.POD, name, namespace) + "/eviction"
            try:
                self._json("post", path, body=eviction, content_type="application/json")
            except ApiException as error:
                if error.status == 429 or is_terminating(error):
                    return refusal(error)
                if error.status not in (404, 409):  # it does not exist, or has another UID
                    raise
        return ""

    def watch(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        name: str | None = None,
        selector: str | None = None,
        resource_version: str | None = None,
        timeout: int,
    ) -> Iterator[tuple[str, dict]]:
        """Yield events as (type, object) until the server ends the watch after `timeout` seconds.

        Without a resource version, it begins with the existing objects as ADDED.
        """
        ended = self._limiter.within(timeout + self.timeout) if self._limiter else nullcontext()
        with self._doing("watching", kind, name, namespace), ended:
            response = self._client.request(
                "get",
                self._path(kind, None, namespace),
                watch="true",
                timeout_seconds=max(1, int(timeout)),
                field_selector=f"metadata.name={name}" if name else None,
                label_selector=selector,
                resource_version=resource_version,
                serialize=False,
                _request_timeout=(self.timeout, timeout + self.timeout),
            )
            try:
                yield from events(response, f"watching {kind} on {self.name}")
            finally:
                response.close()

    def text(self, path: str) -> str:
        """Return the content of a path that is not an object, such as /metrics."""
        with self._doing(f"reading {path}", None, None, None), self._in_time() as timeout:
            how = {"serialize": False, "header_params": {"Accept": "*/*"}, "_request_timeout": timeout}
            return self._client.request("get", path, **how).data.decode()

    def identity(self) -> str:
        """Return the UID of the kube-system namespace, which identifies the cluster."""
        namespace = self.get(resources.NAMESPACE, "kube-system")
        if namespace is None:
            raise TenantryError(f"{self.name} ({self.server}) has no namespace kube-system; is it Kubernetes?")
        return namespace["metadata"]["uid"]

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> builtins.list[R]:
        """Return the results in order, computed by `threads` threads. Raise the first error after all have ended."""
        with ThreadPoolExecutor(self.threads) as executor:
            futures = [executor.submit(function, item) for item in items]
        return [future.result() for future in futures]

    def open_socket(self) -> SSLSocket:
        """Return a new TLS connection to the API server. Raise an OSError if it cannot be opened."""
        return open_socket(self._client.client.rest_client.pool_manager, self.server, self.timeout)

    def close(self) -> None:
        self._client.client.rest_client.pool_manager.clear()

    def _call(
        self,
        method: str,
        kind: str,
        name: str | None,
        namespace: str | None,
        *,
        missing_ok: bool = False,
        content_type: str = "application/json",
        **params: Any,
    ) -> Any:
        try:
            return self._json(method, self._path(kind, name, namespace), content_type=content_type, **params)
        except ApiException as error:
            if missing_ok and error.status == 404:
                return None
            raise

    def _patch(self, path: str, body: dict, content_type: str, **params: Any) -> dict:
        how = {"content_type": content_type, "field_manager": FIELD_MANAGER, **params}
        return repeat_lost(lambda: self._json("patch", path, body=body, **how), body)

    def _json(self, method: str, path: str, **params: Any) -> Any:
        if method != "get" and not params.get("dry_run"):
            self.introduce()
        with self._in_time() as timeout:
            # A pair, because older releases of the package ignore a float.
            wait = (timeout, timeout)
            response = self._client.request(method, path, serialize=False, _request_timeout=wait, **params)
        return json.loads(response.data)

    @contextmanager
    def _in_time(self) -> Iterator[float]:
        if self.limit is None or self._limiter is None:
            yield self.timeout
            return
        with self.limit.running(self._limiter.abort) as left:
            yield max(0.1, min(self.timeout, left))

    def _path(self, kind: str, name: str | None, namespace: str | None) -> str:
        group_version, _sep, kind_name = kind.rpartition("/")
        group, _sep, version = group_version.rpartition("/")
        plural, namespaced = resources.KINDS[kind]
        resource = Resource(
            prefix="apis" if group else "api",
            group=group,
            api_version=version,
            kind=kind_name,
            name=plural,
            namespaced=namespaced,
            client=self._client,
        )
        return resource.path(name=name, namespace=namespace if namespaced else None)

    @contextmanager
    def _doing(self, doing: str, kind: str | None, name: str | None, namespace: str | None) -> Iterator[None]:
        try:
            yield
        except (ApiException, HTTPError, OSError, ValueError) as error:
            what = "/".join(part for part in (namespace, name) if part)
            text = " ".join(part for part in (doing, kind, what, "on", self.name, f"({self.server})") if part)
            translated = api_error(error, text, self.renewal)
            if self.limit and isinstance(translated, WebhookError):
                self.limit.end(str(translated))
            raise translated from None


def _is_object(item: object) -> bool:
    """Return whether it has what every object has. Administrators of a virtual cluster may serve their own API."""
    meta = item.get("metadata") if isinstance(item, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get("name"), str):
        return False
    return all(isinstance(meta.get(part) or {}, dict) for part in ("labels", "annotations"))


def _identity(obj: dict) -> tuple[str, str, str | None]:
    return resources.kind_of(obj), obj["metadata"].get("name", ""), obj["metadata"].get("namespace")


def _dynamic_client(cluster: Cluster, entry: dict, connection_pool: type | None) -> Any:
    configuration = Configuration()
    configuration.host = cluster.server
    client = ApiClient(configuration)
    client.user_agent = FIELD_MANAGER
    for header, value in cluster.headers.items():
        client.set_default_header(header, value)
    options = {}
    if entry.get("tls-server-name"):
        options["server_hostname"] = entry["tls-server-name"]
    proxy = entry.get("proxy-url") or (None if connection_pool else environment_proxy(cluster.server))
    pools = pool_manager(cluster.ssl_context, proxy, **options)
    if connection_pool:
        pools.pool_classes_by_scheme = {"https": connection_pool}
    client.rest_client.pool_manager = pools
    return DynamicClient(client, discoverer=_NoDiscovery)
