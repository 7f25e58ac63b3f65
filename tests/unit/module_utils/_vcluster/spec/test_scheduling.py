"""On which nodes of the host a virtual cluster runs, and how the host gets its images."""

from __future__ import annotations

import base64
import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.record import SPEC_ANNOTATION
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import agent, cluster, server
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse

from ..example import make_item, render

WHERE = {
    "node_selector": {"tenantry.dev/pool": "vclusters"},
    "tolerations": [{"key": "pool", "operator": "Equal", "value": "vclusters", "effect": "NoSchedule"}],
    "runtime_class": "kata",
    "anti_affinity": "required",
}
PULL = {"registry": "registry.example.com:5000", "username": "puller", "password": "hunter2"}


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"server": {"node_selector": {"pool": True}}}, "server.node_selector:"),
        ({"agent": {"node_selector": {"-x": "y"}}}, "agent.node_selector:"),
        ({"agent": {"tolerations": [{"keys": "a"}]}}, "agent.tolerations.keys: is unknown"),
        ({"agent": {"tolerations": [{"key": "a", "effect": "NoRun"}]}}, "agent.tolerations.effect: must be"),
        ({"agent": {"tolerations": [{"operator": "Is", "key": "a"}]}}, "agent.tolerations.operator: must be"),
        ({"server": {"tolerations": [{"effect": "NoSchedule"}]}}, "server.tolerations:"),
        ({"server": {"runtime_class": "Kata"}}, "server.runtime_class:"),
        ({"image_credentials": [{**PULL, "registry": "https://registry"}]}, "image_credentials:"),
    ],
)
def test_bad_input_is_one_line_with_option_and_rule(item: dict, told: str) -> None:
    with pytest.raises(TenantryError) as caught:
        parse(make_item(**item))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("part", "module"), [("server", server), ("agent", agent)])
def test_part_runs_where_it_is_placed(part: str, module: object) -> None:
    pod = module.stateful_set(render(**{part: WHERE}))["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == WHERE["node_selector"]
    assert pod["tolerations"] == WHERE["tolerations"]
    assert pod["runtimeClassName"] == "kata"
    apart = pod["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert [one["topologyKey"] for one in apart] == ["kubernetes.io/hostname"]
    others = module.stateful_set(render())["spec"]["template"]["spec"]
    assert not {"nodeSelector", "tolerations", "runtimeClassName", "affinity", "imagePullSecrets"} & others.keys()
    assert others["topologySpreadConstraints"][0]["whenUnsatisfiable"] == "ScheduleAnyway"


def test_images_are_pulled_with_credentials_that_are_shown_nowhere() -> None:
    rendering = render(image_credentials=[PULL])
    objects = cluster.everything(rendering)
    pull = next(one for one in objects if one["metadata"]["name"] == "image-pull")
    auths = json.loads(base64.b64decode(pull["data"][".dockerconfigjson"]))["auths"]
    assert base64.b64decode(auths["registry.example.com:5000"]["auth"]) == b"puller:hunter2"
    assert pull["type"] == "kubernetes.io/dockerconfigjson"
    for one in objects:
        if one["kind"] == "StatefulSet":
            assert one["spec"]["template"]["spec"]["imagePullSecrets"] == [{"name": "image-pull"}]
    namespace = next(one for one in objects if one["kind"] == "Namespace")
    assert "hunter2" not in namespace["metadata"]["annotations"][SPEC_ANNOTATION] + repr(rendering)
