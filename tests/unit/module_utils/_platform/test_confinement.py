"""The policy that confines the platform's account. What an API server denies by it is in tests/lab/security."""

from __future__ import annotations

from ansible_collections.tenantry.kube.plugins.module_utils._platform import confinement


def test_namespaces_of_tenants_are_open_on_a_hub_only() -> None:
    member, hub = (
        str(confinement.policy(component, tenants=tenants))
        for component, tenants in (("member", False), ("platform", True))
    )
    assert "startsWith('tenant-')" in hub
    assert "startsWith('tenant-')" not in member
    assert "system:serviceaccount:tenantry-system:tenantry-platform" in member
