"""A client certificate that an administrator had signed ends with the removal, if that is asked for (GONE-2).

The virtual cluster's server is a process that starts as in its pod. The test restarts it, as its StatefulSet would.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import kubeconfig as kubeconfig_files
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster import client_ca_renewal, trusted_keys
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import client_ca, common
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as server_manifests

from .harness import K3S, ApiServer, ModuleResult, call_module, kubectl, ran, until
from .people import is_known, is_refused, labels_of, signed_inside, tenant_with

TENANT, NAMESPACE = "guild", "guild--dev"
SIGNED = [
    pytest.param({"name": "eve"}, id="client"),
    pytest.param(
        {"name": "system:node:eve", "groups": ["system:nodes"], "signer": "kube-apiserver-client-kubelet"}, id="kubelet"
    ),
]


@dataclass
class Guild:
    hub: Path
    server: ApiServer
    ca: Path  # the directory that the Secret would be mounted at

    def mount(self, files: dict[str, str]) -> None:
        for name, pem in files.items():
            (self.ca / name).write_text(pem)

    def restart(self, *_of: Any) -> None:
        """What the StatefulSet controller and a kubelet would do."""
        found = json.loads(ran(self.hub, "get", "secret", "client-ca", "-n", NAMESPACE, "-o", "json"))
        self.server.kill()
        self.mount({name: base64.b64decode(data).decode() for name, data in found["data"].items()})
        self.server.start(deadline_seconds=120)

    def user(self, name: str, **options: Any) -> ModuleResult:
        return call_module("tenant_user", kubeconfig=self.hub, tenant=TENANT, name=name, **options)


def _server(directory: Path) -> ApiServer:
    ca, file = directory / "ca", directory / "client-cas.crt"
    script = server_manifests.START.replace(common.DATA_DIRECTORY, str(directory / "data"))
    script = script.replace(client_ca.DIRECTORY, str(ca)).replace(server_manifests.CLIENT_CAS, str(file))
    script = script.replace(f"exec {common.K3S} server", f'exec {K3S} server "$@"')
    signing = [server_manifests.SIGNING, *(one.replace(client_ca.DIRECTORY, str(ca)) for one in client_ca.ARGUMENTS)]
    manager = [word for one in signing for word in ("--kube-controller-manager-arg", one)]
    arguments = [*manager, "--kube-apiserver-arg", f"client-ca-file={file}"]
    return ApiServer(directory, arguments, ("/bin/sh", "-c", script, "k3s"))


@pytest.fixture(scope="module")
def guild(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guild]:
    directory = tmp_path_factory.mktemp("guild")
    found = Guild(platform, _server(directory), directory / "ca")
    found.ca.mkdir()
    files = client_ca.make(NAMESPACE)
    found.mount(files)
    inside = found.server.start(deadline_seconds=120)
    try:
        with tenant_with(platform, TENANT, {"dev": inside}), pytest.MonkeyPatch.context() as patch:
            patch.setattr(client_ca_renewal, "wait_until_ready", found.restart)
            meta = {"namespace": NAMESPACE, "labels": labels_of(TENANT, "dev")}
            secret = common.secret({**meta, "name": "client-ca"}, files)
            template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "k3s", "image": "k3s"}]}}
            spec = {"serviceName": "server", "selector": {"matchLabels": {"a": "b"}}, "template": template}
            server = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {**meta, "name": "server"}}
            for obj in (secret, {**server, "spec": spec}):
                ran(platform, "create", "-f", "-", stdin=json.dumps(obj))
            yield found
    finally:
        found.server.kill()


@pytest.fixture
def bob(guild: Guild, tmp_path: Path) -> Iterator[Path]:
    """The kubeconfig of an administrator inside."""
    path = tmp_path / "bob.yaml"
    assert not guild.user("bob", role="admin", kubeconfig_path=path).failed
    yield path
    assert not guild.user("bob", state="absent").failed
    ran(guild.server.kubeconfig, "delete", "csr", "--all")


def _signed(guild: Guild, bob: Path, directory: Path, **asked: Any) -> Path:
    config = kubeconfig_files.load(str(guild.server.kubeconfig))
    config["users"][0]["user"] = signed_inside(bob, **asked)
    path = directory / "eve.yaml"
    path.write_text(json.dumps(config))
    return path


def _status(kubeconfig: Path) -> int:
    asked = kubectl(kubeconfig, "auth", "whoami")
    assert asked.returncode == 0 or "Unauthorized" in asked.stderr, asked.stderr
    return 200 if asked.returncode == 0 else 401


def _cas(guild: Guild) -> str:
    data = "jsonpath={.data.client-ca-file}"
    published = ("configmap", "extension-apiserver-authentication", "-n", "kube-system", "-o", data)
    return kubectl(guild.server.kubeconfig, "get", *published).stdout


def _csrs(result: ModuleResult) -> list[dict[str, Any]]:
    remains = result.data["results"][0]["remains"]
    return [one for one in remains if one["kind"] == "CertificateSigningRequest"]


@pytest.mark.parametrize("asked", SIGNED)
def test_revoke_at_removal_ends_certificates(guild: Guild, bob: Path, tmp_path: Path, asked: dict[str, Any]) -> None:
    ann = tmp_path / "ann.yaml"
    assert not guild.user("ann", role="admin", kubeconfig_path=ann).failed
    eve = _signed(guild, bob, tmp_path, **asked)
    assert _status(eve) == 200
    before = (guild.ca / "ca.crt").read_text()
    assert before.strip() in _cas(guild)
    foreseen = guild.user("bob", state="absent", revoke_certificates=True, check=True, diff=True)
    assert _status(eve) == 200

    removed = guild.user("bob", state="absent", revoke_certificates=True, diff=True)
    assert not removed.failed, removed.msg
    assert removed.data["actions"] == foreseen.data["actions"]
    changed = [(one["action"], one["kind"], one["name"]) for one in removed.data["actions"]]
    assert ("update", "Secret", "client-ca") in changed
    assert ("update", "StatefulSet", "server") in changed
    assert "BEGIN PRIVATE KEY" not in removed.text
    assert _csrs(removed) == _csrs(foreseen) == []
    assert _status(eve) == 401
    assert is_known(ann, NAMESPACE)
    assert (guild.ca / "ca.crt").read_text() != before
    until(lambda: (guild.ca / "ca.crt").read_text().strip() in _cas(guild))
    assert before.strip() not in _cas(guild)
    assert not guild.user("bob", state="absent", revoke_certificates=True).changed
    assert not guild.user("ann", role="admin", kubeconfig_path=ann).changed


def test_removal_alone_ends_none_and_revoke_later_does(guild: Guild, bob: Path, tmp_path: Path) -> None:
    eve = _signed(guild, bob, tmp_path, name="eve")
    removed = guild.user("bob", state="absent")
    assert not removed.failed, removed.msg
    assert [one for one in _csrs(removed) if "revoke_certificates: true" in one["end"]]
    guild.restart()
    assert _status(eve) == 200
    later = guild.user("bob", state="absent", revoke_certificates=True)
    assert later.changed, later.msg
    assert _status(eve) == 401
    info = call_module("tenant_user_info", kubeconfig=guild.hub, tenant=TENANT)
    assert "CertificateSigningRequest" not in [one["kind"] for one in info.data["findings"]]
    assert not guild.user("bob", state="absent", revoke_certificates=True).changed


def test_revoke_for_no_administrator_restarts_nothing(guild: Guild, tmp_path: Path) -> None:
    assert not guild.user("dan", role="viewer").failed
    removed = guild.user("dan", state="absent", revoke_certificates=True)
    assert removed.changed
    assert "StatefulSet" not in [one["kind"] for one in removed.data["actions"]]


def test_revoke_of_a_user_who_stays_is_refused(guild: Guild) -> None:
    refused = guild.user("bob", role="admin", revoke_certificates=True)
    assert refused.failed
    assert "revoke_certificates: requires state: absent" in refused.msg


def test_revoke_without_a_ca_removes_and_says_why(guild: Guild, bob: Path) -> None:
    kept = ran(guild.hub, "get", "secret", "client-ca", "-n", NAMESPACE, "-o", "json")
    ran(guild.hub, "delete", "secret", "client-ca", "-n", NAMESPACE)
    try:
        removed = guild.user("bob", state="absent", revoke_certificates=True)
    finally:
        whole = json.loads(kept)
        meta = {key: whole["metadata"][key] for key in ("name", "namespace", "labels")}
        ran(guild.hub, "create", "-f", "-", stdin=json.dumps({**whole, "metadata": meta}))
    assert removed.failed
    assert "revoke_certificates: it has no CA of its own" in removed.msg
    assert is_refused(bob, NAMESPACE)


def test_a_ca_that_the_server_did_not_trust_before_is_a_finding(guild: Guild) -> None:
    """Whoever has a certificate of the group k3s:server can have k3s take other CAs and keys."""

    def found() -> list[tuple[str, str]]:
        info = call_module("tenant_user_info", kubeconfig=guild.hub, tenant=TENANT)
        assert not info.failed, info.msg
        return [(one["kind"], one["why"]) for one in info.data["findings"]]

    clusters = {
        name: Cluster.from_kubeconfig(kubeconfig_files.load(str(path)), name=name) for name, path in _both(guild)
    }
    until(lambda: trusted_keys.is_whole(trusted_keys.now(clusters["inside"], (guild.ca / "ca.crt").read_text())))
    trusted_keys.keep(clusters["hub"], clusters["inside"], NAMESPACE)
    assert trusted_keys.noted(clusters["hub"].get("v1/Secret", "client-ca", NAMESPACE))
    assert found() == []
    more = _cas(guild) + client_ca.make("eve")["ca.crt"]
    published = ("configmap", "extension-apiserver-authentication", "-n", "kube-system")
    ran(guild.server.kubeconfig, "patch", *published, "-p", json.dumps({"data": {"client-ca-file": more}}))
    ((kind, why),) = found()
    assert kind == "ConfigMap"
    assert "accepts client certificates of a CA that it did not accept before" in why
    ran(guild.server.kubeconfig, "delete", *published)
    until(lambda: _cas(guild))
    until(lambda: not found())
    for cluster in clusters.values():
        cluster.close()


def _both(guild: Guild) -> list[tuple[str, Path]]:
    return [("hub", guild.hub), ("inside", guild.server.kubeconfig)]


def test_a_new_server_that_accepts_none_starts_at_the_first_attempt(tmp_path: Path) -> None:
    """There is no CA to trust before k3s has made its own, a moment before its API server wants one."""
    server = _server(tmp_path)
    (tmp_path / "ca").mkdir()
    for name, text in client_ca.kept_or_new({}, NAMESPACE, accepted=False).items():
        (tmp_path / "ca" / name).write_text(text)
    try:
        server.start(deadline_seconds=120)
        trusted = (tmp_path / "client-cas.crt").read_text().strip()
        assert trusted == (tmp_path / "data/server/tls/client-ca.crt").read_text().strip()
    finally:
        server.kill()
