"""What kubelets pass on of containers, in both modes. exec and port-forward are in test_workloads.py."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from .harness import KUBECTL
from .space import IN_BOTH_MODES, WAIT, Space, made_space

IMAGE = "docker.io/lab/web:1"


@pytest.fixture(scope="module", params=IN_BOTH_MODES)
def space(request: pytest.FixtureRequest, site: object) -> Iterator[Space]:
    """With the pod `client`."""
    with made_space(request.param, "streams") as found:
        found.create(_pod("client", "sleep"))
        found("wait", "--for=condition=Ready", "pod/client", WAIT)
        yield found


def _pod(name: str, *words: str, restart: str = "Never", **fields: object) -> dict:
    container = {"name": "main", "image": IMAGE, "args": list(words), **fields}
    spec = {"containers": [container], "restartPolicy": restart}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def test_attach_and_the_log_of_the_container_before(space: Space) -> None:
    """The program ends with its standard input; in its next life it waits for somebody else's."""
    space.create(_pod("listener", "echo", restart="Always", stdin=True, stdinOnce=True))
    space("wait", "--for=condition=Ready", "pod/listener", WAIT)
    sent = "".join(f"line {number}\n" for number in range(1000))
    assert space("attach", "-i", "listener", stdin=sent) == sent
    space("wait", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "pod/listener", WAIT)
    assert space("logs", "listener", "--previous") == sent
    assert space("logs", "listener") == ""


def test_followed_log_ends_with_the_container(space: Space) -> None:
    space.create(_pod("talker", "serve"))
    space("wait", "--for=condition=Ready", "pod/talker", WAIT)
    address = space.json("pod", "talker")["status"]["podIP"]
    command = [KUBECTL, "--kubeconfig", space.kubeconfig, "-n", space.name, "logs", "--follow", "talker"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follow:
        for text in ("one", "two"):
            space.in_client("get", f"http://{address}:8080/print?text={text}")
            while (line := follow.stdout.readline()).strip() != text:
                assert line, f"the log ended before {text!r}"
        space("delete", "pod", "talker", WAIT)
        assert "one" not in follow.stdout.read()
        assert follow.wait(timeout=30) == 0
