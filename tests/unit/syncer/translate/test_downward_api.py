from __future__ import annotations

import re

import pytest
from tenantry_syncer.translate import downward_api

from ..objects import container, pod


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('say "hi"', r'"say \"hi\""'),
        ("back\\slash", r'"back\\slash"'),
        ("\a\b\f\n\r\t\v", r'"\a\b\f\n\r\t\v"'),
        ("\x00\x1f\x7f", r'"\x00\x1f\x7f"'),
        ("grün ☃ 你 \U0001f600", '"grün ☃ 你 \U0001f600"'),
        ("\x85\u200b\ufeff\u00a0\u2028", r'"\u0085\u200b\ufeff\u00a0\u2028"'),
        ("\U000e0001", r'"\U000e0001"'),
        ("'</script>&", '"\'</script>&"'),
    ],
)
def test_value_quotes_maps_as_kubelet(text, quoted):
    """The expected values are those of Go's strconv.Quote."""
    for field in ("labels", "annotations"):
        assert downward_api.value(pod(**{field: {"b": text, "a": "1"}}), f"metadata.{field}") == f'a="1"\nb={quoted}'


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "web-0"),
        ("metadata.namespace", "shop"),
        ("metadata.uid", "1-2-3"),
        ("spec.serviceAccountName", "builder"),
        ("metadata.labels", 'app="web"'),
        ("metadata.labels['app']", "web"),
        ("metadata.labels['none']", ""),
        ("metadata.annotations['example.com/a[b]c']", "deep"),
        ("metadata.annotations['x']['y']", ""),
        ("metadata.annotations['tenantry.dev/uid']", ""),
        ("spec.containers", ""),
        ("status", ""),
    ],
)
def test_value_is_that_of_virtual_pod(path, value):
    asked = pod(labels={"app": "web"}, annotations={"example.com/a[b]c": "deep"})
    assert downward_api.value(asked, path) == value


@pytest.mark.parametrize("path", ["spec.nodeName", "status.podIP", "status.podIPs", "status.hostIP"])
def test_reference_host_field_is_unchanged(path):
    given = {"apiVersion": "v1", "fieldPath": path}
    assert downward_api.reference(given) == given


@pytest.mark.parametrize(
    "path",
    [
        "metadata.name",
        "metadata.annotations",
        "metadata.annotations['tenantry.dev/renew']",
        "metadata.annotations['x'] or metadata.annotations['y']",
        "metadata.labels['tenantry.dev/tenant']",
        "metadata.annotations['\"']",
        "spec.serviceAccountName",
        "x" * 5000,
    ],
)
def test_reference_other_field_is_translated(path):
    made = downward_api.reference({"fieldPath": path})["fieldPath"]
    assert re.fullmatch(r"metadata\.annotations\['downward\.tenantry\.dev/[0-9a-f]{10}'\]", made)


def test_pod_annotations_for_every_reference():
    def send_request(path):
        return {"name": "x", "valueFrom": {"fieldRef": {"fieldPath": path}}}

    def item(path):
        return {"path": "x", "fieldRef": {"fieldPath": path}}

    limit = {"path": "cpu", "resourceFieldRef": {"resource": "limits.cpu", "containerName": "web"}}
    asked = pod(
        {
            "initContainers": [container(env=[send_request("metadata.name")])],
            "containers": [
                container(
                    env=[send_request("metadata.namespace"), send_request("status.podIP"), {"name": "y", "value": "z"}]
                )
            ],
            "ephemeralContainers": [container(env=[send_request("metadata.uid")])],
            "volumes": [
                {"name": "a", "downwardAPI": {"items": [item("metadata.labels"), limit]}},
                {"name": "b", "projected": {"sources": [{"downwardAPI": {"items": [item("metadata.annotations")]}}]}},
            ],
        },
        labels={"app": "web"},
    )
    made = downward_api.pod_annotations(asked)
    assert sorted(made.values()) == ["", "1-2-3", 'app="web"', "shop", "web-0"]
    for path in ("metadata.name", "metadata.labels", "metadata.uid"):
        reference = downward_api.reference({"fieldPath": path})["fieldPath"]
        assert made[reference.split("'")[1]] == downward_api.value(asked, path)
