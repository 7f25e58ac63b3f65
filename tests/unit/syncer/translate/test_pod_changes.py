"""Changes of a running pod."""

from __future__ import annotations

import pytest
from tenantry_syncer import naming
from tenantry_syncer.translate import pod_changes
from tenantry_syncer.translate.pod import host_pod

from ..objects import CONFIG, POD_CONTEXT, container, pod


def living(asked: dict) -> dict:
    """Return the host pod of this pod, with additions of programs on the host."""
    made = host_pod(asked, POD_CONTEXT)
    made["metadata"]["annotations"]["cni.example.com/status"] = "up"
    made["metadata"]["labels"]["mesh.example.com/injected"] = "yes"
    made["spec"]["containers"].append({"name": "mesh", "image": "mesh:1"})
    return made


def patches(virtual: dict, host: dict) -> list[tuple]:
    return list(pod_changes.patches(virtual, host, CONFIG))


def test_patches_without_change_are_empty():
    asked = pod(labels={"app": "web"})
    assert patches(asked, living(asked)) == []


def test_patches_are_separate_for_each_change():
    field = {"name": "L", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}}
    two = [container(env=[field]), container(name="two")]
    before = pod({"containers": two, "initContainers": [container(name="first")]}, labels={"app": "web", "old": "1"})
    after = pod(
        {
            "containers": [{**two[0], "image": "web:2"}, {**two[1], "resources": {"limits": {"cpu": "2"}}}],
            "initContainers": [container(name="first", image="first:2")],
            "activeDeadlineSeconds": 9,
            "readinessGates": [{"conditionType": "example.com/ready"}],
        },
        labels={"app": "shop", "tenantry.dev/tenant": "bank"},
        annotations={"cni.example.com/status": "crafted"},
    )
    gate = {"type": "example.com/ready", "status": "True"}
    after["status"] = {"conditions": [gate]}
    (metadata,), *others = patches(after, living(before))
    assert metadata["metadata"]["labels"] == {
        "x.tenantry.dev/app": "shop",
        "x.tenantry.dev/old": None,
        naming.label_key("tenantry.dev/tenant"): "bank",
    }
    assert list(metadata["metadata"]["annotations"].values()) == ["shop"]
    assert all(key.startswith("downward.tenantry.dev/") for key in metadata["metadata"]["annotations"])
    filled = {"limits": {"cpu": "2", "memory": "128Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}}
    assert others == [
        ({"spec": {"initContainers": [{"name": "first", "image": "first:2"}]}},),
        ({"spec": {"containers": [{"name": "web", "image": "web:2"}]}},),
        ({"spec": {"activeDeadlineSeconds": 9}},),
        ({"spec": {"containers": [{"name": "two", "resources": filled}]}}, "resize"),
        ({"status": {"conditions": [gate]}}, "status"),
    ]


def test_ephemeral_returns_new_containers_once():
    asked = pod({"ephemeralContainers": [container(name="debug", env=[])]})
    there = living(asked)
    assert [one["name"] for one in pod_changes.ephemeral(asked, there)] == ["debug"]
    there["spec"]["ephemeralContainers"] = [{"name": "debug"}]
    assert pod_changes.ephemeral(asked, there) == []


FILLED = {"limits": {"cpu": "100m", "memory": "128Mi"}, "requests": {"cpu": "50m", "memory": "64Mi"}}


@pytest.mark.parametrize(
    ("wanted", "there", "resized"),
    [
        ({"limits": {"cpu": "2"}}, FILLED, {**FILLED, "limits": {"cpu": "2", "memory": "128Mi"}}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "1"}}, None),
        # Defaults follow the requested values.
        (
            {"requests": {"memory": "256Mi"}},
            FILLED,
            {"limits": {"cpu": "100m", "memory": "256Mi"}, "requests": {"cpu": "50m", "memory": "256Mi"}},
        ),
        ({}, {"limits": {"cpu": "100m"}}, None),
        ({}, {"limits": {"cpu": "7", "memory": "1Gi"}}, None),  # from other defaults than the current ones
    ],
)
def test_patches_resize(wanted, there, resized):
    asked, host = pod({"containers": [container(resources=wanted)]}), living(pod())
    host["spec"]["containers"][0]["resources"] = there
    found = [body["spec"]["containers"][0]["resources"] for body, *_subresource in patches(asked, host)]
    assert found == ([resized] if resized else [])


def test_patches_resize_omits_limits_set_by_pod():
    whole = {"limits": {"cpu": "1", "memory": "1Gi"}}
    before = pod({"resources": whole, "containers": [container(resources={"requests": {"cpu": "5m"}})]})
    after = pod({"resources": whole, "containers": [container(resources={"requests": {"cpu": "6m"}})]})
    ((body, subresource),) = patches(after, living(before))
    assert (body["spec"]["containers"][0]["resources"], subresource) == ({"requests": {"cpu": "6m"}}, "resize")


def test_patches_resize_a_pod_with_its_containers_at_once():
    """A container may not have more than the pod, whichever of both would be changed first."""
    small, large = ({"limits": {"memory": size}, "requests": {"memory": "64Mi"}} for size in ("128Mi", "256Mi"))
    before, after = (pod({"resources": each, "containers": [container(resources=each)]}) for each in (small, large))
    defaults = {"limits": {"cpu": "100m"}, "requests": {"cpu": "50m"}}
    ((body, subresource),) = patches(after, living(before))
    assert subresource == "resize"
    assert body["spec"]["resources"] == large
    (resized,) = body["spec"]["containers"]
    assert resized["resources"] == {kind: {**amounts, **defaults[kind]} for kind, amounts in large.items()}


def test_patches_resize_a_pod_that_only_requests():
    """The host's quota counts limits, so the limit follows the request."""
    before, after = (pod({"resources": {"requests": {"memory": size}}}) for size in ("200Mi", "300Mi"))
    ((body, _subresource),) = patches(after, living(before))
    assert body == {"spec": {"resources": {"limits": {"memory": "300Mi"}, "requests": {"memory": "300Mi"}}}}


def test_patches_resize_init_containers():
    before, after = (
        pod({"initContainers": [container(name="first", resources={"limits": {"cpu": cpu}})]}) for cpu in ("1", "2")
    )
    ((body, subresource),) = patches(after, living(before))
    assert (body["spec"]["initContainers"][0]["resources"]["limits"]["cpu"], subresource) == ("2", "resize")


def test_patches_add_tolerations_of_node_conditions():
    def tolerating(*given: tuple[str, int]) -> dict:
        return pod(
            {
                "tolerations": [
                    {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}
                    for key, seconds in given
                ]
            }
        )

    lost, unready = "node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready"
    there = living(tolerating((lost, 300), (unready, 300)))
    assert patches(tolerating((lost, 300), (unready, 300), ("example.com/any", 1)), there) == []
    ((change,),) = patches(tolerating((lost, 20), (unready, 300)), there)
    assert [(one["key"], one["tolerationSeconds"]) for one in change["spec"]["tolerations"]] == [
        (lost, 20),
        (unready, 300),
    ]


@pytest.mark.parametrize(("before", "after"), [((300,), (300, None)), ((10, 20), (30, 20)), ((20, 10), (10,))])
def test_patched_tolerations_of_one_taint_need_no_other_patch(before: tuple, after: tuple) -> None:
    """The API allows two tolerations of one taint that differ in time only."""

    def tolerating(times: tuple) -> dict:
        taint = {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
        return pod({"tolerations": [taint if one is None else {**taint, "tolerationSeconds": one} for one in times]})

    there = living(tolerating(before))
    for (change,) in patches(tolerating(after), there):
        there["spec"] |= change["spec"]
    assert patches(tolerating(after), there) == []


def test_patches_leave_the_requests_of_dns():
    of_k3s = container(resources={"requests": {"cpu": "100m", "memory": "70Mi"}, "limits": {"memory": "170Mi"}})
    dns = pod({"containers": [of_k3s]}, namespace="kube-system", labels={"k8s-app": "kube-dns"})
    current, earlier = living(dns), living(dns)
    earlier["spec"]["containers"][0]["resources"]["requests"] |= {"cpu": "100m", "memory": "70Mi"}
    assert (patches(dns, current), patches(dns, earlier)) == ([], [])
    dns["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "200m"
    ((body, _resize),) = patches(dns, current)
    assert body["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "200m"
