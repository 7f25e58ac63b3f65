"""What pods have got from Kubernetes 1.33 to 1.37 works in a virtual cluster, or is refused with a reason."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator

import pytest
import yaml

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


def test_trust_bundles_by_name_and_by_signer(space: Space) -> None:
    if minor_of(RELEASE) < 37:
        pytest.skip("Kubernetes serves ClusterTrustBundles by default from 1.37 on")
    config = yaml.safe_load(space.kubeconfig.read_text())
    ca = base64.b64decode(config["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    signer, named = "example.com/any", f"ca-{space.name}"
    labels = {"space": space.name}
    bundles = [
        {"metadata": {"name": named}, "spec": {"trustBundle": ca}},
        {
            "metadata": {"name": f"example.com:any:{space.name}", "labels": labels},
            "spec": {"signerName": signer, "trustBundle": f"# a comment\n{ca}"},
        },
    ]
    space.create(*({"apiVersion": "certificates.k8s.io/v1", "kind": "ClusterTrustBundle", **one} for one in bundles))
    sources = [
        {"name": named, "path": "named"},
        {"signerName": signer, "labelSelector": {"matchLabels": labels}, "path": "signed"},
        {"signerName": signer, "path": "none", "optional": True},
    ]
    projected = {"sources": [{"clusterTrustBundle": one} for one in sources]}
    one = container("serve", volumeMounts=[{"name": "t", "mountPath": "/t"}])
    make(space, "trusting", one, volumes=[{"name": "t", "projected": projected}])
    ready(space, "trusting")
    for path, expected in (("named", ca), ("signed", ca), ("none", "")):
        assert space("exec", "trusting", "--", "/web", "cat", f"/t/{path}").strip() == expected.strip()
    space("delete", "pod", "trusting", WAIT)
    space("delete", "clustertrustbundles", named, f"example.com:any:{space.name}")
