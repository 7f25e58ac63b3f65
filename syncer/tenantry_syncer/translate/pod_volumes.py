"""A pod's volumes, with the names that their sources have on the host. Pure."""

from __future__ import annotations

import copy

from tenantry_syncer import naming
from tenantry_syncer.translate import downward_api
from tenantry_syncer.translate.rejection import RejectedSpec

# Others could read what lies in the namespace on the host, or reach what the host's nodes reach.
KINDS = ("configMap", "downwardAPI", "emptyDir", "hostPath", "persistentVolumeClaim", "projected", "secret")
PROJECTED = ("configMap", "downwardAPI", "secret")
# What Kubernetes has besides, up to 1.35; what is newer is refused too.
UNSUPPORTED_PROJECTED = ("clusterTrustBundle", "podCertificate")
UNSUPPORTED = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "image",
    "iscsi",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)


def token_secret(host_pod: str) -> str:
    """By the name of the pod on the host: a successor's tokens are not those of the pod that it runs beside."""
    return f"{host_pod}-tokens"


def token_sources(pod: dict) -> list[tuple[str, dict]]:
    """Where the pod wants tokens: the key in the Secret that holds them, and the source as it was asked for."""
    return [
        (f"{volume['name']}.{index}", source["serviceAccountToken"])
        for volume in pod["spec"].get("volumes") or []
        for index, source in enumerate((volume.get("projected") or {}).get("sources") or [])
        if "serviceAccountToken" in source
    ]


def ephemeral_claim(pod: dict, volume: str) -> str:
    """The claim inside that Kubernetes makes of a generic ephemeral volume."""
    return f"{pod['metadata']['name']}-{volume}"


def host_volume(volume: dict, pod: dict, host_pod: str) -> dict:
    namespace, name = pod["metadata"]["namespace"], volume["name"]
    made = copy.deepcopy(volume)
    if "ephemeral" in made:
        claim = naming.host_name(namespace, ephemeral_claim(pod, name))
        return {"name": name, "persistentVolumeClaim": {"claimName": claim}}
    kinds = [key for key in made if key != "name"] or ["emptyDir"]
    for kind in kinds:
        if kind not in KINDS or len(kinds) > 1:
            raise RejectedSpec(
                f"volume {name}: volumes of type {kind} are not offered; use {', '.join(KINDS[:3])} or a claim"
            )
    kind = kinds[0]
    if kind == "persistentVolumeClaim":
        made[kind]["claimName"] = naming.host_name(namespace, made[kind]["claimName"])
    elif kind == "projected":
        sources = made[kind].get("sources") or []
        made[kind]["sources"] = [
            _projection(one, f"{name}.{at}", namespace, host_pod) for at, one in enumerate(sources)
        ]
    else:
        _rename(made, kind, namespace)
    return made


def _projection(source: dict, key: str, namespace: str, host_pod: str) -> dict:
    if "serviceAccountToken" in source:
        items = [{"key": key, "path": source["serviceAccountToken"]["path"]}]
        return {"secret": {"name": token_secret(host_pod), "items": items}}
    for kind in source:
        if kind not in PROJECTED:
            raise RejectedSpec(
                f"a projected volume of {kind} is not offered; use {', '.join(PROJECTED)} or serviceAccountToken"
            )
        _rename(source, kind, namespace)
    return source


def _rename(holder: dict, kind: str, namespace: str) -> None:
    """Names of config maps and secrets, and references to the pod's own fields."""
    source = holder[kind]
    if kind == "configMap":
        source["name"] = naming.host_name(namespace, source["name"])
    elif kind == "secret":
        # A volume calls it so, a projection otherwise. Never leave one of the two as it was.
        for field_name in ("secretName", "name"):
            if field_name in source:
                source[field_name] = naming.host_name(namespace, source[field_name])
    elif kind == "downwardAPI":
        for item in source.get("items") or []:
            if "fieldRef" in item:
                item["fieldRef"] = downward_api.reference(item["fieldRef"])
