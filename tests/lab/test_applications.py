"""Real applications' manifests in both modes: accepted, ready, and the features used by them exercised.

The manifests are in tests/lab/applications; docs/applications.md says what of each was tried and what does not work.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .harness import DEMO, KUBECTL, ran, run_module, until
from .space import DEDICATED, IN_BOTH_MODES, WAIT, Space
from .stand_ins import APPLICATIONS, PROGRAM, RUN, Application, installed, wait_until_removed

SHARED = "payments--apps"
ALWAYS = ("argo-cd", "cert-manager")
NAMES = [name if name in ALWAYS else pytest.param(name, marks=pytest.mark.nightly) for name in APPLICATIONS]


@pytest.fixture(scope="module", params=IN_BOTH_MODES)
def vcluster(request: pytest.FixtureRequest, site: object, hub: Path) -> Iterator[str]:
    """A virtual cluster of its own in mode shared, with what applications need; the demo's in the other."""
    if request.param == DEDICATED:
        yield request.param
        wait_until_removed(request.param)
        return
    version = yaml.safe_load(ran(hub, "version", "-o", "yaml"))["serverVersion"]["gitVersion"]
    where: dict[str, Any] = {"tenant": "payments", "name": "apps"}
    done = run_module(
        "vcluster",
        kubeconfig=hub,
        version=version,
        persistence={"type": "none"},
        expose={"type": "NodePort"},
        resources={"cpu": "6", "memory": "3Gi", "storage": "2Gi", "pods": 30, "node_ports": 6, "load_balancers": 1},
        kubeconfig_path=DEMO / f"vclusters/{SHARED}.yaml",
        **where,
    )
    assert not done.failed, done.msg
    try:
        yield SHARED
    finally:
        run_module("vcluster", kubeconfig=hub, state="absent", **where)


@pytest.mark.parametrize("name", NAMES)
def test_application_is_ready_and_its_features_work(vcluster: str, name: str) -> None:
    with installed(vcluster, name) as app:
        app.check_refusals()
        EXERCISES[name](app)


def cloudnative_pg(app: Application) -> None:
    """Admission decides; a label moves the Service to the other instance; an instance comes back with its data."""
    space = app.space
    assert "refused by the stand-in" in _refusal(app, "Cluster", "cluster-example")
    for name, role in (("cluster-example-1", "replica"), ("cluster-example-2", "primary")):
        app.as_operator("label", "--overwrite", "pod", name, f"cnpg.io/instanceRole={role}")
    app.run("cluster-example-1", "get http://cluster-example-rw:5432/ cluster-example-2")
    app.as_operator("delete", "pod", "cluster-example-1", WAIT)
    again = app.find("Pod", "cluster-example-1")
    app.apply([again], "--token", app.operator["token"])
    app.wait([again])
    space("wait", "--for=jsonpath={.status.currentHealthy}=2", "pdb/cluster-example-primary", WAIT)


def cert_manager(app: Application) -> None:
    """Admission decides; a renewed certificate reaches the pods that have it; the solver answers by its Service."""
    space = app.space
    assert app.space.json("certificate", "example")["spec"]["mutated"] is True
    assert "refused by the stand-in" in _refusal(app, "Certificate", "example")
    holder = space.json("lease", "cert-manager-controller", "-n", "kube-system")["spec"]["holderIdentity"]
    assert holder.startswith("cert-manager-")
    app.run("deployment/example", "get http://cm-acme-http-solver-9dqzm:8089/")
    app.sees("deployment/example", "app=example", "file /tls/tls.crt first")  # the Secret came after the pod
    renewed = app.find("Secret", "example-tls") | {"stringData": {"tls.crt": "second", "tls.key": "key"}}
    app.apply([renewed], "--token", app.operator["token"])
    app.sees("deployment/example", "app=example", "file /tls/tls.crt second")
    if space.shared:
        assert "nginx is not offered" in space.warning("cm-acme-http-solver-f5h8t")


def ingress_nginx(app: Application) -> None:
    """The controller reaches pods by endpoint slices; what it writes into the status of an Ingress stays."""
    space = app.space
    assert "refused by the stand-in" in _refusal(app, "Ingress", "demo")
    app.run("deployment/ingress-nginx-controller", "scrape demo 8080 2")
    ports = space.json("service", "ingress-nginx-controller")["spec"]
    assert all(port["nodePort"] for port in ports["ports"])
    assert ports["healthCheckNodePort"]
    ingress = space.json("ingress", "demo") | {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.80"}]}}}
    path = f"/apis/networking.k8s.io/v1/namespaces/{space.name}/ingresses/demo/status"
    app.as_operator("replace", "--raw", path, "-f", "-", stdin=json.dumps(ingress))
    if space.shared:
        assert "nginx is not offered" in space.warning("demo")
    space("annotate", "ingress", "demo", "touched=yes")
    space("rollout", "restart", "deployment/demo")
    space("rollout", "status", "deployment/demo", WAIT)
    assert space.json("ingress", "demo")["status"]["loadBalancer"]["ingress"] == [{"ip": "192.0.2.80"}]


def gitlab_runner(app: Application) -> None:
    """As the executor: scripts by exec with standard input, logs, the answer of a service beside, and all deleted."""
    job = "runner-t1-project-7-concurrent-0"
    script = "\n".join(f"line {number}" for number in range(2000))
    assert (
        app.as_operator("exec", "-i", job, "-c", "build", "--", RUN, "receive /builds/script", stdin=script) == script
    )
    checks = (
        "file /builds/script line 1999",
        "get http://postgres:5432/ runner-t1",
        "write /logs-7-4711/output.log end",
    )
    app.as_operator("exec", job, "-c", "helper", "--", RUN, *checks)
    assert app.try_as_operator("exec", job, "-c", "build", "--", "python3", "-c", "exit(3)").returncode == 3
    app.as_operator("logs", job, "-c", "init-permissions")
    assert app.space.json("pod", job)["spec"]["priority"] == -10
    everything = ("pod/" + job, f"secret/{job}-credentials", f"configmap/{job}-scripts")
    app.as_operator("delete", *everything, WAIT)


def argo_cd(app: Application) -> None:
    """As the controller: sync into a namespace of its own; as the CLI: reach the server by a forwarded port."""
    other = Application(Space(app.space.vcluster, "guestbook"), app.content, app.operator)
    app.as_operator("create", "namespace", other.space.name)
    try:
        app.as_operator("-n", other.space.name, "create", "configmap", "stand-in", f"--from-literal=run={PROGRAM}")
        other.apply(app.content["synced"], "--token", app.operator["token"])
        other.wait(app.content["synced"])
        with (
            forwarded(app.space, "service/argocd-server", 443) as port,
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=20) as page,
        ):
            assert page.read().endswith(b" server\n")
        # Of the network policy only the server and the repository server may reach Redis.
        controller, reach = (
            ("exec", "argocd-application-controller-0"),
            ("--", RUN, "--once", "connect argocd-redis 6379"),
        )
        assert (app.space.try_(*controller, *reach).returncode == 0) == app.space.shared, "docs/applications.md says so"
        app.as_operator("patch", "application", "guestbook", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
        app.space("rollout", "restart", "deployment/argocd-repo-server")
        app.space("rollout", "status", "deployment/argocd-repo-server", WAIT)
    finally:
        app.space("delete", "namespace", other.space.name, "--wait=false")


def tekton(app: Application) -> None:
    """As the controller: steps start by an annotation and tell a result; then the sidecar gets an image that ends."""
    space, group = app.space, "/apis/tekton.dev/{}/namespaces/tekton-pipelines/taskruns/build"
    found = [json.loads(space("get", "--raw", group.format(version)))["apiVersion"] for version in ("v1", "v1beta1")]
    assert found == ["tekton.dev/v1", "tekton.dev/v1beta1"]
    assert "refused by the stand-in" in _refusal(app, "TaskRun", "build")
    app.apply([app.find("Pod", "build-pod")], "--token", app.operator["token"])
    space("wait", "--for=jsonpath={.status.phase}=Running", "pod/build-pod", WAIT)
    app.as_operator("annotate", "--overwrite", "pod", "build-pod", "tekton.dev/ready=READY")
    for step in ("step-build", "step-test"):
        until(lambda step=step: _ended(app, step), 100)
        assert _ended(app, step)["exitCode"] == 0
    assert json.loads(_ended(app, "step-test")["message"])[0]["value"] == "sha256:abc"
    app.as_operator("set", "image", "pod/build-pod", "sidecar-database=docker.io/lab/web:1")
    until(lambda: _ended(app, "sidecar-database"), 100)


def strimzi(app: Application) -> None:
    """As the operator: replace a member, which keeps its name and its data; what owns the pods takes them with it."""
    space, token, names = app.space, ("--token", app.operator["token"]), ("my-cluster-kafka-0", "my-cluster-kafka-1")
    app.run(names[0], "write /var/lib/kafka/data-0/meta.properties 0")
    space("wait", "--for=jsonpath={.status.disruptionsAllowed}=1", "pdb/my-cluster-kafka", WAIT)
    app.as_operator("delete", "pod", names[0], WAIT)
    again = app.find("Pod", names[0])
    app.apply([again], *token)
    app.wait([again])
    app.run(names[0], "file /var/lib/kafka/data-0/meta.properties 0")
    _reach_node_port(app, names[1])
    podset = space.json("strimzipodset", "my-cluster-kafka")
    owner = {"apiVersion": podset["apiVersion"], "kind": podset["kind"], "name": names[0][:-2], "controller": True}
    change = json.dumps({"metadata": {"ownerReferences": [owner | {"uid": podset["metadata"]["uid"]}]}})
    for name in names:
        app.as_operator("patch", "pod", name, "--type=merge", "-p", change)
    app.as_operator("delete", "strimzipodset", "my-cluster-kafka")
    space("wait", "--for=delete", *(f"pod/{name}" for name in names), WAIT)


def _reach_node_port(app: Application, pod: str) -> None:
    """A broker tells clients the address of its node, and its zone: a node of the host says neither."""
    node = app.space.json("nodes")["items"][0]
    port = app.space.json("service", "my-cluster-kafka-external-0")["spec"]["ports"][0]["nodePort"]
    address = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    check = f"connect {address} {port}"
    if not app.space.shared:
        app.run(pod, check)
        return
    assert app.space.try_("exec", pod, "--", RUN, "--once", check).returncode != 0
    labels = {key for key in node["metadata"]["labels"] if key.startswith(("kubernetes.io/", "topology."))}
    assert labels == {f"kubernetes.io/{key}" for key in ("hostname", "os", "arch")}


def kube_prometheus(app: Application) -> None:
    """Rules are validated, the reloader sees a new configuration; only nodes of one's own serve a kubelet's metrics."""
    space = app.space
    assert "refused by the stand-in" in _refusal(app, "PrometheusRule", "kubernetes")
    changed = app.find("Secret", "prometheus-k8s") | {"stringData": {"prometheus.yaml.gz": "scrape_interval: 15s"}}
    app.apply([changed], "--token", app.operator["token"])
    check = "file /etc/prometheus/config/prometheus.yaml.gz 15s"
    app.sees("prometheus-k8s-0", "prometheus=k8s", check, container="config-reloader")
    # What was mounted by subPath stays as it was, as on any cluster.
    app.run("prometheus-k8s-0", "file /etc/prometheus/web_config/web-config.yaml tls_server_config")
    space("wait", "--for=jsonpath={.status.currentHealthy}=2", "pdb/prometheus-k8s", WAIT)
    space("rollout", "restart", "statefulset/prometheus-k8s")
    space("rollout", "status", "statefulset/prometheus-k8s", WAIT)
    account = space("create", "token", "prometheus-k8s").strip()
    node = space.json("nodes")["items"][0]["metadata"]["name"]
    metrics = space.try_("--token", account, "get", "--raw", f"/api/v1/nodes/{node}/proxy/metrics/resource")
    if space.shared:
        assert "'/metrics/resource': not served here" in metrics.stderr
    else:
        assert "pod_memory_working_set_bytes" in metrics.stdout, metrics.stderr


def _ended(app: Application, container: str) -> dict | None:
    statuses = app.space.json("pod", "build-pod")["status"]["containerStatuses"]
    return next(one for one in statuses if one["name"] == container)["state"].get("terminated")


@contextlib.contextmanager
def forwarded(space: Space, target: str, port: int) -> Iterator[int]:
    arguments = ["port-forward", target, f":{port}", "-n", space.name]
    command = [KUBECTL, "--kubeconfig", space.kubeconfig, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as forward:
        try:
            yield int(re.search(r":(\d+) ->", forward.stdout.readline())[1])
        finally:
            forward.terminate()


def _refusal(app: Application, kind: str, name: str) -> str:
    """What is said to somebody who creates another object of that kind, labelled so that the webhook refuses it."""
    refused = app.find(kind, name)
    refused["metadata"] |= {"name": "no", "labels": {"refused": "yes"}}
    return app.space.try_("create", "-f", "-", stdin=json.dumps(refused)).stderr


EXERCISES = {
    "argo-cd": argo_cd,
    "cert-manager": cert_manager,
    "cloudnative-pg": cloudnative_pg,
    "gitlab-runner": gitlab_runner,
    "ingress-nginx": ingress_nginx,
    "kube-prometheus": kube_prometheus,
    "strimzi": strimzi,
    "tekton": tekton,
}
