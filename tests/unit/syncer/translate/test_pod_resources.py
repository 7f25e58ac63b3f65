"""Which resources a pod may request."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tenantry_syncer.translate import pod as pod_spec

from ..objects import CONFIG, POD_CONTEXT, container, pod

GPU = "nvidia.com/gpu"
WITH_GPU = replace(POD_CONTEXT, config=replace(CONFIG, extended=(GPU,)))


@pytest.mark.parametrize("group", ["containers", "initContainers"])
@pytest.mark.parametrize("kind", ["requests", "limits"])
@pytest.mark.parametrize("name", ["example.com/gpu", GPU, "hugepages-2Mi", "storage", "attachable-volumes-csi"])
def test_resource_without_quota_is_rejected(group, kind, name):
    spec = {group: [container(resources={kind: {"cpu": "1", name: "1000"}})]}
    with pytest.raises(
        pod_spec.RejectedSpec, match=rf"container web: resources\.{kind}: {name} is not offered\. Use cpu"
    ):
        pod_spec.host_pod(pod(spec), POD_CONTEXT)


def test_resource_with_quota_passes():
    given = {"limits": {"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi", GPU: "1"}}
    made = pod_spec.host_pod(pod({"containers": [container(resources=given)]}), WITH_GPU)
    assert made["spec"]["containers"][0]["resources"]["limits"] == given["limits"]


def test_pod_level_resource_is_rejected():
    with pytest.raises(pod_spec.RejectedSpec, match=r"spec: resources\.limits: hugepages-2Mi"):
        pod_spec.host_pod(pod({"resources": {"limits": {"hugepages-2Mi": "2Mi"}}}), POD_CONTEXT)


@pytest.mark.parametrize(
    "spec",
    [
        {"resourceClaims": [{"name": "gpu", "resourceClaimName": "theirs"}]},
        {"containers": [container(resources={"claims": [{"name": "gpu"}]})]},
    ],
)
def test_device_claims_are_rejected(spec):
    with pytest.raises(pod_spec.RejectedSpec, match="dynamic resource allocation is not supported"):
        pod_spec.host_pod(pod(spec), POD_CONTEXT)


def test_group_of_the_hosts_scheduler_is_rejected():
    with pytest.raises(pod_spec.RejectedSpec, match=r"spec\.schedulingGroup: scheduling as a group is not supported"):
        pod_spec.host_pod(pod({"schedulingGroup": {"podGroupName": "theirs"}}), POD_CONTEXT)
