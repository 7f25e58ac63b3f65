"""What an administrator adds to k3s, and what the platform hardens."""

from __future__ import annotations

import json

import pytest
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import agent as _render_agent
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import api_server as _render_hardening
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.manifests import server as _render_server
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.cluster import parse
from ansible_collections.tenantry.kube.plugins.module_utils._vcluster.spec.k3s import (
    AGENT_KEYS,
    MANAGED,
    SERVER_KEYS,
    merged_arguments,
)

from .example import SHARED, make_item, render

OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "greeting"}, "data": {"text": "hello"}}


@pytest.mark.parametrize(
    ("item", "told"),
    [
        ({"k3s_config": {"tls-san": ["x"]}}, "k3s_config.tls-san: is set by the platform; use the option expose"),
        ({"k3s_config": {"token": "x"}}, "k3s_config.token: is set by the platform; leave it out"),
        ({"k3s_config": {"kube-api-server-arg": []}}, "did you mean kube-apiserver-arg"),
        ({"k3s_config": {"debug": {"a": 1}}}, "k3s_config.debug: must be text"),
        ({"k3s_config": {"kube-apiserver-arg": "v=2"}}, "must be a list of flag=value"),
        ({"k3s_config": {"kube-apiserver-arg": ["v"]}}, "must be a list of flag=value"),
        ({"k3s_config": {"kube-apiserver-arg": ["--token-auth-file=/x"]}}, "token-auth-file is set by the platform"),
        ({"k3s_config": {"kubelet-arg": ["system-reserved=cpu=1"]}}, "system-reserved is set by the platform"),
        ({"agents": 0, "k3s_config": {"node-label": ["a=b"]}}, "k3s_config.node-label: is for agents"),
        ({"manifests": [OBJECT, {"kind": "Pod"}]}, "manifests: item 2 is no object"),
        ({"manifests": [{**OBJECT, "data": {"text": "x" * 600_000}}]}, "bytes are too many"),
    ],
)
def test_bad_input_is_one_line_with_option_and_rule(item: dict, told: str) -> None:
    with pytest.raises(TenantryError) as caught:
        parse(make_item(**item))
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_ours_cannot_be_given() -> None:
    assert not MANAGED.keys() & (SERVER_KEYS | AGENT_KEYS)
    merged = {"disable", "kube-apiserver-arg", "kube-controller-manager-arg"}
    ours = _render_server.config(render()).keys() | _render_agent.config(render()).keys()
    assert ours - MANAGED.keys() == {*merged, "kube-proxy-arg"}
    ours = _render_server.config(render(**SHARED)).keys()
    assert ours - MANAGED.keys() == merged


def test_what_is_given_is_added_for_server_and_agents() -> None:
    given = {
        "disable": ["coredns"],
        "kube-apiserver-arg": ["audit-log-maxage=7", "enable-admission-plugins=AlwaysPullImages"],
        "node-label": ["tier=gold"],
        "kube-proxy-arg": ["metrics-bind-address=0.0.0.0"],
    }
    rendering = render(k3s_config=given)
    server, agent = _render_server.config(rendering), _render_agent.config(rendering)
    assert server["disable"] == ["coredns", "local-storage", "metrics-server", "servicelb", "traefik"]
    arguments = server["kube-apiserver-arg"]
    assert "enable-admission-plugins=NodeRestriction,EventRateLimit,AlwaysPullImages" in arguments
    assert [one for one in arguments if one.startswith("audit-log-maxage")] == ["audit-log-maxage=7"]
    assert any(one.startswith("token-auth-file=") for one in arguments)
    assert "node-label" not in server
    assert agent["node-label"] == ["tier=gold"]
    assert agent["kube-proxy-arg"] == ["conntrack-max-per-core=0", "metrics-bind-address=0.0.0.0"]


def test_arguments_of_one_name_are_all_kept() -> None:
    assert merged_arguments(["v=1"], ["--v=2", "feature-gates=A=true", "feature-gates=B=true"]) == [
        "v=2",
        "feature-gates=A=true",
        "feature-gates=B=true",
    ]


def test_servers_are_restarted_by_a_change() -> None:
    def stamp(**changes: object) -> str:
        template = _render_server.stateful_set(render(**changes))["spec"]["template"]
        return template["metadata"]["annotations"][_render_server.CONFIG_HASH]

    assert len({stamp(), stamp(k3s_config={"debug": True}), stamp(manifests=[OBJECT])}) == 3


def test_manifests_are_in_a_secret_and_copied_by_an_init_container() -> None:
    assert "initContainers" not in _render_server.stateful_set(render())["spec"]["template"]["spec"]
    rendering = render(manifests=[OBJECT, OBJECT])
    pod = _render_server.stateful_set(rendering)["spec"]["template"]["spec"]
    assert [one["name"] for one in pod["initContainers"]] == ["manifests"]
    assert " cp -f " in pod["initContainers"][0]["command"][-1], "the copy of the pod before is read-only"
    assert "hello" not in json.dumps(pod)
    assert "hello" not in repr(rendering)
    assert [one["metadata"]["name"] for one in _render_server.config_secrets(rendering)] == [
        "server-config",
        "manifests",
    ]


def test_secrets_are_encrypted_and_their_content_is_never_logged() -> None:
    assert _render_server.config(render())["secrets-encryption"] is True
    levels = {rule["level"] for rule in _render_hardening.audit_policy()["rules"]}
    assert levels == {"None", "Metadata"}


def test_pod_security_inside_is_baseline_where_the_host_has_no_say() -> None:
    def plugins(**changes: object) -> dict:
        return {one["name"]: one["configuration"] for one in _render_hardening.admission(render(**changes))["plugins"]}

    assert plugins()["PodSecurity"]["defaults"]["enforce"] == "baseline"
    assert plugins()["PodSecurity"]["exemptions"]["namespaces"] == ["kube-system"]
    assert plugins(**SHARED).keys() == {"EventRateLimit"}
