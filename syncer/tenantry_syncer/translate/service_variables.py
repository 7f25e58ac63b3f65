"""The variables by which pods find services, as a kubelet sets them: in a config map of the host per namespace.

A container takes them from there before all that it names itself, which so comes first as it would on a node; a
container that is started again gets those of then. As variables of the pod itself they would make each pod as large
as all services of its namespace are together. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tenantry_syncer import naming
from tenantry_syncer.config import Config

# What a config map of them holds: those of all services of the namespace, or of the API server alone.
ALL, API = VARIANTS = "services", "api"
# Together with a container's own, a program can be started with two megabytes.
LARGEST = 512 * 1024
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def which(pod: dict) -> str:
    return ALL if pod["spec"].get("enableServiceLinks", True) else API


def host_name(namespace: str, variant: str) -> str:
    """Hashed like all names on the host. Nothing inside can have a name with a colon."""
    return naming.host_name(namespace, f"{variant}:links")


def source(pod: dict) -> dict:
    """Where a container takes them from."""
    return {"configMapRef": {"name": host_name(pod["metadata"]["namespace"], which(pod))}}


def of_api(config: Config) -> dict[str, str]:
    return _links("kubernetes", config.api_address, [{"name": "https", "port": 443, "protocol": "TCP"}])


def of_services(services: Iterable[dict], config: Config) -> tuple[dict[str, str], int]:
    """As the kubelet would set them, the API server's among them, and how many services there is no room for.

    The oldest come first, so that a new one takes nothing away from pods that are there.
    """
    found, left_out = of_api(config), 0
    room = LARGEST - _size(found)
    for _age, name, address, ports in sorted(map(_brief, services), key=lambda one: one[:2]):
        added = _links(name, address, ports)
        room -= _size(added)
        if room < 0:
            left_out += 1
        else:
            found.update(added)
    return found, left_out


def expanded(given: list[dict], variables: Mapping[str, str]) -> list[dict]:
    """A container's own variables with those of services in place of `$(NAME)`, which a kubelet finds nowhere else."""
    own: set[str] = set()
    made = []
    for one in given:
        value = _expanded(one["value"], variables, own) if one.get("value") else None
        made.append({**one, "value": value} if value else one)
        own.add(one["name"])
    return made


def _expanded(text: str, variables: Mapping[str, str], own: set[str]) -> str:
    def value(found: re.Match[str]) -> str:
        return found[0] if found[1] in own else variables.get(found[1] or "", found[0])

    return _REFERENCE.sub(value, text)


def uses_variables(pod: dict) -> bool:
    groups = ("initContainers", "containers", "ephemeralContainers")
    containers = [one for group in groups for one in pod["spec"].get(group) or []]
    return any("$(" in env.get("value", "") for one in containers for env in one.get("env") or [])


def _brief(service: dict) -> tuple[str, str, str, list[dict]]:
    """Without ports where there is no address to reach it by."""
    metadata, spec = service["metadata"], service["spec"]
    address = spec.get("clusterIP")
    ports = [] if not address or address == "None" else spec.get("ports") or []
    return metadata.get("creationTimestamp", ""), metadata["name"], address or "", ports


def _size(variables: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) + 2 for name, value in variables.items())


def _links(name: str, address: str, ports: list[dict]) -> dict[str, str]:
    if not ports:
        return {}
    prefix = name.upper().replace("-", "_")
    found = {f"{prefix}_SERVICE_HOST": address, f"{prefix}_SERVICE_PORT": str(ports[0]["port"])}
    for index, one in enumerate(ports):
        number, protocol = str(one["port"]), one.get("protocol", "TCP")
        url = f"{protocol.lower()}://{address}:{number}"
        if one.get("name"):
            found[f"{prefix}_SERVICE_PORT_{one['name'].upper().replace('-', '_')}"] = number
        if index == 0:
            found[f"{prefix}_PORT"] = url
        key = f"{prefix}_PORT_{number}_{protocol}"
        found |= {key: url, f"{key}_PROTO": protocol.lower(), f"{key}_PORT": number, f"{key}_ADDR": address}
    return {key: value for key, value in found.items() if _VARIABLE.fullmatch(key)}
