"""What users of virtual clusters ran into with their pods, in both modes: as on a cluster of their own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .harness import RELEASE, ran, until
from .space import IN_BOTH_MODES, WAIT, Space, made_space

SMALL = {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}
SHELL = f"docker.io/rancher/k3s:{RELEASE.replace('+', '-')}"
HOST_NAME = re.compile(r"-[0-9a-f]{16}\b")


@pytest.fixture(scope="module", params=IN_BOTH_MODES)
def space(request: pytest.FixtureRequest, site: object) -> Iterator[Space]:
    with made_space(request.param, "behaviour") as found:
        yield found


def container(*words: str, **fields: Any) -> dict:
    return {
        "name": "a",
        "image": "docker.io/lab/web:1",
        "args": list(words or ("serve",)),
        "resources": SMALL,
        **fields,
    }


def shell(script: str, **fields: Any) -> dict:
    return container(image=SHELL, command=["sh", "-c", script], args=[], **fields)


def make(space: Space, name: str, *containers: dict, labels: dict | None = None, **spec: Any) -> None:
    metadata = {"name": name, "labels": labels or {"app": name}}
    spec = {"terminationGracePeriodSeconds": 1, "containers": list(containers) or [container()], **spec}
    space.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})


def ready(space: Space, name: str) -> None:
    space("wait", f"pod/{name}", "--for=condition=Ready", WAIT)


def test_a_null_selector_chooses_no_pod(space: Space) -> None:
    """A pod that may be beside no pod of an empty selector's keeps others away; one of a null selector's does not."""
    terms = {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "kubernetes.io/hostname"}]}
    make(space, "first")
    ready(space, "first")
    make(space, "nobody", affinity={"podAntiAffinity": terms})
    ready(space, "nobody")
    make(space, "later")
    ready(space, "later")
    terms["requiredDuringSchedulingIgnoredDuringExecution"][0]["labelSelector"] = {}
    make(space, "everybody", affinity={"podAntiAffinity": terms})
    # The control.
    space.told("anti-affinity", "everybody")
    space("delete", "pod", "first", "nobody", "later", "everybody", WAIT)


def test_a_rollout_is_spread_by_its_own_pods(space: Space) -> None:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {"app": "spread"}},
        "matchLabelKeys": ["pod-template-hash"],
    }
    labels = {"app": "spread"}
    template = {
        "metadata": {"labels": labels},
        "spec": {"containers": [container()], "topologySpreadConstraints": [spread]},
    }
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    space.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "spread"}, "spec": spec})
    space("rollout", "status", "deployment/spread", WAIT)
    space("delete", "deployment", "spread", WAIT)


def test_limits_of_the_pod_as_a_whole(space: Space) -> None:
    whole = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"cpu": "100m", "memory": "100Mi"}}
    make(space, "whole", container(resources={}), container("sleep", name="b", resources={}), resources=whole)
    ready(space, "whole")
    space("delete", "pod", "whole", WAIT)


def test_a_request_without_a_limit(space: Space) -> None:
    make(space, "asks", container(resources={"requests": {"cpu": "10m", "memory": "256Mi"}}))
    ready(space, "asks")
    space("delete", "pod", "asks", WAIT)


def test_variables_hold_in_the_order_of_kubernetes(space: Space) -> None:
    """Those of services, of each `envFrom` in turn, of `env`: of two with one name, the later one."""
    port = {"metadata": {"name": "order"}, "spec": {"ports": [{"port": 8081}], "selector": {"app": "order"}}}
    space.create(
        {"apiVersion": "v1", "kind": "Service", **port},
        _config_map("first", A="first", B="first", C="first", ORDER_SERVICE_HOST="first"),
        _config_map("second", B="second", C="second"),
    )
    sources = [{"configMapRef": {"name": name}} for name in ("first", "second")]
    own = [{"name": "C", "value": "own"}, {"name": "D", "value": "$(ORDER_SERVICE_PORT)"}]
    make(space, "order", container("env", envFrom=sources, env=own), restartPolicy="Never")
    space("wait", "pod/order", "--for=jsonpath={.status.phase}=Succeeded", WAIT)
    found = dict(line.partition("=")[::2] for line in space("logs", "order").splitlines())
    wanted = {"A": "first", "B": "second", "C": "own", "D": "8081", "ORDER_SERVICE_HOST": "first"}
    assert {name: found.get(name) for name in wanted} == wanted
    assert found["ORDER_SERVICE_PORT"] == "8081"
    space("delete", "pod/order", "service/order", "configmap/first", "configmap/second", WAIT)


def test_a_pod_with_a_subdomain_finds_its_full_name_in_its_hosts_file(space: Space) -> None:
    """Before it is ready, when DNS has no name for it; and with aliases of its own."""
    aliases = [{"ip": "192.0.2.1", "hostnames": ["db", "db.example.com"]}]
    made = {"hostname": "zk-1", "subdomain": "zk", "hostAliases": aliases, "restartPolicy": "Never"}
    make(space, "member", shell("cat /etc/hosts; echo 192.0.2.2 more >> /etc/hosts; hostname"), **made)
    space("wait", "pod/member", "--for=jsonpath={.status.phase}=Succeeded", WAIT)
    pod, lines = space.json("pod", "member"), space("logs", "member").splitlines()
    address = pod["status"]["podIP"]
    assert f"{address}\tzk-1.zk.{space.name}.svc.cluster.local\tzk-1" in lines
    assert {"127.0.0.1\tlocalhost", "192.0.2.1\tdb\tdb.example.com"} <= set(lines)
    assert lines[-1] == "zk-1"
    assert "initContainerStatuses" not in pod["status"]
    assert "tenantry-hosts" not in space("get", "events", "-o", "json")
    space("delete", "pod", "member", WAIT)


def _config_map(name: str, **data: str) -> dict:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_a_kill_by_a_default_limit_is_explained(space: Space) -> None:
    if not space.shared:
        pytest.skip("has no limits that the pod does not name")
    make(space, "hungry", shell("head -c 400m /dev/zero | tail -c 300m | wc -c", resources={}), restartPolicy="Never")
    path = "{.status.containerStatuses[0].state.terminated.reason}"
    until(lambda: space("get", "pod", "hungry", "-o", f"jsonpath={path}"))
    found = space.json("pod", "hungry")["status"]["containerStatuses"][0]
    assert found["resources"]["limits"] == {"cpu": "100m", "memory": "128Mi", "ephemeral-storage": "512Mi"}
    described = space("describe", "pod", "hungry")
    assert "OOMKilled" in described
    assert "memory limit 128Mi: the default of the virtual cluster" in described


def another_is_ready(space: Space, name: str, uid: str) -> bool:
    found = space.try_("get", "pod", name, "-o", "json")
    pod = json.loads(found.stdout) if found.returncode == 0 else {"metadata": {"uid": uid}}
    conditions = {one["type"]: one["status"] for one in pod.get("status", {}).get("conditions", [])}
    return pod["metadata"]["uid"] != uid and conditions.get("Ready") == "True"


def test_a_set_of_pods_goes_on_after_deletion_by_force(space: Space, record_property: Any) -> None:
    labels = {"app": "stuck"}
    stubborn = shell('trap "" TERM; while :; do sleep 1; done')
    template = {
        "metadata": {"labels": labels},
        "spec": {"terminationGracePeriodSeconds": 600, "containers": [stubborn]},
    }
    spec = {"serviceName": "stuck", "selector": {"matchLabels": labels}, "template": template}
    space.create({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "stuck"}, "spec": spec})
    for ending in (False, True):
        space("wait", "pod/stuck-0", "--for=create", WAIT)
        ready(space, "stuck-0")
        uid = space("get", "pod", "stuck-0", "-o", "jsonpath={.metadata.uid}")
        if ending:
            space("delete", "pod", "stuck-0", "--wait=false")
        begun = time.monotonic()
        space("delete", "pod", "stuck-0", "--force", "--grace-period=0")
        until(lambda: another_is_ready(space, "stuck-0", uid))  # noqa: B023
        record_property("seconds", round(time.monotonic() - begun, 1))
        assert time.monotonic() - begun < 15
    space("delete", "statefulset", "stuck", WAIT)
    space("delete", "pod", "stuck-0", "--force", "--grace-period=0", "--ignore-not-found")


def test_messages_name_nothing_of_the_host(space: Space, hub: Path) -> None:
    mounts = [{"name": "v", "mountPath": "/v"}]
    claim = {"name": "v", "persistentVolumeClaim": {"claimName": "data"}}
    settings = {"name": "v", "configMap": {"name": "settings"}}
    no_key = {"name": "A", "valueFrom": {"secretKeyRef": {"name": "there", "key": "none"}}}
    no_secret = {"secretRef": {"name": "credentials"}}
    missing: dict[str, tuple[dict, dict, str]] = {
        "no-secret": (container(envFrom=[no_secret]), {}, 'secret "credentials" not found'),
        "no-key": (container(env=[no_key]), {}, f"couldn't find key none in Secret {space.name}/there"),
        "no-claim": (container(volumeMounts=mounts), {"volumes": [claim]}, 'persistentvolumeclaim "data" not found'),
        "no-config": (container(volumeMounts=mounts), {"volumes": [settings]}, 'configmap "settings" not found'),
        "crashes": (container("exit", "1"), {}, f"crashes_{space.name}("),
    }
    space("create", "secret", "generic", "there", "--from-literal=a=b")
    for name, (one, spec, _words) in missing.items():
        make(space, name, one, **spec)
    for name, (_one, _spec, words) in missing.items():
        space.told(words, name, 120)
    told = [one["message"] for one in space.json("events")["items"] if one.get("message")]
    told += [str(pod["status"]) for pod in space.json("pods")["items"]]
    on_host = {pod["metadata"]["name"] for pod in space.copies(hub)} if space.shared else set()
    assert [one for one in told if HOST_NAME.search(one) or any(name in one for name in on_host)] == []
    assert [one for one in told if space.vcluster in one] == []
    if space.shared:
        # The control: the host's own events do.
        assert HOST_NAME.search(ran(hub, "-n", space.vcluster, "get", "events", "-o", "jsonpath={.items[*].message}"))
    space("delete", "pod", *missing, WAIT)


def test_a_cron_job_of_another_time_zone(space: Space) -> None:
    name = "a-cronjob-with-a-name-of-52-characters-which-is-most"
    template = {"spec": {"restartPolicy": "OnFailure", "containers": [container("print", "tick")]}}
    spec = {"schedule": "* * * * *", "timeZone": "Europe/Berlin", "jobTemplate": {"spec": {"template": template}}}
    space.create({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": name}, "spec": spec})
    until(lambda: space("get", "cronjob", name, "-o", "jsonpath={.status.lastSuccessfulTime}"), 150)
    space("delete", "cronjob", name, WAIT)
