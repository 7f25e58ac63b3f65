"""SEC: no secret is anywhere but where it belongs.

Canaries are planted in all secrets that the collection is given, and those that it makes are read back afterwards. What
Ansible prints at its most talkative, keeps and runs is searched for them, and so is what the clusters hold.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..harness import DEMO, ROOT, ApiServer, ansible_environment, call_module, kubectl, lab, ran
from ..people import tenant_with, tokens
from .leaks import Canaries, objects, values_of, watching
from .plays import canary, talkative

SPACE = "payments--dev"
GIVEN = ("registry", "image", "manifest", "database", "passphrase", "typo")
STORES = "bucket"  # a secret that is given by the environment, where its owner and nobody else can read it
MADE = [
    (SPACE, "join-token", "server-token"),
    (SPACE, "join-token", "agent-token"),
    (SPACE, "join-token", "node-password"),
    (SPACE, "join-token", "syncer-token"),
    (SPACE, "platform-credential", "token"),
]
FAILED = "failed=1"
DATABASE = "postgres://who:{{ vault_database }}@192.0.2.1:5432/stage"


@dataclass
class Run:
    """What an ansible-playbook of its own said, and left behind."""

    output: str = ""
    seen: dict[str, set[str]] = field(default_factory=dict)
    looks: int = 0


@dataclass
class Controller:
    """A home on this machine in which Ansible keeps all that it keeps."""

    folder: Path
    canaries: Canaries
    secret: str  # of the object store

    def play(self, tasks: list[dict[str, Any]], *, invocations: bool = True) -> Run:
        """A playbook of these tasks, with everything switched on that writes things down."""
        playbook = self.folder / "play.yml"
        # The environment is a fact too, which the collection's own playbooks do not gather on the controller.
        facts = {"gather_facts": True, "gather_subset": ["!all", "!min", "platform"]}
        play = {"hosts": "localhost", **facts, "vars_files": ["vault.yml"], "tasks": tasks}
        playbook.write_text(yaml.safe_dump([play]))
        program = Path(sys.executable).with_name("ansible-playbook")
        words = [program, "-vvvv", "--diff", "--vault-password-file", self.folder / "password", playbook]
        for name in ("tmp", "remote"):
            (self.folder / name).mkdir(exist_ok=True)
        environment = self.environment() | {"ANSIBLE_INJECT_INVOCATION": str(invocations)}
        with watching(self.canaries, self.folder) as watcher:
            run = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, env=environment, check=False)
        seen = {"arguments": watcher.arguments, "environments": watcher.environments - {STORES}}
        return Run(run.stdout + run.stderr, {**seen, "files": set(watcher.open_files)}, watcher.looks)

    def environment(self) -> dict[str, str]:
        return talkative(self.folder) | {
            "ANSIBLE_REMOTE_TMP": f"{self.folder}/remote",
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }


@pytest.fixture(scope="module")
def hub_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An API server that keeps its data as the role `platform` has a hub keep it."""
    lab("build")
    server = ApiServer(tmp_path_factory.mktemp("encrypted"), ["--secrets-encryption"])
    try:
        yield server.start()
    finally:
        server.kill()


@pytest.fixture(scope="module")
def controller(hub_server: Path, second_api_server: Path, tmp_path_factory: pytest.TempPathFactory) -> Controller:
    folder = tmp_path_factory.mktemp("controller")
    given = {name: canary() for name in GIVEN}
    password = canary()
    (folder / "password").touch(mode=0o600)
    (folder / "password").write_text(password)
    # Not by ansible's own code: once that is here, modules called in this process warn on the terminal.
    words = ["encrypt", "--vault-password-file", folder / "password", "--output", folder / "vault.yml", "-"]
    content = yaml.safe_dump({f"vault_{k}": v for k, v in given.items()})
    program = Path(sys.executable).with_name("ansible-vault")
    subprocess.run(
        [program, *words], input=content, text=True, env=ansible_environment(), check=True, capture_output=True
    )
    administrators = {
        f"administrator of {path.parent.name}": yaml.safe_load(path.read_text())["users"][0]["user"]["client-key-data"]
        for path in (hub_server, second_api_server)
    }
    secret = canary()
    return Controller(folder, Canaries({**given, **administrators, STORES: secret}), secret)


def task(module: str, **options: Any) -> dict[str, Any]:
    extra = {key: options.pop(key) for key in ("ignore_errors", "register") if key in options}
    return {"name": module, f"tenantry.kube.{module}": options, **extra}


def vcluster(hub: Path, **options: Any) -> dict[str, Any]:
    """With all the secrets that one can be given."""
    registry = {"auth": {"username": "who", "password": "{{ vault_registry }}"}}
    return task(
        "vcluster",
        **{
            "kubeconfig": str(hub),
            "tenant": "payments",
            "name": "dev",
            "version": "v1.37.2+k3s1",
            "resources": {"cpu": "2", "memory": "2Gi", "pods": 8},
            "registries": {"configs": {"registry.example.com": registry}},
            "image_credentials": [
                {"registry": "registry.example.com", "username": "who", "password": "{{ vault_image }}"}
            ],
            "manifests": [
                {
                    "apiVersion": "v1",
                    "kind": "Secret",
                    "metadata": {"name": "given", "namespace": "default"},
                    "stringData": {"password": "{{ vault_manifest }}"},
                }
            ],
            "wait": False,
            **options,
        },
    )


def snapshot(hub: Path, **options: Any) -> dict[str, Any]:
    given = {"tenant": "payments", "name": "dev", "passphrase": "{{ vault_passphrase }}"}
    return task("vcluster_snapshot", kubeconfig=str(hub), **given, **options)


@pytest.fixture(scope="module")
def made(hub_server: Path, second_api_server: Path, controller: Controller) -> Iterator[Run]:
    """A hub, a member, a tenant and a virtual cluster, made by tasks that all succeed."""
    hub, member = str(hub_server), str(second_api_server)
    yield controller.play(
        [
            task("platform", kubeconfig=hub),
            task("fleet_member", kubeconfig=hub, name="edge", member_kubeconfig=member),
            task("tenant_quota", kubeconfig=hub, tenant="payments", quota={"vclusters": 2}),
            vcluster(hub_server),
            vcluster(hub_server, tier="prod"),
            vcluster(
                hub_server, name="stage", mode="dedicated", agents=1, resources={}, datastore={"endpoint": DATABASE}
            ),
            task("vcluster_info", kubeconfig=hub, tenant="payments"),
        ]
    )
    # The hub ends with this file, the member does not.
    options = {"kubeconfig": hub_server, "name": "edge", "member_kubeconfig": second_api_server}
    left = call_module("fleet_member", **options, state="absent")
    assert not left.failed, left.msg


@pytest.fixture(scope="module")
def everything(made: Run, hub_server: Path, controller: Controller) -> Canaries:
    """The canaries, and the secrets that were made meanwhile."""
    assert FAILED not in made.output, made.output[-3000:]
    member = values_of(hub_server, [("tenantry-system", "member-edge", "kubeconfig")])
    token = json.loads(next(iter(member.values())))["users"][0]["user"]["token"]
    return controller.canaries + {**values_of(hub_server, MADE), "member's token": token}


def test_what_succeeds_tells_nothing(made: Run, everything: Canaries, controller: Controller) -> None:
    assert "tenantry.kube.vcluster" in made.output
    assert "invocation" in made.output  # as talkative as can be
    assert everything.within(made.output) == set()
    assert everything.in_files(controller.folder) == {}, "left behind"
    assert {"ansible.log", "facts", "tree", "junit"} <= {path.name for path in controller.folder.iterdir()}


def test_what_runs_shows_nothing(made: Run) -> None:
    assert made.looks > 20
    assert made.seen == {"arguments": set(), "environments": set(), "files": set()}


# What Ansible refuses before it has learnt which options are secret. It shows them only if it is told to show all.
MISTAKES = {
    "an option that there is not": lambda hub: vcluster(hub, registryes={"password": "{{ vault_typo }}"}),
    "an option of the wrong type": lambda hub: vcluster(hub, image_credentials="{{ vault_image }}"),
}
FAILURES = {
    "no server comes up": lambda hub: vcluster(hub, wait=True, wait_timeout=3),
    "a key of a credential that there is not": lambda hub: vcluster(
        hub, image_credentials=[{"registry": "x", "username": "y", "password": "{{ vault_image }}", "mail": "z"}]
    ),
    "a secret as a name": lambda hub: vcluster(hub, name="dev", image="{{ vault_image }} with blanks"),
    "a database that nobody can find": lambda hub: vcluster(
        hub, name="other", datastore={"endpoint": DATABASE.replace("192.0.2.1:5432/stage", "")}
    ),
    "a key of k3s that is the platform's": lambda hub: vcluster(
        hub, k3s_config={"datastore-endpoint": "postgres://who:{{ vault_typo }}@db/k3s"}
    ),
    "a manifest that is none": lambda hub: vcluster(hub, manifests=[{"kind": "{{ vault_manifest }}"}]),
    "no pod to take a snapshot of": lambda hub: snapshot(hub, directory="/tmp/none"),
    "a passphrase that is too short": lambda hub: {
        **snapshot(hub, directory="/tmp/none"), "vars": {"vault_passphrase": "short-canary"[:11]}
    },
    "a store that does not answer": lambda hub: snapshot(
        hub, bucket={"name": "backups", "endpoint": "http://127.0.0.1:1", "region": "r"}, state="absent", snapshot="x"
    ),
    "a hub that is not there": lambda hub: vcluster(hub.with_name("nothing.yaml")),
}  # fmt: skip


@pytest.mark.parametrize(
    ("failures", "invocations"), [(FAILURES, True), (MISTAKES, False)], ids=["failures", "mistakes"]
)
def test_what_fails_tells_nothing(
    hub_server: Path, everything: Canaries, controller: Controller, failures: dict[str, Any], invocations: bool
) -> None:
    tasks = [{**make(hub_server), "name": what, "ignore_errors": True} for what, make in failures.items()]
    run = controller.play(tasks, invocations=invocations)
    assert f"ignored={len(failures)}" in run.output, run.output[-3000:]
    assert "Traceback" not in run.output
    assert everything.within(run.output) == set(), [line for line in run.output.splitlines() if everything.within(line)]
    assert everything.in_files(controller.folder) == {}, "left behind"
    assert run.seen == {"arguments": set(), "environments": set(), "files": set()}


def test_clusters_hold_them_in_secrets_only(hub_server: Path, second_api_server: Path, everything: Canaries) -> None:
    secrets, others = objects(hub_server)
    # The positive control: the same search finds what is there, however it is wrapped.
    expected = {"registry", "image", "manifest", "database", "member's token", *("/".join(one) for one in MADE)}
    assert expected <= everything.within(secrets)
    assert everything.within(others) == set()
    assert everything.within(objects(second_api_server)[1]) == set()
    for cluster in (hub_server, second_api_server):
        assert everything.within(cluster.with_name("audit.log").read_bytes()) == set()


def test_a_datastore_holds_no_secret_in_the_clear(hub_server: Path, api_server: Path, everything: Canaries) -> None:
    mark = canary()
    for cluster in (hub_server, api_server):
        ran(cluster, "create", "configmap", "mark", f"--from-literal=mark={mark}")
        ran(cluster, "create", "secret", "generic", "mark", f"--from-literal=mark={mark[::-1]}")
    public, private = Canaries({"public": mark}), everything + {"private": mark[::-1]}
    try:
        assert public.within(datastore(hub_server)) == {"public"}
        assert private.within(datastore(hub_server)) == set()
        assert private.within(datastore(api_server)) == {"private"}  # the control: a server that does not encrypt
    finally:
        for cluster in (hub_server, api_server):
            kubectl(cluster, "delete", "configmap,secret", "mark")


def datastore(kubeconfig: Path) -> bytes:
    """What lies on the disk, the log of what is still to be written included."""
    folder = kubeconfig.parent / "data" / "server" / "db"
    return b"".join(path.read_bytes() for path in sorted(folder.glob("state.db*")))


def test_users_tokens(platform: Path, dev: Path, tmp_path: Path) -> None:
    """Of people, who are handed out theirs: they are in their file and nowhere else."""
    path = tmp_path / "bob.yaml"
    options = {"kubeconfig": platform, "tenant": "payments", "name": "bob", "_ansible_verbosity": 4, "diff": True}
    with tenant_with(platform, "payments", {"dev": dev}):
        runs = [
            call_module("tenant_user", **options, role="developer", kubeconfig_path=path),
            call_module("tenant_user", **options, role="viewer", kubeconfig_path=path),
        ]
        found = Canaries(tokens(path))
        runs += [
            call_module("tenant_user_info", kubeconfig=platform, tenant="payments"),
            call_module("tenant_user", **options, role="admin", kubeconfig_path="/proc/none/bob.yaml"),
            call_module("tenant_user", **options, state="absent"),
        ]
    assert [run.failed for run in runs] == [False, False, False, True, False], [run.msg for run in runs]
    assert found.within(path.read_bytes()) == found.names
    assert [run.text for run in runs if found.within(run.text)] == []
    for cluster in (platform, dev):
        assert [found.within(text) for text in objects(cluster)] == [set(), set()]  # no cluster keeps a token


def test_the_collection_is_built_of_what_is_in_it(tmp_path: Path) -> None:
    """What lies in a checkout beside it stays there: kubeconfigs, keys, snapshots."""
    found = Canaries({"left in the checkout": canary()})
    planted = ROOT / "build" / f"canary-{uuid.uuid4().hex}.yaml"
    planted.parent.mkdir(exist_ok=True)
    planted.write_text(next(iter(found._forms))[0].decode())
    try:
        program = Path(sys.executable).with_name("ansible-galaxy")
        words = [program, "collection", "build", ROOT, "--output-path", tmp_path]
        subprocess.run(words, check=True, capture_output=True, env=ansible_environment())
    finally:
        planted.unlink()
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as built:
        contents = {one.name: built.extractfile(one).read() for one in built if one.isfile()}
    assert "plugins/modules/vcluster.py" in contents
    assert {name for name, content in contents.items() if found.within(content)} == set()
    assert {name for name, content in contents.items() if b"PRIVATE KEY-----\nM" in content} == set()
    assert {name.split("/")[0] for name in contents} & {"build", ".git", "tests"} <= {"tests"}


# On the whole lab ---------------------------------------------------------------------------------------------------


def test_hub_and_virtual_clusters_encrypt_what_they_keep(site: object, hub: Path) -> None:
    inside = DEMO / f"vclusters/{SPACE}.yaml"
    mark = canary()
    for cluster in (hub, inside):
        ran(cluster, "create", "configmap", "mark", f"--from-literal=mark={mark}")
        ran(cluster, "create", "secret", "generic", "mark", f"--from-literal=mark={mark[::-1]}")
    script = (
        f"cd /var/lib/rancher/k3s/server/db && for m in {mark} {mark[::-1]}; do cat state.db* | grep -c -a $m; done"
    )
    try:
        kept = {
            "hub": lab("ssh", "hub", f"{script} || true"),
            SPACE: kubectl(hub, "exec", "-n", SPACE, "server-0", "-c", "k3s", "--", "/bin/sh", "-c", script).stdout,
        }
        for where, counts in kept.items():
            public, private = map(int, counts.split())
            assert (public > 0, private) == (True, 0), where
    finally:
        for cluster in (hub, inside):
            kubectl(cluster, "delete", "configmap,secret", "mark")
