"""What a host tells about its networks."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    LONGEST_MESSAGE,
    ApiError,
    TenantryError,
    api_error,
)
from ansible_collections.tenantry.kube.plugins.module_utils._fleet.host_networks import service_network
from kubernetes.client.exceptions import ApiException


class Asked:
    """A host that tells its ServiceCIDRs or, for the status given, refuses and answers a Service so."""

    name = "edge"

    def __init__(self, cidrs: list[list[str]] | int, answer: TenantryError | None = None) -> None:
        self.cidrs, self.answer, self.created = cidrs, answer, []

    def list(self, kind: str) -> list[dict]:
        assert kind == "networking.k8s.io/v1/ServiceCIDR"
        if isinstance(self.cidrs, int):
            raise ApiError("listing ServiceCIDRs", self.cidrs)
        return [{"spec": {"cidrs": cidrs}} for cidrs in self.cidrs]

    def create(self, obj: dict, *, dry_run: bool) -> None:
        assert dry_run
        self.created.append(obj)
        if self.answer:
            raise self.answer


def told(network: str) -> TenantryError:
    """As an API server of Kubernetes 1.32 words it, behind what an admission webhook added to the message."""
    refused = ApiException(status=422)
    message = (
        f'Service "x" is invalid: {"a" * LONGEST_MESSAGE} spec.clusterIPs: Invalid value: ["240.0.0.1"]: failed to '
        f"allocate: the provided IP is not in the valid range. The range of valid IPs is {network}"
    )
    refused.body = json.dumps({"kind": "Status", "message": message})
    return api_error(refused, "creating v1/Service")


@pytest.mark.parametrize("cidrs", [[["10.43.0.0/16"]], [["fd00::/112", "10.43.0.0/16"]]])
def test_a_host_tells_its_service_network(cidrs):
    host = Asked(cidrs)
    assert service_network(host) == "10.43.0.0/16"
    assert host.created == []


@pytest.mark.parametrize("status", [403, 404])
def test_an_older_host_tells_it_by_a_refusal(status):
    host = Asked(status, told("10.96.0.0/12"))
    assert service_network(host) == "10.96.0.0/12"
    assert [obj["metadata"]["namespace"] for obj in host.created] == ["tenantry-system"]


@pytest.mark.parametrize(
    ("host", "said"),
    [
        (Asked([["10.43.0.0/16"], ["10.44.0.0/16"]]), "10.43.0.0/16, 10.44.0.0/16"),
        (Asked([["fd00::/112"]]), "none"),
        (Asked(404), "none"),
        (Asked(403, ApiError("creating v1/Service: 403 forbidden", 403)), "join it again"),
    ],
)
def test_a_host_without_one_service_network_cannot_share(host, said):
    with pytest.raises(TenantryError, match="mode: shared needs") as refused:
        service_network(host)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_host_that_does_not_answer_is_not_asked_in_another_way():
    host = Asked(503, told("10.96.0.0/12"))
    with pytest.raises(ApiError, match="listing"):
        service_network(host)
    assert host.created == []
