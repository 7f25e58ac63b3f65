"""SEC over whole playbooks: what an administrator runs tells no secret, on this machine and on those it works on.

Canaries are planted in every variable that may hold a secret; what the playbooks make themselves is read back
afterwards. Every playbook is run at its most talkative on the lab's machines, and several fail half-way.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..databases import Postgres
from ..harness import DEMO, ROOT, ansible_environment, ansible_playbook, ran
from ..tenantry_lab.config import Lab
from ..test_vcluster import version
from ..test_vcluster_upgrade import next_label
from .leaks import Canaries, objects, values_of
from .plays import MACHINES, Controller, canary, on

pytestmark = pytest.mark.nightly

TENANT = "vault"
SPACES = ("vault--nodes", "vault--stored", "vault--asked")
GIVEN = (
    *("host_registry", "host_environment", "host_token", "registry", "image", "manifest", "passphrase", "asked"),
    *("later", "mistake", "bucket", "vault_password", "sealing"),
)
KEYS = ("server-token", "agent-token", "node-password")
OPEN = "open"  # a file that holds what is public
RESOURCES = {"cpu": 2, "memory": "2Gi", "pods": 8}


def variables(database: Postgres, release: str) -> dict[str, Any]:
    """Of the inventory, with a secret wherever there is room for one."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "given", "namespace": "default"},
        "stringData": {"password": "{{ vault_manifest }}"},
    }
    endpoint = f"postgres://{{{{ vault_database }}}}@{database.endpoint.rpartition('@')[2]}"
    nodes = {"name": "nodes", "mode": "dedicated", "agents": 1, "agent": {"cpu": "250m", "memory": "1Gi"}}
    nodes |= {"registries": _mirrors("vault_registry"), "manifests": [secret]}
    stored = {"name": "stored", "resources": RESOURCES, "datastore": {"endpoint": endpoint}}
    stored |= {"image_credentials": [_credential("vault_image")]}
    laptop = {"name": "laptop", "path": "{{ tenantry_output_dir }}/sealed.yaml"}
    laptop |= {"vault_password_file": "{{ given }}/sealing"}
    return {
        "platform_registries": _mirrors("vault_host_registry"),
        "platform_environment": {"GIVEN": "{{ vault_host_environment }}"},
        "platform_config": {"agent-token": "{{ vault_host_token }}"},
        "tenantry_vcluster_defaults": {
            "version": release,
            "server": {"cpu": "500m"},
            "expose": {"type": "NodePort"},
            "registries": "{{ demo_registries }}",
            "oidc": {"issuer_url": "https://login.example.com", "client_id": "kubernetes"},
        },
        "tenantry_self_service_defaults": {"image_credentials": [_credential("vault_asked")]},
        "tenantry_snapshot_passphrase": "{{ vault_passphrase }}",
        "tenantry_tenants": [
            {
                "name": TENANT,
                "display_name": "{{ marker }}",
                "quota": {"cpu": 12, "memory": "16Gi", "storage": "60Gi", "pods": 100, "vclusters": 5},
                "users": [
                    {"name": "alice", "role": "admin", "hub_access": True},
                    {"name": "bob", "role": "developer", "kubeconfigs": [laptop]},
                    {"name": "erin", "role": "viewer", "oidc": {"username": "erin@example.com"}},
                ],
                "vclusters": [nodes, stored],
            }
        ],
    }


def _mirrors(variable: str) -> dict[str, Any]:
    """With the password in an address: the lab's k3s knows no other place for one in this file."""
    mine = {"registry.example.com": {"endpoint": [f"http://who:{{{{ {variable} }}}}@registry.example.com"]}}
    return {"mirrors": {"docker.io": {"endpoint": ["{{ demo_mirror }}"]}, **mine}}


def _credential(variable: str) -> dict[str, str]:
    return {"registry": "registry.example.com", "username": "who", "password": f"{{{{ {variable} }}}}"}


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with Postgres(str(Lab.from_environment(os.environ).host_address)).running() as running:
        yield running


@pytest.fixture(scope="module")
def controller(hub: Path, database: Postgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    home, given = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("given")
    secrets = {name: canary() for name in GIVEN} | {"database": database.password}
    for folder in ("tmp", "output"):
        (home / folder).mkdir(mode=0o700)
    for name, file in (("vault_password", given / "password"), ("sealing", given / "sealing")):
        file.touch(mode=0o600)
        file.write_text(secrets[name])
    (home / "output/edge.yaml").touch(mode=0o600)
    (home / "output/edge.yaml").write_bytes((DEMO / "edge.yaml").read_bytes())
    places = {"tenantry_output_dir": f"{home}/output", "tenantry_kubeconfig": f"{home}/output/hub.yaml"}
    plain = {**variables(database, version(hub)), **places, "given": str(given)}
    (given / "plain.yml").write_text(yaml.safe_dump(plain))
    account = database.endpoint.partition("://")[2].rpartition("@")[0]
    content = {f"vault_{name}": value for name, value in secrets.items()} | {"vault_database": account}
    program = Path(sys.executable).with_name("ansible-vault")
    words = ["encrypt", "--vault-password-file", given / "password", "--output", given / "vault.yml", "-"]
    subprocess.run(
        [program, *words], input=yaml.safe_dump(content), text=True, env=ansible_environment(), check=True,
        capture_output=True,
    )  # fmt: skip
    yield Controller(home, given, secrets, canary())
    ansible_playbook("playbooks/platform.yml")  # as the demo has it
    # Unless the tests came as far as that.
    answers = ("-e", f"tenantry_tenant={TENANT}", "-e", f"tenantry_confirm={TENANT}")
    ansible_playbook("playbooks/offboard.yml", *answers, check=False)


def ask(controller: Controller) -> None:
    """What people ask for with kubectl."""
    resources = {"resources": {**RESOURCES, "storage": "6Gi"}}
    for kind, name, spec in (
        ("VirtualClusterRequest", "asked", resources),
        ("TenantUserRequest", "frank", {"role": "developer"}),
    ):
        request = {"apiVersion": "tenantry.dev/v1alpha1", "kind": kind, "metadata": {"name": name}}
        request["spec"] = {"requestedBy": "alice", **spec}
        alice = controller.output / "users/alice.yaml"
        ran(alice, "--context", f"{TENANT}--hub", "create", "-f", "-", stdin=json.dumps(request))


def run_all(controller: Controller, hub: Path) -> None:
    """Every playbook, each as it succeeds."""
    only = {"tenantry_tenant": TENANT}
    one = {**only, "tenantry_vcluster": "nodes"}
    controller.play("site", check=True)
    controller.play("site")
    ask(controller)
    controller.play("self_service", **only)
    later = {"tenantry_vcluster_options": {"image_credentials": [_credential("vault_later")]}}
    controller.play("create_vcluster", check=True, **one, **later)
    controller.play("create_vcluster", **one, **later)
    controller.play("backup", **only)
    controller.play("restore", check=True, **one)
    controller.play("restore", **one, tenantry_confirm="nodes")
    controller.play("restore_drill", **one)
    upgrade = {"tenantry_version": next_label(hub), **one}
    controller.play("upgrade", check=True, **upgrade)
    controller.play("upgrade", **upgrade)
    controller.play("housekeeping", **only)
    controller.play("audit", **only, audit_path=str(controller.output / "audit.json"))
    controller.play("report", **only, usage_report_path=str(controller.output / "usage.json"))


def failures(controller: Controller) -> dict[str, tuple[str, dict[str, Any]]]:
    """Playbooks and variables with which they fail, some before anything is done and some half-way."""
    text = "{{ vault_mistake }}"
    one = {"tenantry_tenant": TENANT, "tenantry_vcluster": "nodes"}
    confirmed = {**one, "tenantry_confirm": "nodes"}
    bucket = {"name": "backups", "endpoint": "http://127.0.0.1:1", "region": "r"}
    (tenant,) = yaml.safe_load((controller.given / "plain.yml").read_text())["tenantry_tenants"]
    nodes, stored = tenant["vclusters"]

    def tenants(**options: Any) -> dict[str, Any]:
        return {
            "tenantry_tenants": [{**tenant, "display_name": "changed", "vclusters": [nodes, {**stored, **options}]}]
        }

    return {
        "registries that are text": ("site", {"platform_registries": text}),
        "an environment that is text": ("platform", {"platform_environment": text}),
        "defaults that are text": ("onboard", {"tenantry_vcluster_defaults": text}),
        "credentials that are text": ("onboard", tenants(image_credentials=text)),
        "an option that there is not": ("onboard", tenants(registryes={"password": text})),
        "a quantity that is none": ("onboard", tenants(resources={**RESOURCES, "cpu": "ten"})),
        "a database nobody can find": ("onboard", tenants(datastore={"endpoint": f"postgres://who:{text}@"})),
        "a key that is the platform's": ("onboard", tenants(k3s_config={"token": text})),
        "a member that is refused": ("join", {"fleet_member_kubeconfig": str(refused_member(controller))}),
        "a passphrase of something else": (
            "restore",
            {**confirmed, "tenantry_snapshot_passphrase": text},
        ),
        "a store that does not answer": ("backup", {**one, "tenantry_snapshot_bucket": bucket}),
        # The last one: the hub is down then.
        "a configuration that k3s refuses": ("site", {"platform_config": {"no-such-option": text}}),
    }


# What Ansible refuses before it has learnt which options are secret. It shows them only if it is told to show all.
MISTAKES = ("registries that are text", "an environment that is text", "defaults that are text")
MISTAKES += ("credentials that are text", "an option that there is not")


def refused_member(controller: Controller) -> Path:
    """The kubeconfig of a member with a token that is none of its."""
    content = yaml.safe_load((DEMO / "edge.yaml").read_text())
    content["users"][0]["user"] = {"token": controller.secrets["mistake"]}
    path = controller.given / "refused.yaml"
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content))
    return path


def tokens_of(text: str) -> list[str]:
    """What a kubeconfig lets in with."""
    users = [entry["user"] for entry in yaml.safe_load(text)["users"]]
    return [value for user in users for key, value in user.items() if key in ("token", "client-key-data")]


def made(controller: Controller, hub: Path) -> dict[str, str]:
    """The secrets that the playbooks have made."""
    keys = [(space, "join-token", key) for space in SPACES for key in KEYS]
    found = values_of(hub, [*keys, *((space, "platform-credential", "token") for space in SPACES)])
    home = f"tenant-{TENANT}"
    shared = [("tenantry-system", "member-edge", "kubeconfig"), (home, "kubeconfig-alice", "kubeconfig")]
    shared += [(home, "initial-kubeconfig-frank", "kubeconfig"), (SPACES[-1], "join-token", "syncer-token")]
    held = values_of(hub, shared)
    found |= {name: held.pop(name) for name in list(held) if name.endswith("syncer-token")}
    found["host's token"] = on("hub", "cat /var/lib/rancher/k3s/server/token", b"").decode().strip().rpartition(":")[2]
    for path in [*controller.output.glob("*.yaml"), *controller.output.glob("*/*.yaml")]:
        held[path.stem] = path.read_text()
    program = Path(sys.executable).with_name("ansible-vault")
    words = [program, "view", "--vault-password-file", controller.given / "sealing"]
    held["sealed"] = subprocess.run(
        [*words, controller.output / "sealed.yaml"],
        text=True,
        env=ansible_environment(),
        check=True,
        capture_output=True,
    ).stdout
    for name, text in held.items():
        found |= {f"{name} {number}": value for number, value in enumerate(tokens_of(text))}
    return found


def machines(controller: Controller, canaries: Canaries) -> dict[str, tuple[set[str], set[str]]]:
    """By machine what others than their owners can read in files there, and what is in logs."""
    forms = b"\n".join(form for form, _name in canaries._forms)
    nobody = "setpriv --reuid=nobody --regid=nogroup --clear-groups"
    places = "/etc /home /opt /root /run /srv /tmp /usr/local /var"
    found = {}
    for machine in MACHINES:
        mark = f"logger {controller.public}; echo {controller.public} >/var/tmp/{OPEN}"
        on(machine, f"{mark}; umask 077; echo {controller.secrets['mistake']} >/var/tmp/closed", b"")
        readable = on(machine, f"{nobody} grep -rhoaF -D skip -f - {places}", forms)
        logs = on(machine, "grep -rhoaF -f - /var/log /var/lib/rancher/k3s/server/logs", forms)
        logs += on(machine, "bash -c 'grep -oaF -f - <(journalctl --all --output=cat)'", forms)
        on(machine, f"rm /var/tmp/{OPEN} /var/tmp/closed", b"")
        found[machine] = canaries.within(readable), canaries.within(logs)
    return found


@dataclass
class Played:
    controller: Controller
    secrets: Canaries  # given and made
    everything: Canaries  # with what is public
    machines: dict[str, tuple[set[str], set[str]]]
    objects: dict[str, set[str]]  # by cluster what is in its objects that are no Secrets


@pytest.fixture(scope="module")
def played(controller: Controller, hub: Path) -> Played:
    (controller.home / OPEN).write_text(controller.public)
    failing = failures(controller)
    run_all(controller, hub)
    secrets = Canaries({**controller.secrets, **made(controller, hub)})
    everything = secrets + {"public": controller.public}
    clusters = [hub, DEMO / "edge.yaml", *controller.output.glob("vclusters/*.yaml")]
    held = {path.stem: everything.within(objects(path)[1]) for path in clusters}
    for what, (book, given) in failing.items():
        controller.play(book, fails=what, invocations=what not in MISTAKES, **given)
    found = machines(controller, everything)
    controller.play("platform")  # as it was before the last failure
    gone = {"tenantry_tenant": TENANT, "tenantry_vcluster": "nodes"}
    controller.play("delete_vcluster", **gone, tenantry_confirm="nodes")
    controller.play("delete_vcluster", **gone, tenantry_confirm="nodes", fails="has no such virtual cluster")
    controller.play("offboard", check=True, tenantry_tenant=TENANT)
    controller.play("offboard", tenantry_tenant=TENANT, tenantry_confirm=TENANT)
    controller.play("offboard", tenantry_tenant=TENANT, tenantry_confirm=TENANT, fails=f"there is no tenant {TENANT}")
    return Played(controller, secrets, everything, found, held)


def test_every_playbook_ran(played: Played) -> None:
    runs = played.controller.runs
    assert {run.book for run in runs.values()} == {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    assert [name for name, run in runs.items() if "Traceback" in run.output] == []


def test_what_is_said_tells_nothing(played: Played) -> None:
    told = {name: played.secrets.within(run.output) for name, run in played.controller.runs.items()}
    assert {name: names for name, names in told.items() if names} == {}
    assert played.everything.within(played.controller.runs["site"].output) == {"public"}


def test_no_process_shows_anything(played: Played) -> None:
    shown = {name: played.everything.within(run.command_lines) for name, run in played.controller.runs.items()}
    assert {name: names for name, names in shown.items() if names != {"public"}} == {}


def test_no_file_is_open_to_others_for_a_moment(played: Played) -> None:
    opened = {name: run.open_files for name, run in played.controller.runs.items()}
    assert {name: files for name, files in opened.items() if set().union(*files.values()) != {"public"}} == {}


def test_what_is_left_is_in_kubeconfigs_of_their_owner(played: Played) -> None:
    home = played.controller.home
    assert {"ansible.log", "facts", "tree", "junit"} <= {path.name for path in home.iterdir()}
    left = played.secrets.in_files(home)
    assert {path for path in left if not path.startswith("output/")} == set()
    assert {path for path in left if (home / path).stat().st_mode & 0o077} == set()
    assert "output/hub.yaml" in left


def test_machines_and_their_logs_keep_it_closed(played: Played) -> None:
    assert played.machines == dict.fromkeys(MACHINES, ({"public"}, {"public"}))


def test_clusters_hold_it_in_secrets_only(played: Played) -> None:
    assert played.objects.pop("hub") == {"public"}
    assert {name: names for name, names in played.objects.items() if names} == {}
