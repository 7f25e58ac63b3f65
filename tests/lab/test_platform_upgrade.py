"""The hub itself from the oldest of the lab's builds to the newest by the role `platform`, while tenants' pods go on.

On it are a virtual cluster of the oldest release and one of the newest, so the host is both older and newer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from .harness import lab, minors_from, ran
from .own_site import OwnSite, own_site
from .tenantry_lab.config import BUILDS
from .test_site import changed
from .test_vcluster import version

MACHINE, TENANT = "aging", "ladder"
RELEASES = tuple(reversed(BUILDS))
GUESTS = {"oldest": RELEASES[0], "newest": RELEASES[-1]}

pytestmark = pytest.mark.nightly


def processes(site: OwnSite) -> dict[str, list[str]]:
    """Of the tenant's pods on the hub: their containers, which a restart would replace."""
    found = json.loads(ran(site.hub, "get", "pods", "-A", "-l", "app.kubernetes.io/managed-by", "-o", "json"))
    return {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": [
            one["containerID"] for one in pod["status"]["containerStatuses"]
        ]
        for pod in found["items"]
        if "-default-" in pod["metadata"]["name"]
    }


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnSite]:
    for release in RELEASES[:-1]:
        lab("build", "--k3s", release)
    vclusters = [{"name": name, "version": release} for name, release in GUESTS.items()]
    with own_site(tmp_path_factory.mktemp("aging"), MACHINE, TENANT, vclusters) as found:
        yield found


def test_a_hub_of_the_oldest_release_carries_virtual_clusters_of_any(site: OwnSite) -> None:
    site.run("site", RELEASES[0])
    assert version(site.hub) == RELEASES[0]
    for name, release in GUESTS.items():
        guest = site.guest(name)
        assert version(guest.kubeconfig) == release
        guest.serve("first")
        guest("wait", "pod/first", "--for=condition=Ready", "--timeout=120s")


@pytest.mark.parametrize("release", RELEASES[1:])
def test_the_next_minor_ends_no_pod_of_a_tenant(site: OwnSite, release: str) -> None:
    before = processes(site)
    assert len(before) >= len(GUESTS)
    site.run("platform", release)
    assert version(site.hub) == release
    assert processes(site) == before
    for name, of in GUESTS.items():
        guest = site.guest(name)
        guest("wait", "pod/first", "--for=condition=Ready", "--timeout=120s")
        assert version(guest.kubeconfig) == of
        pod = "on-1-" + release.split(".")[1]
        guest.serve(pod)
        guest("wait", f"pod/{pod}", "--for=condition=Ready", "--timeout=120s")
        assert guest("exec", pod, "--", "/web", "get", "http://first:8080/")
    assert set(changed(site.run("site", release)).values()) == {0}


def test_a_minor_is_not_skipped_nor_gone_back(site: OwnSite) -> None:
    now = RELEASES[-1]
    for release, reason in ((RELEASES[0], "cannot be downgraded"), (minors_from(now, 2), "skips a minor version")):
        assert reason in " ".join(site.run("platform", release, check=False).split())
        assert version(site.hub) == now
