"""What a virtual cluster consists of."""

from __future__ import annotations

import base64
import json
import subprocess

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._platform import rbac, reconciler
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import (
    agent,
    cluster,
    common,
    server,
    syncer,
)

from ..example import SHARED, render

NAMESPACE = "payments--dev"
SECRETS = ("server-token", "agent-token", "node-password", "platform-token")
KINDS_IN_NAMESPACE = {kind.rpartition("/")[2] for kind in cluster.KINDS}


def objects(rendering) -> dict[tuple[str, str], dict]:
    return {(obj["kind"], obj["metadata"]["name"]): obj for obj in cluster.everything(rendering)}


def decoded(secret: dict, key: str) -> str:
    return base64.b64decode(secret["data"][key]).decode()


def server_config(rendering) -> dict:
    return json.loads(decoded(objects(rendering)["Secret", "server-config"], "config.yaml"))


def container(stateful_set: dict) -> dict:
    return stateful_set["spec"]["template"]["spec"]["containers"][0]


def test_every_object_is_labelled_and_in_the_namespace():
    for obj in cluster.everything(render({"account": True})):
        labels = obj["metadata"]["labels"]
        assert labels[naming.LABEL_MANAGED_BY] == naming.MANAGED_BY
        assert labels[naming.LABEL_TENANT] == "payments"
        assert labels[naming.LABEL_VCLUSTER] == "dev"
        assert obj["metadata"].get("namespace", NAMESPACE) == NAMESPACE


def test_every_kind_is_one_that_is_looked_through_for_leftovers():
    modes = render({"account": True}), render({"account": True}, **SHARED)
    kinds = {obj["kind"] for rendering in modes for obj in cluster.everything(rendering)}
    assert kinds == KINDS_IN_NAMESPACE | {"Namespace"}


def test_secrets_are_in_secrets_only():
    """SEC: no token in a pod spec, an annotation or any other object."""
    for obj in cluster.everything(render()):
        if obj["kind"] != "Secret":
            text = json.dumps(obj)
            names = text.replace('"server-token"', "").replace('"agent-token"', "").replace('"node-password"', "")
            names = names.replace("/etc/tenantry/token/agent-token", "")
            assert not [secret for secret in SECRETS if secret in names], obj["kind"]


def test_tenant_side_pods_get_no_more_secrets_than_they_need():
    """A privileged pod inside can read whatever is mounted into an agent."""
    pod = objects(render())["StatefulSet", "agent"]["spec"]["template"]["spec"]
    mounted = [(v["secret"]["secretName"], v["secret"].get("items")) for v in pod["volumes"] if "secret" in v]
    assert mounted == [
        ("agent-config", None),
        ("join-token", [{"key": "agent-token", "path": "agent-token"}]),
        ("join-token", [{"key": "node-password", "path": "password"}]),
    ]


def test_agents_are_replaced_one_after_the_other():
    """A container that has just started is no node yet, and the pods on it take a moment longer."""
    agents = objects(render(agents=2))["StatefulSet", "agent"]
    assert container(agents)["readinessProbe"]["tcpSocket"] == {"port": 10250}
    assert agents["spec"]["minReadySeconds"] >= 10


@pytest.mark.parametrize(("agents", "level"), [(0, "restricted"), (1, "privileged")])
def test_pod_security_is_as_strict_as_the_pods_allow(agents, level):
    namespace = objects(render(agents=agents))["Namespace", NAMESPACE]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == level


def test_server_pod_meets_the_restricted_level():
    pod = objects(render(agents=0))["StatefulSet", "server"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (only,) = pod["containers"]
    assert only["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    assert {kind for volume in pod["volumes"] for kind in volume if kind != "name"} <= {
        "secret",
        "emptyDir",
        "persistentVolumeClaim",
    }


@pytest.mark.parametrize("tier", ["dev", "prod"])
@pytest.mark.parametrize("agents", [0, 1, 3])
def test_own_pods_fit_into_the_smallest_resources(tier, agents):
    """QUO-2: the quota never stands in the way of the virtual cluster itself."""
    found = objects(render(tier=tier, agents=agents))
    hard = found["ResourceQuota", "vcluster"]["spec"]["hard"]
    used = dict.fromkeys(("limits.cpu", "limits.memory", "requests.cpu", "requests.memory", "pods"), 0)
    for (kind, _name), obj in found.items():
        if kind != "StatefulSet":
            continue
        replicas = obj["spec"]["replicas"]
        used["pods"] += replicas
        for which, amounts in container(obj)["resources"].items():
            for resource in ("cpu", "memory"):
                used[f"{which}.{resource}"] += replicas * quantities.parse(amounts[resource], "amount")
    for name, amount in used.items():
        assert amount <= quantities.parse(hard[name], "amount"), name


def test_tier_prod_holds_its_limits_for_itself():
    resources = container(objects(render(tier="prod"))["StatefulSet", "server"])["resources"]
    assert resources["limits"] == {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"}
    assert resources["requests"] == {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "64Mi"}
    pod = objects(render(tier="prod"))["StatefulSet", "agent"]["spec"]["template"]["spec"]
    assert pod["priorityClassName"] == "tenantry-prod-server"


def test_tier_dev_shares():
    found = objects(render(agents=1))
    requests = {part: container(found["StatefulSet", part])["resources"]["requests"] for part in ("server", "agent")}
    assert requests == {
        "server": {"cpu": "50m", "memory": "256Mi", "ephemeral-storage": "64Mi"},
        "agent": {"cpu": "250m", "memory": "1Gi"},
    }


@pytest.mark.parametrize(
    ("limits", "requests"),
    [
        ({"cpu": "250m", "memory": "512Mi"}, ("50m", "256Mi")),
        ({"cpu": "4", "memory": "8Gi"}, ("200m", "2Gi")),
    ],
)
def test_server_requests_at_least_what_an_idle_one_uses(limits, requests):
    found = container(objects(render(server=limits))["StatefulSet", "server"])["resources"]["requests"]
    assert (found["cpu"], found["memory"]) == requests


@pytest.mark.parametrize(("cpu", "processors"), [("250m", "1"), ("1", "1"), ("1500m", "2"), ("4", "4")])
def test_server_runs_on_as_many_processors_as_its_limit(cpu, processors):
    found = container(objects(render(server={"cpu": cpu, "memory": "1Gi"}))["StatefulSet", "server"])
    assert found["env"] == [{"name": "GOMAXPROCS", "value": processors}]


def test_server_disk_without_volume_holds_its_data():
    found = objects(render(persistence={"type": "none"}))
    assert container(found["StatefulSet", "server"])["resources"]["limits"]["ephemeral-storage"] == "4Gi"


def test_agent_disk_is_not_limited_because_it_is_that_of_all_pods_inside():
    found = objects(render())
    assert "ephemeral-storage" not in container(found["StatefulSet", "agent"])["resources"]["limits"]
    assert not [key for key in found["ResourceQuota", "vcluster"]["spec"]["hard"] if "ephemeral" in key]
    assert "ephemeral" not in str(found["LimitRange", "defaults"]), "a default would be the limit of an agent"


@pytest.mark.parametrize(("expose", "ports"), [("NodePort", "1"), ("ClusterIP", "0")])
def test_quota_has_room_for_the_api_service_only(expose, ports):
    changes = {"expose": {"type": expose, "address": None}}
    hard = objects(render(**changes))["ResourceQuota", "vcluster"]["spec"]["hard"]
    assert hard["services.nodeports"] == ports
    assert hard["services.loadbalancers"] == "0"
    assert hard["persistentvolumeclaims"] == "1"


def test_certificate_names_are_exactly_those_of_the_exposure():
    node_port = server_config(render())["tls-san"]
    assert node_port == ["api.payments--dev.svc", "api.payments--dev.svc.cluster.local", "192.0.2.10"]
    inside = server_config(render({"cluster_ip": "10.43.7.7"}, expose={"type": "ClusterIP", "address": None}))
    assert inside["tls-san"] == ["api.payments--dev.svc", "api.payments--dev.svc.cluster.local", "10.43.7.7"]


def test_config_says_what_differs_with_agents():
    with_agents, without = server_config(render()), server_config(render(agents=0))
    assert "coredns" not in with_agents["disable"]
    assert "coredns" in without["disable"]
    assert with_agents["egress-selector-mode"] == "pod"
    assert without["egress-selector-mode"] == "disabled"


@pytest.mark.parametrize(("version", "api"), [("v1.33.1+k3s1", "v1beta1"), ("v1.34.4+k3s1", "v1")])
def test_only_the_probes_are_allowed_without_a_credential(version, api):
    secret = objects(render(version=version))["Secret", "server-config"]
    authentication = json.loads(decoded(secret, "authentication.yaml"))
    assert authentication["apiVersion"] == f"apiserver.config.k8s.io/{api}"
    probed = {
        container(objects(render())["StatefulSet", "server"])[probe]["httpGet"]["path"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert {condition["path"] for condition in authentication["anonymous"]["conditions"]} == probed


@pytest.mark.parametrize(("name", "seconds"), [("server", server.START_SECONDS), ("syncer", syncer.START_SECONDS)])
def test_a_start_that_hangs_ends_in_twice_its_time(name, seconds):
    """A kubelet probes again only when the probe before has ended: by its timeout, if there is no answer."""
    probe = container(objects(render(**SHARED))["StatefulSet", name])["startupProbe"]
    assert probe["failureThreshold"] * max(probe["periodSeconds"], probe["timeoutSeconds"]) <= 2 * seconds


def test_a_changed_configuration_replaces_the_pods_and_nothing_else_does():
    def stamp(rendering) -> str:
        return objects(rendering)["StatefulSet", "server"]["spec"]["template"]["metadata"]["annotations"][
            server.CONFIG_HASH
        ]

    assert stamp(render()) == stamp(render(resources={"cpu": "8"}))
    assert stamp(render()) != stamp(render({"address": "192.0.2.11"}))


def test_without_agents_there_is_nothing_of_them():
    assert not [name for kind, name in objects(render(agents=0)) if "agent" in name]


def test_without_persistence_there_is_no_claim():
    found = objects(render(persistence={"type": "none"}))
    assert not [name for kind, name in found if kind == "PersistentVolumeClaim"]
    volumes = found["StatefulSet", "server"]["spec"]["template"]["spec"]["volumes"]
    assert {"name": "data", "emptyDir": {}} in volumes


def test_registries_reach_the_agents():
    mirrors = {"mirrors": {"docker.io": {"endpoint": ["http://192.0.2.1:8213"]}}}
    secret = objects(render(registries=mirrors))["Secret", "agent-config"]
    assert json.loads(decoded(secret, "registries.yaml")) == mirrors
    assert "registries.yaml" not in objects(render())["Secret", "agent-config"]["data"]


def test_keys_that_exist_are_kept_and_only_missing_ones_made():
    """IDEM-1: a rerun after a kill makes no new token."""
    made = common.keys(None, None)
    rendering = common.RenderContext(render(**SHARED).spec, made)
    join = objects(rendering)["Secret", "join-token"]
    again = common.keys(join, None)
    assert (again.server_token, again.agent_token, again.node_password, again.syncer_token) == (
        made.server_token,
        made.agent_token,
        made.node_password,
        made.syncer_token,
    )
    assert again.platform_token != made.platform_token
    assert common.keys(join, objects(rendering)["Secret", "platform-credential"]) == made
    tokens = {made.server_token, made.agent_token, made.node_password, made.platform_token, made.syncer_token}
    assert len(tokens) == len(SECRETS) + 1
    assert min(len(value) for value in (made.server_token, made.agent_token)) == 64  # 256 bits


def test_keys_are_not_shown():
    assert "token" not in repr(render().keys).lower().replace("keys", "")


def test_a_member_gets_the_platform_bound():
    assert ("RoleBinding", "tenantry-platform") in objects(render({"account": True}))
    assert ("RoleBinding", "tenantry-platform") not in objects(render())


def run_start(
    tmp_path, *, memory_kib: int, processors: int, limit_cpu: str, limit_memory: str, cgroup: str = ""
) -> list[str]:
    """START with the files of another machine and a k3s that says how it was called; `cgroup`: of version 2."""
    (tmp_path / "meminfo").write_text(f"MemTotal:       {memory_kib} kB\nMemFree:        1 kB\n")
    (tmp_path / "cpuinfo").write_text("".join(f"processor\t: {n}\nmodel name\t: x\n\n" for n in range(processors)))
    (tmp_path / "cgroup").write_text(cgroup)
    if cgroup:
        (tmp_path / "controllers").touch()
    k3s = tmp_path / "k3s"
    k3s.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    k3s.chmod(0o755)
    mount = tmp_path / "mount"  # that of the machine is not for tests
    mount.write_text(f'#!/bin/sh\nprintf "%s " "$@" >{tmp_path / "mounted"}\n')
    mount.chmod(0o755)
    script = agent.START
    files = {
        "meminfo": "/proc/meminfo",
        "cpuinfo": "/proc/cpuinfo",
        "cgroup": "/proc/self/cgroup",
        "controllers": "/sys/fs/cgroup/cgroup.controllers",
    }
    for name, path in files.items():
        script = script.replace(path, str(tmp_path / name))
    environment = {
        "K3S": str(k3s),
        "OWN_CPU": str(agent.OWN_CPU_MILLI),
        "OWN_MEMORY": str(agent.OWN_MEMORY_MEBI),
        "LIMIT_CPU": limit_cpu,
        "LIMIT_MEMORY": limit_memory,
        "PATH": str(tmp_path),  # built-in commands and mount only
    }
    run = subprocess.run(["/bin/sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert (tmp_path / "mounted").read_text() == "--make-rshared / "
    return run.stdout.splitlines()


def test_agent_advertises_what_its_pod_may_use(tmp_path):
    arguments = run_start(
        tmp_path,
        memory_kib=16 * 1024 * 1024,
        processors=4,
        cgroup="0::/kubepods/burstable/pod1/abc\n",
        limit_cpu="1000",
        limit_memory="2048",
    )
    assert arguments == [
        "agent",
        f"--kubelet-arg=system-reserved=cpu={4000 - 1000 + 100}m,memory={16384 - 2048 + 320}Mi",
        "--kubelet-arg=cgroup-root=/kubepods/burstable/pod1/abc",
        "--kubelet-arg=kubelet-cgroups=/kubepods/burstable/pod1/abc/k3s",
        "--kubelet-arg=runtime-cgroups=/kubepods/burstable/pod1/abc/k3s",
    ]


def test_agent_larger_than_its_machine_offers_the_machine(tmp_path):
    arguments = run_start(
        tmp_path,
        memory_kib=1024 * 1024,
        processors=1,
        limit_cpu="4000",
        limit_memory="8192",
        cgroup="0::/\n",
    )
    assert arguments[1:3] == ["--kubelet-arg=system-reserved=cpu=100m,memory=320Mi", "--kubelet-arg=cgroup-root=/"]
    assert arguments[3] == "--kubelet-arg=kubelet-cgroups=/k3s"


def test_agent_leaves_cgroups_of_version_1_alone(tmp_path):
    arguments = run_start(tmp_path, memory_kib=4 * 1024 * 1024, processors=2, limit_cpu="1000", limit_memory="2048")
    assert arguments == ["agent", "--kubelet-arg=system-reserved=cpu=1100m,memory=2368Mi"]


def test_same_state_renders_the_same():
    assert cluster.everything(render()) == cluster.everything(render())


@pytest.mark.parametrize(
    ("tier", "given", "full"),
    [("dev", None, False), ("prod", None, True), ("prod", "normal", False), ("dev", "full", True)],
)
def test_durability_follows_the_tier_unless_it_is_given(tier: str, given: str | None, full: bool) -> None:
    found = server.config(render(tier=tier, durability=given)).get("datastore-endpoint", "")
    assert found.endswith("&_synchronous=FULL") == full
    assert found.startswith("sqlite:///var/lib/rancher/k3s/server/db/state.db?_journal=WAL&") == full


def test_the_reconciler_binds_as_the_virtual_cluster_does():
    """It does so where a run without the account created the namespace, and the next run finds nothing to change."""
    rendering = render({"account": True})
    space = objects(rendering)["Namespace", NAMESPACE]
    assert reconciler.binding_in(space) == cluster.platform_binding(rendering)
    assert ("RoleBinding", rbac.PLATFORM_ACCOUNT) not in objects(render())
