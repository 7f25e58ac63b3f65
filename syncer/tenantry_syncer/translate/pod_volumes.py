"""Translate a pod's volumes to the names of their sources on the host. Pure."""

from __future__ import annotations

import copy

from tenantry_syncer import naming
from tenantry_syncer.translate import downward_api
from tenantry_syncer.translate.rejection import RejectedSpec

# Other types could read objects of the host's namespace or reach what the host's nodes reach.
KINDS = ("configMap", "downwardAPI", "emptyDir", "hostPath", "image", "persistentVolumeClaim", "projected", "secret")
PROJECTED = ("configMap", "downwardAPI", "secret")
# The syncer puts what these need into a Secret of the pod, because the host's API server has other tokens and bundles.
_OTHERS_READ = 0o004
IN_TOKEN_SECRET = ("serviceAccountToken", "clusterTrustBundle")


def token_secret(host_pod: str) -> str:
    """Return the name of the token Secret of a host pod; a successor that runs beside it has its own."""
    return f"{host_pod}-tokens"


def token_sources(pod: dict) -> list[tuple[str, dict]]:
    """Return the pod's serviceAccountToken sources, each with its key in the token Secret."""
    return _sources(pod, "serviceAccountToken")


def bundle_sources(pod: dict) -> list[tuple[str, dict]]:
    """Return the pod's clusterTrustBundle sources, each with its key in the token Secret."""
    return _sources(pod, "clusterTrustBundle")


def _sources(pod: dict, kind: str) -> list[tuple[str, dict]]:
    return [
        (f"{volume['name']}.{index}", source[kind])
        for volume in pod["spec"].get("volumes") or []
        for index, source in enumerate((volume.get("projected") or {}).get("sources") or [])
        if kind in source
    ]


def ephemeral_claim(pod: dict, volume: str) -> str:
    """Return the name of the claim that Kubernetes creates for a generic ephemeral volume."""
    return f"{pod['metadata']['name']}-{volume}"


def host_volume(volume: dict, pod: dict, host_pod: str) -> dict:
    """Return the volume of the host pod, with references renamed. Raise RejectedSpec for unsupported types."""
    namespace, name = pod["metadata"]["namespace"], volume["name"]
    result = copy.deepcopy(volume)
    if "ephemeral" in result:
        claim = naming.host_name(namespace, ephemeral_claim(pod, name))
        return {"name": name, "persistentVolumeClaim": {"claimName": claim}}
    kinds = [key for key in result if key != "name"] or ["emptyDir"]
    for kind in kinds:
        if kind not in KINDS or len(kinds) > 1:
            raise RejectedSpec(
                f"volume {name}: volumes of type {kind} are not supported. Use {', '.join(KINDS[:3])} or a claim."
            )
    kind = kinds[0]
    if kind == "persistentVolumeClaim":
        result[kind]["claimName"] = naming.host_name(namespace, result[kind]["claimName"])
    elif kind == "projected":
        sources = result[kind].get("sources") or []
        result[kind]["sources"] = [
            _projection(one, f"{name}.{at}", namespace, host_pod) for at, one in enumerate(sources)
        ]
        if not result[kind].get("defaultMode", _OTHERS_READ) & _OTHERS_READ and _has_one_user(pod["spec"]):
            _let_user_read(result[kind]["sources"], host_pod)
    else:
        _rename(result, kind, namespace)
    return result


def _projection(source: dict, key: str, namespace: str, host_pod: str) -> dict:
    for kind in IN_TOKEN_SECRET:
        if kind in source:
            items = [{"key": key, "path": source[kind]["path"]}]
            return {"secret": {"name": token_secret(host_pod), "items": items}}
    for kind in source:
        if kind not in PROJECTED:
            raise RejectedSpec(
                f"projected volumes of {kind} are not supported. Use {', '.join((*PROJECTED, *IN_TOKEN_SECRET))}."
            )
        _rename(source, kind, namespace)
    return source


def _let_user_read(sources: list[dict], host_pod: str) -> None:
    """Let others read tokens and trust bundles: the kubelet gives these to the user, but files of a Secret to root."""
    for source in sources:
        if (source.get("secret") or {}).get("name") == token_secret(host_pod):
            for item in source["secret"]["items"]:
                item["mode"] = 0o444


def _has_one_user(spec: dict) -> bool:
    """Return whether all containers run as one user that the pod sets."""
    containers = [*(spec.get("initContainers") or []), *spec["containers"]]
    pods_own = (spec.get("securityContext") or {}).get("runAsUser")
    users = {(one.get("securityContext") or {}).get("runAsUser", pods_own) for one in containers}
    return len(users) == 1 and None not in users


def _rename(holder: dict, kind: str, namespace: str) -> None:
    """Translate names of config maps and Secrets, and references to the pod's own fields, in place."""
    source = holder[kind]
    if kind == "configMap":
        source["name"] = naming.host_name(namespace, source["name"])
    elif kind == "secret":
        # Volumes use secretName, projections name. Translate both, so that neither can name an object of the host.
        for field_name in ("secretName", "name"):
            if field_name in source:
                source[field_name] = naming.host_name(namespace, source[field_name])
    elif kind == "downwardAPI":
        for item in source.get("items") or []:
            if "fieldRef" in item:
                item["fieldRef"] = downward_api.reference(item["fieldRef"])
