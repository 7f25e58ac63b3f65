"""The CAs of k3s are replaced: what the old ones signed ends, all else goes on (CRED-6).

The servers are processes. The test restarts them, as their StatefulSet would, and runs in place of an exec what that
would run in a server's container.
"""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, timestamps
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import ApiError, TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.apply import Plan
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._platform import identities
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import (
    ca_rotation,
    connection,
    operations,
    trusted_keys,
)
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca, common

from .databases import Postgres
from .harness import K3S, PLATFORM_TOKEN, ApiServer, ModuleResult, call_module, kubectl, ran, until
from .people import is_known, labels_of, server, tenant_with
from .test_datastore import server as server_on

TENANT, NAMESPACE = "guild", "guild--dev"
BOB = naming.labels("user", tenant=TENANT, user="bob")
KINDS = {"Secret platform-credential", "StatefulSet server"}


@dataclass
class Guild:
    hub: Path
    servers: list[ApiServer]
    between: list[Callable[[], None]] = field(default_factory=list)  # called when one of the servers has restarted

    def tls(self, name: str, of: int = 0) -> str:
        return (self.servers[of].directory / "data/server/tls" / name).read_text()

    def restart(self, *_of: Any) -> None:
        """One after the other, as the StatefulSet controller and kubelets would."""
        for one in self.servers:
            one.kill()
            one.start(deadline_seconds=120)
            for look in self.between:
                look()

    def run(self, _container: Any, doing: str, script: str, *given: str, stdin: Iterable[bytes] = (), **_: Any) -> str:
        """A script in the container of the first server."""
        here = {common.DATA_DIRECTORY: self.servers[0].directory / "data", common.K3S: K3S}
        words = [
            server(self.servers[0].kubeconfig) if one.startswith("https:") else here.get(one, one) for one in given
        ]
        done = subprocess.run(
            ["/bin/sh", "-c", script, "sh", *words], input=b"".join(stdin), capture_output=True, check=False
        )
        if done.returncode:
            raise TenantryError(f"{doing}: {done.stderr.decode()}")
        return done.stdout.decode()

    def inside(self, host: Cluster, namespace: str) -> Cluster:
        """By the CA that is kept on the host."""
        kept = host.get("v1/Secret", "platform-credential", namespace)["data"]["ca.crt"]
        way = {"server": server(self.servers[0].kubeconfig), "certificate-authority-data": kept}
        config = {"clusters": [{"cluster": way}], "users": [{"user": {"token": PLATFORM_TOKEN}}]}
        found = Cluster.from_kubeconfig(config, name=namespace)
        found.requester = host.requester
        return found

    def rotated(self, **options: Any) -> ModuleResult:
        return call_module("vcluster", kubeconfig=self.hub, tenant=TENANT, name="dev", state="rotated", **options)

    def user(self, name: str, **options: Any) -> ModuleResult:
        return call_module("tenant_user", kubeconfig=self.hub, tenant=TENANT, name=name, **options)

    def objects(self) -> str:
        """With the versions of all of them."""
        found = [
            ran(self.hub, "get", *what, "-o", "yaml") for what in (("secrets", "-n", NAMESPACE), ("ns", NAMESPACE))
        ]
        return "".join(found)


@contextmanager
def _servers(directory: Path, count: int) -> Iterator[list[ApiServer]]:
    """One with SQLite, or several with a database."""
    with ExitStack() as stack:
        if count == 1:
            servers = [ApiServer(directory)]
        else:
            database = stack.enter_context(Postgres().running())
            servers = [server_on(directory / str(number), database) for number in range(count)]
        for one in servers:
            stack.callback(one.kill)
            one.start(deadline_seconds=120)
        yield servers


def _objects_on_host(found: Guild) -> None:
    meta = {"namespace": NAMESPACE, "labels": labels_of(TENANT, "dev")}
    credential = {"token": PLATFORM_TOKEN, "ca.crt": found.tls("server-ca.crt")}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "k3s", "image": "k3s"}]}}
    spec = {"serviceName": "server", "selector": {"matchLabels": {"a": "b"}}, "replicas": len(found.servers)}
    for obj in (
        common.secret({**meta, "name": "platform-credential"}, credential),
        common.secret({**meta, "name": "client-ca"}, client_ca.make(NAMESPACE)),
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {**meta, "name": "server"},
            "spec": {**spec, "template": template},
        },
    ):
        ran(found.hub, "create", "-f", "-", stdin=json.dumps(obj))


def _objects_inside(found: Guild) -> None:
    """As the module vcluster makes them for the administrator's kubeconfig."""
    hub = Cluster.from_kubeconfig(yaml.safe_load(found.hub.read_text()), name="hub")
    api = found.inside(hub, NAMESPACE)
    labels = naming.labels("vcluster", tenant=TENANT, vcluster="dev")
    Plan.make(api, [*identities.inside_base(), *identities.inside_administrator(labels)]).execute()
    for cluster in (hub, api):
        cluster.close()


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.nightly)], ids=["one", "several"])
def guild(request: pytest.FixtureRequest, platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guild]:
    with _servers(tmp_path_factory.mktemp("guild"), request.param) as servers:
        found = Guild(platform, servers)
        with (
            tenant_with(platform, TENANT, {"dev": servers[0].kubeconfig}),
            pytest.MonkeyPatch.context() as patch,
        ):
            _objects_on_host(found)
            patch.setattr(connection, "inside", found.inside)
            _objects_inside(found)
            patch.setattr(ca_rotation, "run", found.run)
            patch.setattr(ca_rotation, "wait_for_server", found.restart)
            patch.setattr(ca_rotation, "wait_until_ready", lambda *_of: None)
            yield found


@pytest.fixture
def alice(guild: Guild, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "alice.yaml"
    assert not guild.user("alice", role="admin", kubeconfig_path=path).failed
    yield path
    assert not guild.user("alice", state="absent").failed


def _with_ca(kubeconfig: str, ca: str, path: Path) -> Path:
    """Who trusts this CA, and is who the kubeconfig says."""
    config = yaml.safe_load(kubeconfig)
    config["clusters"][0]["cluster"]["certificate-authority-data"] = base64.b64encode(ca.encode()).decode()
    path.write_text(json.dumps(config))
    return path


def _whoami(kubeconfig: Path) -> str:
    asked = kubectl(kubeconfig, "auth", "whoami")
    return "known" if asked.returncode == 0 else asked.stderr


def test_rotation_ends_what_the_old_cas_signed(guild: Guild, alice: Path, tmp_path: Path) -> None:
    first = guild.servers[0].kubeconfig
    before = {name: guild.tls(f"{name}.crt") for name in ("server-ca", "client-ca", "request-header-ca")}
    key, stolen = guild.tls("service.key"), first.read_text()
    ran(first, "create", "configmap", "kept", "-n", "default", "--from-literal=word=kept")
    admin = tmp_path / "admin.yaml"
    # A user who comes by an issuer has no token there, but a kubeconfig with the CA too.
    binding = ("rolebinding", "bob", "--clusterrole=view", "--user=oidc:bob", "-n", "default")
    ran(first, "create", *binding)
    ran(first, "label", *binding[:2], *binding[-2:], *(f"{key}={value}" for key, value in BOB.items()))
    seen = guild.objects()
    foreseen = guild.rotated(kubeconfig_path=admin, check=True, diff=True)
    assert (guild.objects(), admin.exists()) == (seen, False)
    if len(guild.servers) > 1:
        guild.between.append(lambda: _all_know(alice))

    result = guild.rotated(kubeconfig_path=admin, diff=True)
    guild.between.clear()
    assert not result.failed, result.msg
    assert result.data["actions"] == foreseen.data["actions"]
    assert {f"{one['kind']} {one['name']}" for one in result.data["actions"]} == KINDS | {f"Kubeconfig {admin}"}
    assert "PRIVATE KEY" not in result.text
    for number in range(len(guild.servers)):
        after = {name: guild.tls(f"{name}.crt", number) for name in before}
        assert all(after[name].count("BEGIN") == 1 and before[name] not in after[name] for name in before), number
        assert guild.tls("service.key", number) == key
    refused = _with_ca(stolen, guild.tls("server-ca.crt"), tmp_path / "stolen.yaml")
    until(lambda: "Unauthorized" in _whoami(refused))
    assert _whoami(first) == "known", "the positive control"
    assert is_known(admin, NAMESPACE)
    assert ran(admin, "get", "configmap", "kept", "-n", "default", "-o", "jsonpath={.data.word}") == "kept"
    assert result.data["outdated_kubeconfigs"] == ["alice", "bob"]
    assert "kubeconfigs from before do not trust it" in result.text
    token = yaml.safe_load(alice.read_text())["users"]
    assert guild.user("alice", role="admin", kubeconfig_path=alice).changed
    assert yaml.safe_load(alice.read_text())["users"] == token, "the token stays"
    assert is_known(alice, NAMESPACE)
    ran(admin, "delete", "configmap/kept", "rolebinding/bob", "-n", "default")
    assert ca_rotation.ROTATION not in guild.objects()
    assert ca_rotation.ROTATING not in guild.objects()


def _all_know(kubeconfig: Path) -> None:
    """A kubeconfig from before the rotation, at this moment."""
    assert _whoami(kubeconfig) == "known"


def test_the_api_server_publishes_only_new_cas_and_they_are_no_finding(guild: Guild, alice: Path) -> None:
    def published() -> str:
        name = ("configmap", "extension-apiserver-authentication", "-n", "kube-system")
        return kubectl(guild.servers[0].kubeconfig, "get", *name, "-o", "json").stdout

    hub = Cluster.from_kubeconfig(yaml.safe_load(guild.hub.read_text()), name="hub")
    inside = guild.inside(hub, NAMESPACE)
    before = [guild.tls(f"{name}.crt").strip() for name in ("client-ca", "request-header-ca")]
    until(lambda: all(json.dumps(pem)[1:-1] in published() for pem in before))
    trusted_keys.note(hub, NAMESPACE, trusted_keys.now(inside, None))
    assert not guild.rotated().failed
    after = [guild.tls(f"{name}.crt").strip() for name in ("client-ca", "request-header-ca")]
    until(lambda: all(json.dumps(pem)[1:-1] in published() for pem in after))
    assert not [pem for pem in before if json.dumps(pem)[1:-1] in published()]
    found = call_module("tenant_user_info", kubeconfig=guild.hub, tenant=TENANT)
    assert [one["why"] for one in found.data["findings"]] == []
    for cluster in (hub, inside):
        cluster.close()


def test_rotation_by_age_changes_nothing_before(guild: Guild, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = guild.objects()
    young = guild.rotated(rotate_older_than="30d")
    assert (young.failed, young.changed) == (False, False), young.msg
    assert (guild.objects(), young.data["outdated_kubeconfigs"]) == (seen, [])
    later = timestamps.clock() + timedelta(days=31)
    monkeypatch.setattr(operations, "clock", lambda: later)
    assert guild.rotated(rotate_older_than="30d", check=True).changed
    wrong = guild.rotated(rotate_older_than="soon")
    assert 'rotate_older_than: "soon" is not a duration' in wrong.msg
    assert 'rotate_older_than: "" is not a duration' in guild.rotated(rotate_older_than="").msg


# The last step that the run takes on the host; one server has fewer.
LAST = [pytest.param(number, marks=[pytest.mark.nightly] if number != 3 else []) for number in range(8)]


@pytest.mark.parametrize("last", LAST)
def test_an_interrupted_rotation_is_finished(guild: Guild, last: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run ends before one of its steps; the next has the same CAs. Before the first and the last, none are due."""
    steps, known = 0, Cluster.merge

    def merge(cluster: Cluster, *of: Any, **how: Any) -> Any:
        nonlocal steps
        steps += 1
        if steps > last:
            raise ApiError("killed")
        return known(cluster, *of, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Cluster, "merge", merge)
        killed = guild.rotated()
    if not killed.failed:
        assert (len(guild.servers), last > 5) == (1, True), "all steps were taken"
        return
    kept = kubectl(guild.hub, "get", "secret", ca_rotation.ROTATION, "-n", NAMESPACE, "-o", "json")
    again = guild.rotated(rotate_older_than="30d")
    assert not again.failed, again.msg
    assert again.changed == (kept.returncode == 0)
    if again.changed:
        wanted = json.loads(kept.stdout)["data"]["server-ca.crt"]
        assert guild.tls("server-ca.crt") == base64.b64decode(wanted).decode()
    assert ca_rotation.ROTATION not in guild.objects()
    assert ca_rotation.ROTATING not in guild.objects()
    assert not guild.rotated(rotate_older_than="30d").changed
