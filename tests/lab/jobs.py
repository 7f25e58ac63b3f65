"""Jobs as AWX runs them: ansible-runner in a new directory on a new machine, with a credential in the environment."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import yaml

from .harness import BUILD, PLATFORM_TOKEN, ROOT

IDENT = "1"
ALL = "all.yml"  # of several playbooks
PROJECT = ROOT / "awx/project"


class _Unsafe(str):
    """An answer: AWX marks whatever a user wrote, so that Ansible evaluates no template in it."""


class _Dumper(yaml.SafeDumper):
    """Writes extra variables as AWX does."""


_Dumper.add_representer(_Unsafe, lambda dumper, text: dumper.represent_scalar("!unsafe", str(text)))


@dataclass(frozen=True)
class Job:
    """What is left of a job: its directory, which AWX deletes. Everything that its user sees is in `text`."""

    directory: Path
    code: int

    @property
    def artifacts(self) -> Path:
        return self.directory / "artifacts" / IDENT

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.artifacts / "job_events").glob("*.json"))]

    @property
    def stdout(self) -> str:
        return (self.artifacts / "stdout").read_text() if self.artifacts.is_dir() else ""

    @property
    def text(self) -> str:
        return self.stdout + json.dumps(self.events)

    @property
    def changed(self) -> int:
        """Number of tasks that changed something, of all hosts."""
        return sum(self._stats("changed").values())

    @property
    def told(self) -> dict[str, Any]:
        """What the job gives to the next step of a workflow."""
        return self._stats("artifact_data")

    def _stats(self, name: str) -> dict[str, Any]:
        (found,) = (event for event in self.events if event["event"] == "playbook_on_stats")
        return found["event_data"].get(name) or {}


@dataclass
class Controller:
    """Starts jobs for one hub. `variables` are those of the inventory.

    The credential is a token, as AWX's own type has one, or a kubeconfig file if that is None.
    """

    folder: Path
    hub: Path
    variables: Mapping[str, Any]
    token: str | None = PLATFORM_TOKEN
    _numbers: Iterator[int] = field(default_factory=lambda: count(1))

    def run(self, *playbooks: str, fails: bool = False, arguments: str = "-v", **answers: Any) -> Job:
        """Run a playbook of the project, or several as one job, with these extra variables."""
        number = next(self._numbers)
        directory = self.folder / f"awx_{number}"
        playbook = self._prepare(directory, playbooks, answers)
        project = _content(directory / "project")
        command = [sys.executable, "-m", "ansible_runner", "run", directory, "-p", playbook, "--ident", IDENT, "-q"]
        done = subprocess.run(
            # A new name for the machine, as each container has.
            ["unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', f"automation-job-{number}", *command,
             f"--cmdline={arguments}"],
            env=self._environment(directory, number),
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        job = Job(directory, done.returncode)
        assert (job.code != 0) == fails, f"{playbook}: {done.stdout}{done.stderr}{job.stdout[-5000:]}"
        assert _content(directory / "project") == project, "the job wrote into its project"
        assert [path.name for path in (directory / "home").iterdir()] in ([], [".ansible"])
        return job

    @property
    def _cluster(self) -> dict[str, str]:
        return yaml.safe_load(self.hub.read_text())["clusters"][0]["cluster"]

    def _prepare(self, directory: Path, playbooks: Sequence[str], answers: Mapping[str, Any]) -> str:
        shutil.copytree(PROJECT, directory / "project")
        plays = [{"name": name, "ansible.builtin.import_playbook": name} for name in playbooks]
        (directory / "project" / ALL).write_text(yaml.safe_dump(plays))
        for name in ("inventory", "env", "home"):
            (directory / name).mkdir()
        hosts = {"fleet_hub": {"hosts": {"hub": {}}}, "all": {"vars": dict(self.variables)}}
        (directory / "inventory/hosts.json").write_text(json.dumps(hosts))
        (directory / "env/extravars").write_text(yaml.dump(_marked(answers), Dumper=_Dumper))
        (directory / "env/settings").write_text(json.dumps({"suppress_ansible_output": True}))
        (directory / "env/ca.pem").write_bytes(base64.b64decode(self._cluster["certificate-authority-data"]))
        return ALL if len(playbooks) > 1 else playbooks[0]

    def _environment(self, directory: Path, number: int) -> dict[str, str]:
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "LANG": "C.UTF-8",
            "HOME": str(directory / "home"),
            "TMPDIR": str(self.folder),
            "ANSIBLE_COLLECTIONS_PATH": str(BUILD),
            "ANSIBLE_FORCE_COLOR": "True",
            "ANSIBLE_HOST_KEY_CHECKING": "False",
            "ANSIBLE_INVENTORY_UNPARSED_FAILED": "True",
            "ANSIBLE_RETRY_FILES_ENABLED": "False",
            "AWX_PRIVATE_DATA_DIR": str(directory),
            "JOB_ID": str(number),
            **self._credential(directory),
        }

    def _credential(self, directory: Path) -> dict[str, str]:
        if self.token is None:
            return {"K8S_AUTH_KUBECONFIG": str(self.hub)}
        return {
            "K8S_AUTH_HOST": self._cluster["server"],
            "K8S_AUTH_API_KEY": self.token,
            "K8S_AUTH_VERIFY_SSL": "True",
            "K8S_AUTH_SSL_CA_CERT": str(directory / "env/ca.pem"),
        }


def _marked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _marked(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_marked(one) for one in value]
    return _Unsafe(value) if isinstance(value, str) else value


def _content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}
