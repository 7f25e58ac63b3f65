"""The host's admission policy for syncers matches the syncer."""

from __future__ import annotations

import re

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import NAMESPACE_LABEL
from ansible_collections.tenantry.kube.plugins.module_utils._platform import (
    admission_policies_syncer,
)
from tenantry_syncer import naming
from tenantry_syncer.controllers import config_maps_and_secrets
from tenantry_syncer.translate import downward_api, pod, pod_scheduling, pod_volumes, service_variables


def test_tolerations_and_grace_period_match() -> None:
    assert admission_policies_syncer.TOLERATIONS == pod_scheduling._TOLERATIONS
    assert admission_policies_syncer.LONGEST_GRACE == pod.LONGEST_GRACE


def test_secret_types_match() -> None:
    assert ("Opaque", *config_maps_and_secrets._TYPES) == admission_policies_syncer._SECRET_TYPES


def test_annotation_prefixes_match() -> None:
    own = admission_policies_syncer._ANNOTATIONS
    written = (naming.NAMESPACE, naming.NAME, naming.UID, downward_api.ANNOTATION, naming.NAMESPACE_LABEL)
    assert [key for key in written if not key.startswith(own)] == []


@pytest.mark.parametrize("name", ["web", "a" * 63, "kube-dns", "server-0", "x--y"])
def test_host_name_matches_policy(name: str) -> None:
    found = [
        naming.host_name("default", name),
        naming.host_name("default", name, "uid"),
        pod_volumes.token_secret(naming.host_name("default", name)),
        *(service_variables.host_name(name, variant) for variant in service_variables.VARIANTS),
    ]
    assert [one for one in found if not re.search(admission_policies_syncer._HASHED, one)] == []


@pytest.mark.parametrize(
    "name", ["api", "kubernetes", "dns", "etcd", "server-0", "syncer-0", "join-token", "kube-root-ca.crt", "etcd-0"]
)
def test_platform_name_does_not_match_policy(name: str) -> None:
    assert not re.search(admission_policies_syncer._HASHED, name)


def test_selector_label_matches() -> None:
    assert naming.NAMESPACE_LABEL == NAMESPACE_LABEL


def test_pod_update_allowed_after_tier_change() -> None:
    """Its priority class is that of the tier at its creation and never changes."""
    kept = "request.operation == 'UPDATE' && object.spec.?priorityClassName.orValue('') == oldObject.spec"
    assert kept in admission_policies_syncer._place()


def test_claim_without_class_is_not_offered() -> None:
    """Kubernetes sets the default class later, once there is one."""
    rule = admission_policies_syncer._offered_class()
    assert "storageClassName.orValue('-') in" in rule
    assert "storageClassName.orValue('') in" not in rule
