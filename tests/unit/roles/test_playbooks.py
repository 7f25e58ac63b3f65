"""What the playbooks make of an inventory before any cluster is asked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.tenantry.kube.plugins.filter import usage_table

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path for top in ("playbooks", "roles") for path in (ROOT / top).rglob("*.yml"))
MISSING = "kubeconfig: cannot read {}: No such file or directory"


def tasks(content: Any) -> Iterator[dict[str, Any]]:
    """All tasks of a file, however deep: of plays, of blocks, of task files."""
    for entry in content if isinstance(content, list) else ():
        if isinstance(entry, dict):
            yield entry
            for inner in entry.values():
                yield from tasks(inner)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_delegated_to_the_controller_runs_as_its_user(path: Path) -> None:
    """ansible_become of an inventory beats the keyword become; a variable of the task beats both."""
    delegated = [task for task in tasks(yaml.safe_load(path.read_text())) if "delegate_to" in task]
    become = {task["name"]: (task.get("vars") or {}).get("ansible_become") for task in delegated}
    assert [name for name, value in become.items() if value is not False] == []


def test_tables_have_a_line_for_each_row_by_default(tmp_path: Path) -> None:
    """As Ansible shows results where nobody set callback_result_format."""
    shown = [
        task["ansible.builtin.debug"]["msg"]
        for path in FILES
        for task in tasks(yaml.safe_load(path.read_text()))
        if "_table" in str(task.get("ansible.builtin.debug"))
    ]
    assert len(shown) == 3
    event = dict.fromkeys(("time", "requested_by", "action", "kind", "name", "cluster", "tool"), "x") | {"count": 1}
    usage = dict.fromkeys(("quota", "allocated", "available", "used"), dict.fromkeys(usage_table.COUNTED, "1"))
    variables = {
        "audit_found": {"events": [event, event]},
        "summary_found": {"vclusters": [{"tenant": "a", "name": name} for name in "bc"]},
        "usage_report__found": {"tenants": [{"name": "a", **usage}]},
    }
    debug = [{"ansible.builtin.debug": {"msg": message}} for message in shown]
    play = {"hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": debug}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    output = played(tmp_path, str(tmp_path / "play"), ANSIBLE_CALLBACK_RESULT_FORMAT="json").stdout
    lines = re.findall(r'^ +"(\w+).*",?$', output, re.MULTILINE)
    assert sorted(lines) == sorted(["TIME", "x", "x", "VIRTUAL", "a", "a", "TENANT", *"a" * len(usage_table.COUNTED)])


def test_notices_come_after_the_sample() -> None:
    """A mistake in their options ends the run, and what they ask may be slow."""
    report = yaml.safe_load((ROOT / "roles/usage_report/tasks/main.yml").read_text())
    modules = [module for task in report for module in task if module.startswith("tenantry.kube.")]
    assert modules[-2:] == ["tenantry.kube.usage_report", "tenantry.kube.notices"]


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    """A hub that is an existing cluster whose kubeconfig is mistyped, and a sudo that nobody may use."""
    variables = {
        "tenantry_kubeconfig": str(tmp_path / "mistyped.yaml"),
        "tenantry_output_dir": str(tmp_path / "out"),
        "platform_kubeconfig": str(tmp_path / "mistyped.yaml"),
        "ansible_become": True,
        "ansible_become_exe": "/nonexistent/sudo",
        "tenantry_tenants": [{"name": "payments", "quota": {"cpu": 1}, "users": None, "vclusters": None}],
    }
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars/all.yml").write_text(yaml.safe_dump(variables))
    (tmp_path / "hosts.yml").write_text(
        yaml.safe_dump({"fleet_hub": {"hosts": {"hub": {"ansible_connection": "local"}}}})
    )
    return tmp_path


def ran(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command with the configuration of the checkout."""
    environment = os.environ | {"ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "PYTHONPATH": str(ROOT / "build")}
    return subprocess.run(command, cwd=ROOT, env=environment | variables, capture_output=True, text=True, check=False)


def played(inventory: Path, playbook: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [
        Path(sys.executable).with_name("ansible-playbook"),
        "-i",
        inventory,
        f"{ROOT / 'playbooks' / playbook}.yml",
    ]
    return ran(*command, *arguments, **variables)


@pytest.mark.parametrize("playbook", ["site", "onboard", "report"])
def test_a_check_with_a_mistyped_kubeconfig_fails(inventory: Path, playbook: str) -> None:
    run = played(inventory, playbook, "--check")
    text = " ".join(run.stdout.split())
    assert run.returncode != 0, run.stdout
    assert MISSING.format(inventory / "mistyped.yaml") in text
    assert "sudo" not in text


def test_an_inventory_without_tenants_has_nothing_to_do(inventory: Path) -> None:
    empty = {"tenantry_tenants": None, "tenantry_user_defaults": None, "tenantry_vcluster_defaults": None}
    (inventory / "group_vars/all.yml").write_text(
        yaml.safe_dump(yaml.safe_load((inventory / "group_vars/all.yml").read_text()) | empty)
    )
    run = played(inventory, "onboard")
    # Only the summary, which asks the hub what there is, needs it.
    assert "Validation of arguments failed" not in run.stdout
    assert MISSING.format(inventory / "mistyped.yaml") in " ".join(run.stdout.split())


NO_HUB = {"K8S_AUTH_HOST": "http://awx.example.com", "K8S_AUTH_API_KEY": "token"}
NO_HUB_SAYS = 'server "http://awx.example.com" is not an https:// address'
SIZES = {"small": {"resources": {"cpu": 1, "memory": "2Gi", "pods": 10}, "ttl": "7d"}}
DEV = {"tenant": "payments", "vcluster": "dev"}


def extra(answers: dict[str, Any]) -> dict[str, Any]:
    return {f"tenantry_{name}": answer for name, answer in answers.items()}


def survey(inventory: Path, playbook: str, **answers: Any) -> str:
    """What a playbook says that is run as AWX does: with answers, and a credential in variables, whose hub is none."""
    path = inventory / "group_vars/all.yml"
    variables = yaml.safe_load(path.read_text())
    variables.pop("tenantry_kubeconfig", None)
    path.write_text(yaml.safe_dump({**variables, "tenantry_sizes": SIZES}))
    done = played(inventory, playbook, "-e", json.dumps(extra(answers)), **NO_HUB)
    assert done.returncode != 0, done.stdout
    return " ".join(done.stdout.split())


def options(inventory: Path, *surveys: dict[str, Any]) -> list[dict[str, Any]]:
    """The options of a virtual cluster by the answers of each survey."""
    names = ("inventory", "single_vcluster")
    files = [str(ROOT / f"playbooks/vars/{name}.yml") for name in names]
    message = {"ansible.builtin.debug": {"msg": "{{ single_item }}"}}
    play = {"hosts": "fleet_hub", "gather_facts": False, "vars_files": files, "vars": {"tenantry_sizes": SIZES}}
    tasks = [{**message, "vars": extra({**DEV, **answers})} for answers in surveys]
    (inventory / "play.yml").write_text(yaml.safe_dump([{**play, "tasks": tasks}]))
    output = played(inventory, str(inventory / "play"), ANSIBLE_CALLBACK_RESULT_FORMAT="json").stdout
    return [json.loads(found) for found in re.findall(r'"msg": (\{.*?\n    \})\n\}', output, re.DOTALL)]


@pytest.mark.parametrize("playbook", ["onboard", "report", "housekeeping"])
def test_without_a_kubeconfig_that_of_the_environment_is_used(inventory: Path, playbook: str) -> None:
    assert f"K8S_AUTH_HOST: {NO_HUB_SAYS}" in survey(inventory, playbook)


ANSWERS = ("size", "cpu", "memory", "storage", "pods", "host", "mode", "tier", "version", "servers", "agents", "ttl",
           "sleep", "vcluster_options")  # fmt: skip


def test_options_of_a_virtual_cluster_by_a_survey(inventory: Path) -> None:
    """JOB-2: all answers are text. A single one goes over the options, and they over the size."""
    text = '{"resources": {"pods": 20, "cpu": 9}, "mode": "dedicated"}'
    given = {"size": "small", "cpu": "2", "vcluster_options": text, "agents": "2", "sleep": "sat,sun", "host": "edge"}
    sleeps = ({"sleep": "sat,sun\nmon-fri 20:00-06:00\n"}, {"sleep": ["sat,sun", "", "mon-fri 20:00-06:00"]})
    blank, none, zero, sized, *slept = options(inventory, dict.fromkeys(ANSWERS, ""), {}, {"agents": 0}, given, *sleeps)
    assert blank == none == {"name": "dev"}
    assert {name: str(value) for name, value in zero.items()} == {"name": "dev", "agents": "0"}  # text before 2.19
    assert sized == {
        **none,
        "resources": {"cpu": "2", "memory": "2Gi", "pods": 20},
        "mode": "dedicated",
        "agents": "2",
        "host": "edge",
        "ttl": "7d",
        "sleep": {"schedule": ["sat,sun"]},
    }
    assert slept == [{**none, "sleep": {"schedule": ["sat,sun", "mon-fri 20:00-06:00"]}}] * 2


@pytest.mark.parametrize(
    ("playbook", "answers", "message"),
    [
        ("create_vcluster", {"vcluster": ""}, "tenantry_tenant, tenantry_vcluster: both are needed"),
        ("create_vcluster", {"size": "huge"}, "tenantry_size huge: no dictionary in tenantry_sizes (small)"),
        (
            "create_vcluster",
            {"vcluster_options": "small"},
            "tenantry_vcluster_options small: not a dictionary",
        ),
        ("create_vcluster", {"vcluster_options": '{"state": "absent"}'}, "not a dictionary of options without state"),
        ("create_vcluster", {"tenant": "paymnts"}, "tenantry_tenant paymnts: not one of the inventory"),
        ("upgrade", {"tenant": "", "version": "v1.37.2+k3s1"}, "one of them with its tenant"),
        ("delete_vcluster", {"confirm": "payments"}, "tenantry_confirm payments: does not repeat the name dev"),
        ("pause_vcluster", {"state": "absent"}, "tenantry_state absent: is neither paused nor resumed"),
        ("pause_vcluster", {"vcluster": ""}, "tenantry_tenant, tenantry_vcluster: both are needed"),
        ("offboard", {"confirm": ""}, "tenantry_confirm : does not repeat the name payments"),
        ("offboard", {"tenant": ""}, "tenantry_tenant: not given"),
    ],
)
def test_answers_that_are_refused(inventory: Path, playbook: str, answers: dict[str, str], message: str) -> None:
    output = survey(inventory, playbook, **{**DEV, **answers})
    assert message in output
    assert NO_HUB_SAYS not in output


@pytest.mark.parametrize(
    ("playbook", "answers"),
    [("self_service", {"tenant": "", "watch": ""}),
     ("pause_vcluster", {**DEV, "state": ""}), ("pause_vcluster", {**DEV, "state": "resumed"}),
     ("delete_vcluster", {**DEV, "confirm": "dev"}), ("offboard", {**DEV, "confirm": "payments"})],
)  # fmt: skip
def test_answers_with_which_the_hub_is_asked(inventory: Path, playbook: str, answers: dict[str, str]) -> None:
    assert NO_HUB_SAYS in survey(inventory, playbook, **answers)


@pytest.mark.parametrize(
    ("directory", "kept"), [("", False), ("/runner/project/snapshots", False), ("/srv/snapshots", True)]
)
def test_a_backup_outlives_the_job_of_awx(inventory: Path, directory: str, kept: bool) -> None:
    answers = {"tenantry_snapshot_passphrase": "long-enough-for-that", "tenantry_snapshot_dir": directory}
    run = played(inventory, "backup", "-e", json.dumps(answers), AWX_PRIVATE_DATA_DIR="/tmp/awx_1")
    assert ("is deleted with the job of AWX" in " ".join(run.stdout.split())) != kept
    assert (MISSING.format(inventory / "mistyped.yaml") in " ".join(run.stdout.split())) == kept


def test_the_project_for_awx_has_every_playbook() -> None:
    """AWX starts only playbooks that are files of a project."""
    names = sorted(path.stem for path in (ROOT / "playbooks").glob("*.yml"))
    wrappers = sorted((ROOT / "awx/project").glob("*.yml"))
    assert [path.stem for path in wrappers] == names
    for path in wrappers:
        [play] = yaml.safe_load(path.read_text())
        assert play["ansible.builtin.import_playbook"] == f"tenantry.kube.{path.stem}"
    checked = ran(Path(sys.executable).with_name("ansible-playbook"), "--syntax-check", *wrappers)
    assert checked.returncode == 0, checked.stderr


PARTS = {
    "vclusters": {"Create, change or delete the virtual clusters and wait for them"},
    "users": {"Create, change or delete the users with their kubeconfigs"},
}
EVERY_PART = {*PARTS["vclusters"], *PARTS["users"], "Create or change the tenants with their quotas",
              "Install the platform on the hub"}  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_a_tag_runs_its_part_of_the_site(inventory: Path, part: str) -> None:
    path = inventory / "group_vars/all.yml"
    tenant = {"name": "payments", "quota": {"cpu": 1}, "users": [{"name": "alice"}], "vclusters": [{"name": "dev"}]}
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "tenantry_tenants": [tenant]}))
    run = played(inventory, "site", "--tags", part, "--check")
    tasks = set(re.findall(r"^TASK \[(?:tenantry\.kube\.\w+ : )?([^\]:]+)", run.stdout, re.MULTILINE))
    assert tasks & EVERY_PART == PARTS[part]
    assert "Gather the virtual clusters" in tasks
