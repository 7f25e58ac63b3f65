"""Whole playbooks, run at their most talkative on the lab's machines, and looked at from outside meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..harness import ROOT, ansible_environment
from ..tenantry_lab.config import Lab
from ..tenantry_lab.podman import podman
from .leaks import Canaries, watching

MACHINES = ("hub", "edge")


def canary() -> str:
    return f"canary{uuid.uuid4().hex}"


def talkative(home: Path) -> dict[str, str]:
    """An environment in which Ansible writes down all that it can, below one directory."""
    return ansible_environment() | {
        "HOME": f"{home}",
        "TMPDIR": f"{home}/tmp",
        "ANSIBLE_HOME": f"{home}/ansible",
        "ANSIBLE_LOCAL_TEMP": f"{home}/tmp",
        "ANSIBLE_LOG_PATH": f"{home}/ansible.log",
        "ANSIBLE_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_CACHE_PLUGIN_CONNECTION": f"{home}/facts",
        "ANSIBLE_CALLBACKS_ENABLED": "ansible.builtin.junit,ansible.builtin.tree",
        "ANSIBLE_CALLBACK_TREE_DIR": f"{home}/tree",
        "JUNIT_OUTPUT_DIR": f"{home}/junit",
        "ANSIBLE_RETRY_FILES_ENABLED": "true",
        "ANSIBLE_RETRY_FILES_SAVE_PATH": f"{home}/retry",
    }


@dataclass
class Run:
    """What an ansible-playbook said, and what was seen of it while it ran."""

    book: str
    output: str
    command_lines: bytes
    open_files: dict[str, set[str]]


@dataclass
class Controller:
    """A home on this machine, in which Ansible keeps all that it keeps; `given` beside it holds what it is given."""

    home: Path
    given: Path
    secrets: dict[str, str]
    public: str  # is no secret, and is where they must not be
    runs: dict[str, Run] = field(default_factory=dict)

    @property
    def output(self) -> Path:
        return self.home / "output"

    @property
    def canaries(self) -> Canaries:
        return Canaries({**self.secrets, "public": self.public})

    def play(
        self, book: str, *, fails: str = "", check: bool = False, invocations: bool = True, **variables: Any
    ) -> None:
        """A playbook of the collection, with everything switched on that writes things down; `fails` says why."""
        program = Path(sys.executable).with_name("ansible-playbook")
        extra = self.given / "extra.yml"
        extra.write_text(yaml.safe_dump(variables))
        files = [word for file in ("plain.yml", "vault.yml", "extra.yml") for word in ("-e", f"@{self.given / file}")]
        command = [program, "-vvv", "--diff", "-i", "inventories/demo", f"playbooks/{book}.yml", *files]
        command += ["--vault-password-file", self.given / "password", "-e", f"marker={self.public}"]
        command += ["--check"] if check else []
        environment = talkative(self.home) | {
            "ANSIBLE_INJECT_INVOCATION": str(invocations),
            "AWS_ACCESS_KEY_ID": "who",
            "AWS_SECRET_ACCESS_KEY": self.secrets["bucket"],
        }
        with watching(self.canaries, self.home, Path("/var/tmp"), *machine_folders()) as seen:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, check=False)
        output = done.stdout + done.stderr
        assert bool(done.returncode) == bool(fails), f"{fails or book}: {output[-3000:]}"
        name = fails or f"{book}{' --check' if check else ''}"
        self.runs[name] = Run(book, output, b"\n".join(seen.command_lines), seen.open_files)


def machine_folders() -> list[Path]:
    """Where Ansible puts files on the machines, seen from this one."""
    roots = []
    for name in MACHINES:
        pid = podman(Lab.from_environment(os.environ), "inspect", "--format={{.State.Pid}}", f"lab-{name}").strip()
        roots.append(Path(f"/proc/{pid}/root"))
    return [root / folder for root in roots for folder in ("var/tmp", "tmp", "home/admin")]


def on(machine: str, command: str, text: bytes) -> bytes:
    """A command of root there, which is given its input and not told it by words."""
    words = [ROOT / "tests/lab/lab", "ssh", machine, command]
    return subprocess.run(words, input=text, capture_output=True, check=False).stdout
