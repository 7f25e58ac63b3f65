"""Applications of tests/lab/applications in a virtual cluster: real ones' manifests, with a stand-in for each image."""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from .harness import kubectl, until
from .space import WAIT, Space, volumes
from .tenantry_lab.syncer import image_name

DIRECTORY = Path(__file__).with_name("applications")
# ansible-test allows no such first line in a file.
PROGRAM = "#!/usr/bin/python3\n" + (DIRECTORY / "stand_in.py").read_text()
APPLICATIONS = sorted(path.stem for path in DIRECTORY.glob("*.yml"))
RUN = "/stand-in/run"
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "Pod")
CLUSTER_WIDE = (
    "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition", "IngressClass", "PriorityClass", "APIService",
    "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration",
)  # fmt: skip


@dataclass(frozen=True)
class Application:
    """One file: the namespace, what an administrator installs, what users add, and what the operator makes of that.

    The operator's objects are made with the token of its ServiceAccount. What comes `later`, a test makes.
    """

    space: Space
    content: dict[str, Any]
    operator: dict[str, str] = field(default_factory=dict, repr=False)  # its token

    def find(self, kind: str, name: str) -> dict:
        """An object of the file, ready to be created again by a test."""
        return copy.deepcopy(next(one for one in self.everything if (one["kind"], _name(one)) == (kind, name)))

    @cached_property
    def stages(self) -> list[list[dict]]:
        by_people = [self.content[part] for part in ("install", "resources") if part in self.content]
        return [*by_people, *self.content.get("operator", {}).get("stages", [])]

    @cached_property
    def everything(self) -> list[dict]:
        return [one for stage in self.stages for one in stage] + self.content.get("later", [])

    @property
    def refused(self) -> dict[str, str]:
        """Kind and name of what the host of a virtual cluster of mode shared refuses, and what it says."""
        return self.content.get("refused_in_shared", {}) if self.space.shared else {}

    def apply(self, objects: list[dict], *credentials: str) -> None:
        for words, some in (
            (("-n", self.space.name), [one for one in objects if "namespace" not in one["metadata"]]),
            ((), [one for one in objects if "namespace" in one["metadata"]]),
        ):
            if some:
                content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(map(prepared, some))})
                run = kubectl(self.space.kubeconfig, *words, *credentials, "apply", "-f", "-", stdin=content)
                assert run.returncode == 0, run.stderr

    def try_as_operator(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.space.try_("--token", self.operator["token"], *arguments, stdin=stdin)

    def as_operator(self, *arguments: str, stdin: str | None = None) -> str:
        done = self.try_as_operator(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def run(self, pod: str, *instructions: str, container: str | None = None) -> None:
        """The program's checks in a container that runs."""
        chosen = ("-c", container) if container else ()
        done = self.space.try_("exec", pod, *chosen, "--", RUN, *instructions)
        assert done.returncode == 0, done.stderr

    def sees(self, workload: str, selector: str, check: str, container: str | None = None) -> None:
        """Wait for changed files: kubelets look after them when something about the pod changes, or once a minute."""

        chosen = ("-c", container) if container else ()

        def look() -> bool:
            self.space("label", "pod", "-l", selector, "--overwrite", f"seen={uuid.uuid4().hex[:6]}")
            return self.space.try_("exec", workload, *chosen, "--", RUN, "--once", check).returncode == 0

        until(look)

    def wait(self, objects: list[dict]) -> None:
        for one in objects:
            if one["kind"] in WORKLOADS and f"{one['kind']}/{_name(one)}" not in self.refused:
                self._wait(one)

    def _wait(self, one: dict) -> None:
        kind, name = one["kind"], _name(one)
        if kind in ("Deployment", "StatefulSet", "DaemonSet"):
            done = self.space.try_("rollout", "status", f"{kind}/{name}", WAIT)
        else:
            ends = kind == "Job" or one["spec"].get("restartPolicy") == "Never"
            end = "condition=Complete" if kind == "Job" else "jsonpath={.status.phase}=Succeeded"
            done = self.space.try_("wait", f"--for={end if ends else 'condition=Ready'}", f"{kind}/{name}", WAIT)
        assert done.returncode == 0, f"{kind} {name}: {done.stderr}{self._why()}"

    def check_refusals(self) -> None:
        """An event on the pod reports what the host rejects, with the names of this virtual cluster."""
        for what, message in self.refused.items():
            name = what.partition("/")[2]
            pod = until(lambda name=name: next((one for one in self._pods() if one.startswith(name)), None))
            assert message in self.space.warning(pod)

    def _pods(self) -> list[str]:
        return [_name(one) for one in self.space.json("pods")["items"]]

    def _why(self) -> str:
        """What pods and events say, for the report of a failure."""
        pods = self.space.try_("get", "pods,persistentvolumeclaims,persistentvolumes", "-o", "wide").stdout
        warnings = self.space.try_("get", "events", "--field-selector", "type=Warning", "--sort-by=.lastTimestamp")
        return "\n".join((pods, *warnings.stdout.splitlines()[-25:]))


def _name(one: dict) -> str:
    return one["metadata"]["name"]


def prepared(one: dict) -> dict:
    """An object whose containers run the stand-in."""
    one = json.loads(json.dumps(one))  # with nothing of it in two places, as aliases of YAML have it
    spec = one.get("spec") or {}
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    pod = spec if one["kind"] == "Pod" else spec.get("template", {}).get("spec") if one["kind"] in WORKLOADS else None
    if pod:
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            container["image"] = image_name()
            container.setdefault("command", [RUN])
            container.setdefault("volumeMounts", []).append({"name": "stand-in", "mountPath": "/stand-in"})
        program = {"name": "stand-in", "configMap": {"name": "stand-in", "defaultMode": 0o555}}
        pod.setdefault("volumes", []).append(program)
    return one


def claims(objects: list[dict]) -> dict[str, str]:
    """Every claim that these objects bring about, and its size."""
    found = {}
    for one in objects:
        spec = one.get("spec", {})
        if one["kind"] == "PersistentVolumeClaim":
            found[_name(one)] = _size(spec)
        for template in spec.get("volumeClaimTemplates", []) if one["kind"] == "StatefulSet" else []:
            for number in range(spec["replicas"]):
                found[f"{_name(template)}-{_name(one)}-{number}"] = _size(template["spec"])
        for volume in spec.get("volumes", []) if one["kind"] == "Pod" else []:
            if "ephemeral" in volume:
                found[f"{_name(one)}-{volume['name']}"] = _size(volume["ephemeral"]["volumeClaimTemplate"]["spec"])
    return found


def _size(spec: dict) -> str:
    return spec["resources"]["requests"]["storage"]


@contextlib.contextmanager
def installed(vcluster: str, name: str) -> Iterator[Application]:
    """The application in its own namespace, all its workloads ready; gone afterwards."""
    content = _content(name)
    space = Space(vcluster, content["namespace"])
    app = Application(space, content)
    _wait_until_removed(space)
    space("create", "namespace", space.name)
    try:
        if not space.shared:
            # What is refused there by the host is refused here until an administrator allows it.
            space("label", "namespace", space.name, "pod-security.kubernetes.io/enforce=privileged")
        space("wait", "--for=create", "serviceaccount/default", WAIT)
        space("create", "configmap", "stand-in", f"--from-literal=run={PROGRAM}")
        sizes = claims(app.everything)
        with volumes(space, sizes):
            if sizes and not space.shared:
                _open_directories(space, list(sizes))
            _roll_out(app)
            yield app
    finally:
        _remove(app)


def _content(name: str) -> dict[str, Any]:
    return yaml.safe_load((DIRECTORY / f"{name}.yml").read_text())


def wait_until_removed(vcluster: str) -> None:
    """Removal of applications goes on while the next one is tried."""
    for name in APPLICATIONS:
        _wait_until_removed(Space(vcluster, _content(name)["namespace"]))


def _wait_until_removed(space: Space) -> None:
    space("wait", "--for=delete", f"namespace/{space.name}", WAIT)


def _roll_out(app: Application) -> None:
    operator = app.content.get("operator", {})
    for number, stage in enumerate(app.stages):
        credentials = []
        if operator and stage in operator["stages"]:
            if not app.operator:
                app.operator["token"] = app.space("create", "token", operator["account"]).strip()
            credentials = ["--token", app.operator["token"]]
        if number == 1 and "resources" in app.content:
            _wait_until_admitted(app, stage)
        app.apply(stage, *credentials)
        app.wait(stage)


def _wait_until_admitted(app: Application, stage: list[dict]) -> None:
    """Custom resources are taken from when their kind is served and its webhooks answer."""
    content = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(map(prepared, stage))})
    until(lambda: app.space.try_("apply", "--dry-run=server", "-f", "-", stdin=content).returncode == 0)


def _open_directories(space: Space, names: list[str]) -> None:
    """Volumes that are directories of a node belong to root, whatever the fsGroup of a pod."""
    place = f"/var/lib/{space.name}"
    code = f"""
import os, shutil
for name in {names!r}:
    path = os.path.join({place!r}, name)
    shutil.rmtree(path, ignore_errors=True)  # of an earlier run
    os.makedirs(path)
    os.chmod(path, 0o777)
"""
    container = {
        "name": "open",
        "image": image_name(),
        "command": ["python3", "-c", code],
        "securityContext": {"runAsUser": 0},
        "volumeMounts": [{"name": "place", "mountPath": place}],
    }
    volume = {"name": "place", "hostPath": {"path": place, "type": "DirectoryOrCreate"}}
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": [volume]}
    space.create({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "open"}, "spec": spec})
    space("wait", "--for=jsonpath={.status.phase}=Succeeded", "pod/open", WAIT)
    space("delete", "pod", "open", WAIT)


def _remove(app: Application) -> None:
    """First what intercepts requests: nobody answers for it once its pods go."""
    wide = sorted(
        (one for one in app.everything if one["kind"] in CLUSTER_WIDE or "namespace" in one["metadata"]),
        key=lambda one: not one["kind"].endswith("WebhookConfiguration"),
    )
    for one in wide:
        where = ["-n", one["metadata"]["namespace"]] if "namespace" in one["metadata"] else []
        kubectl(app.space.kubeconfig, *where, "delete", one["kind"], _name(one), "--ignore-not-found", "--wait=false")
    app.space("delete", "namespace", app.space.name, "--ignore-not-found", "--wait=false")
