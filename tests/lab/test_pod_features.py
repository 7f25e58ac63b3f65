"""What pods have got from Kubernetes 1.33 to 1.37 works in a virtual cluster, or is refused with a reason."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .harness import RELEASE, minor_of, until
from .space import IN_BOTH_MODES, WAIT, Space, made_space
from .test_pod_behaviour import SHELL, SMALL, container, make, ready


@pytest.fixture(scope="module", params=IN_BOTH_MODES)
def space(request: pytest.FixtureRequest, site: object) -> Iterator[Space]:
    with made_space(request.param, "features") as found:
        yield found


def test_a_sidecar_a_file_of_variables_an_image_and_any_name_of_a_variable(space: Space) -> None:
    data = {"name": "data", "mountPath": "/data"}
    from_file = {"fileKeyRef": {"volumeName": "data", "path": "variables", "key": "GREETING"}}
    make(
        space,
        "features",
        container(
            env=[{"name": "GREETING", "valueFrom": from_file}, {"name": "1.any name", "value": "relaxed"}],
            volumeMounts=[{"name": "tools", "mountPath": "/tools"}],
        ),
        initContainers=[
            container("write", "/data/variables", "GREETING='hello'\n", name="first", volumeMounts=[data]),
            container("serve", "--port", "8081", name="sidecar", restartPolicy="Always"),
        ],
        securityContext={"supplementalGroups": [4711], "supplementalGroupsPolicy": "Strict", "runAsUser": 0},
        volumes=[{"name": "data", "emptyDir": {}}, {"name": "tools", "image": {"reference": SHELL}}],
    )
    ready(space, "features")
    variables = space("exec", "features", "-c", "a", "--", "/web", "env")
    assert "GREETING=hello" in variables
    assert "1.any name=relaxed" in variables
    assert "Debian" in space("exec", "features", "-c", "a", "--", "/web", "cat", "/tools/etc/os-release")
    assert space("exec", "features", "-c", "a", "--", "/web", "get", "http://127.0.0.1:8081/")
    statuses = space.json("pod", "features")["status"]["initContainerStatuses"]
    assert [one["ready"] for one in statuses] == [True, True]
    space("delete", "pod", "features", WAIT)


def test_a_container_is_resized_without_a_restart(space: Space) -> None:
    make(space, "grows")
    ready(space, "grows")
    more = {"limits": {"cpu": "150m", "memory": "48Mi"}, "requests": SMALL["requests"]}
    change = json.dumps({"spec": {"containers": [{"name": "a", "resources": more}]}})
    space("patch", "pod", "grows", "--subresource=resize", "-p", change)

    def status() -> dict:
        return space.json("pod", "grows")["status"]["containerStatuses"][0]

    until(lambda: more["limits"].items() <= status()["resources"]["limits"].items())
    assert status()["restartCount"] == 0
    space("delete", "pod", "grows", WAIT)


def test_a_pod_is_resized_as_a_whole_without_a_restart(space: Space) -> None:
    if minor_of(RELEASE) < 36:
        pytest.skip("Kubernetes resizes whole pods from 1.36 on")

    def whole(memory: str) -> dict:
        return {"limits": {"cpu": "200m", "memory": memory}, "requests": SMALL["requests"]}

    make(space, "whole", resources=whole("48Mi"))
    ready(space, "whole")
    space("patch", "pod", "whole", "--subresource=resize", "-p", json.dumps({"spec": {"resources": whole("64Mi")}}))

    def status() -> dict:
        return space.json("pod", "whole")["status"]

    until(lambda: status().get("resources", {}).get("limits", {}).get("memory") == "64Mi")
    assert status()["containerStatuses"][0]["restartCount"] == 0
    space("delete", "pod", "whole", WAIT)


def test_a_certificate_for_a_pod_is_refused(space: Space) -> None:
    """Its signer would be the virtual cluster's, and the kubelet that asks is the host's."""
    if not space.shared:
        pytest.skip("a virtual cluster with nodes of its own has kubelets of its own")
    source = {"podCertificate": {"signerName": "example.com/any", "keyType": "ED25519", "credentialBundlePath": "all"}}
    make(space, "certified", volumes=[{"name": "own", "projected": {"sources": [source]}}])
    assert "podCertificate" in space.warning("certified")
    space("delete", "pod", "certified", WAIT)
