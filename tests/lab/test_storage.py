"""What applications store stays: in both modes a pod finds its data again, and what is given up is freed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import ROOT, until
from .space import IN_BOTH_MODES, WAIT, Space, made_space, volumes

STORAGE = ROOT / "tests/lab/data/storage.yml"
MEMBERS = ("data-store-0", "data-store-1")
SCRATCH = "client-scratch"
SIZES = {**dict.fromkeys(MEMBERS, "16Mi"), SCRATCH: "8Mi"}


@pytest.fixture(scope="module", params=IN_BOTH_MODES)
def space(request: pytest.FixtureRequest, site: object) -> Iterator[Space]:
    """With all of it applied and rolled out, and a note written on each volume."""
    with made_space(request.param, "storage") as found, volumes(found, SIZES):
        found("apply", "-f", str(STORAGE))
        found("rollout", "status", "statefulset/store", WAIT)
        found("wait", "--for=condition=Ready", "pod/client", WAIT)
        for pod in ("store-0", "store-1"):
            found("exec", pod, "--", "/web", "write", "/data/note", f"note of {pod}")
        yield found


def read_again(space: Space) -> bool:
    """Whether another pod gets the notes from the members, by their names; DNS may remember old addresses a while."""
    url = "http://store-{}.stores:8080/file?path=/data/note"
    found = [space.try_("exec", "client", "--", "/web", "get", url.format(number)).stdout for number in (0, 1)]
    return found == ["note of store-0", "note of store-1"]


def claims_on_host(space: Space, hub: Path) -> list[dict]:
    return space.copies(hub, "persistentvolumeclaims")


def test_claims_are_bound_and_show_their_size(space: Space) -> None:
    found = {claim["metadata"]["name"]: claim for claim in space.json("persistentvolumeclaims")["items"]}
    assert {name: claim["status"]["capacity"]["storage"] for name, claim in found.items()} == SIZES
    assert {claim["status"]["phase"] for claim in found.values()} == {"Bound"}
    assert all(claim["spec"]["volumeName"] for claim in found.values())
    assert found[SCRATCH]["metadata"]["ownerReferences"][0]["name"] == "client"


def test_data_outlives_pods(space: Space) -> None:
    until(lambda: read_again(space))
    space("delete", "pods", "-l", "app=store", WAIT)
    space("rollout", "status", "statefulset/store", WAIT)
    until(lambda: read_again(space))


def test_data_outlives_scaling(space: Space) -> None:
    space("scale", "statefulset/store", "--replicas=0")
    space("wait", "--for=delete", "pod", "-l", "app=store", WAIT)
    assert {*MEMBERS} <= {claim["metadata"]["name"] for claim in space.json("persistentvolumeclaims")["items"]}
    space("scale", "statefulset/store", "--replicas=2")
    space("rollout", "status", "statefulset/store", WAIT)
    until(lambda: read_again(space))


def test_what_is_given_up_is_freed(space: Space, hub: Path) -> None:
    """An ephemeral volume goes with its pod, a claim when it is deleted; on the host too."""
    if space.shared:
        assert len(claims_on_host(space, hub)) == len(SIZES)
    space("exec", "client", "--", "/web", "write", "/scratch/note", "x")
    space("delete", "pod", "client", WAIT)
    space("wait", "--for=delete", f"persistentvolumeclaim/{SCRATCH}", WAIT)
    assert {claim["metadata"]["name"] for claim in space.json("persistentvolumeclaims")["items"]} == {*MEMBERS}
    space("delete", "statefulset/store", WAIT)
    space("delete", "persistentvolumeclaims", "--all", WAIT)
    if space.shared:
        until(lambda: not claims_on_host(space, hub))
