"""Default limits for the quota, which never contradict what the pod sets."""

from __future__ import annotations

import pytest
from tenantry_syncer.translate import pod as pod_spec
from tenantry_syncer.translate import pod_defaults

from ..objects import CONFIG, POD_CONTEXT, container, pod

DEFAULTS = CONFIG.container_defaults


def made(spec: dict) -> dict:
    return pod_spec.host_pod(pod(spec), POD_CONTEXT)["spec"]


@pytest.mark.parametrize(
    ("asked", "limits", "requests"),
    [
        ({}, {"cpu": "100m", "memory": "128Mi"}, {"cpu": "50m", "memory": "64Mi"}),
        ({"requests": {"memory": "400Mi"}}, {"cpu": "100m", "memory": "400Mi"}, {"cpu": "50m", "memory": "400Mi"}),
        ({"requests": {"cpu": "1m"}}, {"cpu": "100m", "memory": "128Mi"}, {"cpu": "1m", "memory": "64Mi"}),
        ({"requests": {"cpu": "2"}}, {"cpu": "2", "memory": "128Mi"}, {"cpu": "2", "memory": "64Mi"}),
        ({"limits": {"memory": "1Gi"}}, {"cpu": "100m", "memory": "1Gi"}, {"cpu": "50m", "memory": "64Mi"}),
        ({"limits": {"memory": "32Mi"}}, {"cpu": "100m", "memory": "32Mi"}, {"cpu": "50m", "memory": "32Mi"}),
        (
            {
                "limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Mi"},
                "requests": {"cpu": "1m", "memory": "1"},
            },
            {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "2Mi"},
            {"cpu": "1m", "memory": "1"},
        ),
    ],
)
@pytest.mark.parametrize("group", ["containers", "initContainers"])
def test_completed_fills_missing_values(asked, limits, requests, group):
    (one,) = made({group: [container(resources=asked)]})[group]
    assert one["resources"] == {"limits": limits, "requests": requests}


def test_fill_omits_limits_set_by_pod():
    whole = {"limits": {"cpu": "100m", "memory": "100Mi"}, "requests": {"cpu": "20m", "memory": "64Mi"}}
    spec = made({"resources": whole, "containers": [container(), container(resources={"requests": {"cpu": "5m"}})]})
    assert spec["resources"] == whole
    assert [one["resources"] for one in spec["containers"]] == [{}, {"requests": {"cpu": "5m"}}]


@pytest.mark.parametrize(
    ("whole", "more", "limit"),
    [
        ({"requests": {"memory": "1Gi"}}, {}, "1Gi"),
        ({"requests": {"memory": "1Mi"}}, {}, str(2 * 128 * 1024**2)),
        (
            {"requests": {"memory": "1Mi"}},
            {"initContainers": [container(resources={"limits": {"memory": "1Gi"}})]},
            str(1024**3),
        ),
        (
            {"requests": {"memory": "1Mi"}},
            {"initContainers": [container(restartPolicy="Always")]},
            str(3 * 128 * 1024**2),
        ),
    ],
)
def test_fill_limits_requests_of_pod(whole, more, limit):
    """Otherwise the quota would not limit the other resources of a pod that sets pod-level resources."""
    spec = made({"resources": whole, "containers": [container(), container()], **more})
    assert spec["resources"] == {**whole, "limits": {"memory": limit}}
    assert all("memory" not in one["resources"].get("limits", {}) for one in spec["containers"])
    assert all(one["resources"]["limits"] == {"cpu": "100m"} for one in spec["containers"])


def test_fill_uses_defaults_of_virtual_cluster():
    given = {"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "512Mi"}}
    assert pod_defaults.completed(None, given) == given


OF_K3S = {"cpu": "100m", "memory": "70Mi"}
DNS = {"k8s-app": "kube-dns"}


@pytest.mark.parametrize(
    ("namespace", "labels", "asked", "requests"),
    [
        ("kube-system", DNS, OF_K3S, {"cpu": "10m", "memory": "20Mi"}),
        ("kube-system", DNS, {**OF_K3S, "cpu": "200m"}, {**OF_K3S, "cpu": "200m"}),
        ("kube-system", {}, OF_K3S, OF_K3S),
        ("shop", DNS, OF_K3S, OF_K3S),
    ],
)
def test_fill_lowers_only_the_requests_of_dns_as_k3s_sets_them(namespace, labels, asked, requests):
    resources = {"limits": {"memory": "170Mi"}, "requests": asked}
    given = pod({"containers": [container(resources=resources)]}, namespace=namespace, labels=labels)
    (one,) = pod_spec.host_pod(given, POD_CONTEXT)["spec"]["containers"]
    assert one["resources"]["requests"] == requests
    assert one["resources"]["limits"]["memory"] == "170Mi"
