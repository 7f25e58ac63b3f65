"""Service environment variables as a kubelet sets them, in a config map on the host for each namespace. Pure.

The config map is a container's first envFrom source, so the container's own variables take precedence, as on a node. A
restarted container gets the current variables. As variables of the pod itself, they would add the size of all services
of the namespace to each pod.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from tenantry_syncer import naming
from tenantry_syncer.config import Config

# Variants of the config map: variables of all services of the namespace, or of the API server only.
ALL, API = VARIANTS = "services", "api"
# Bytes. The kernel allows about two megabytes for these and the container's own variables.
LARGEST = 512 * 1024
_REFERENCE = re.compile(r"\$\$|\$\(([^()]*)\)")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def which(pod: dict) -> str:
    """Return the variant of variables that a pod gets: all Services, or the API only."""
    return ALL if pod["spec"].get("enableServiceLinks", True) else API


def host_name(namespace: str, variant: str) -> str:
    """Return the config map's name on the host; the colon excludes a collision with any virtual object."""
    return naming.host_name(namespace, f"{variant}:links")


def source(pod: dict) -> dict:
    """Return the envFrom source for the pod's containers."""
    return {"configMapRef": {"name": host_name(pod["metadata"]["namespace"], which(pod))}}


def of_api(config: Config) -> dict[str, str]:
    return _links("kubernetes", config.api_address, [{"name": "https", "port": 443, "protocol": "TCP"}])


def of_services(services: Iterable[dict], config: Config) -> tuple[dict[str, str], int]:
    """Return the variables of services and of the API server, and how many services exceed the size limit.

    The oldest services come first, so that a new one removes no variables of existing pods.
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
    """Expand `$(NAME)` of service variables in a container's own variables, since kubelets do not for envFrom."""
    own: set[str] = set()
    expanded_variables = []
    for one in given:
        value = _expanded(one["value"], variables, own) if one.get("value") else None
        expanded_variables.append({**one, "value": value} if value else one)
        own.add(one["name"])
    return expanded_variables


def _expanded(text: str, variables: Mapping[str, str], own: set[str]) -> str:
    def value(found: re.Match[str]) -> str:
        return found[0] if found[1] in own else variables.get(found[1] or "", found[0])

    return _REFERENCE.sub(value, text)


def uses_variables(pod: dict) -> bool:
    """Return whether a container's own variables refer to others by `$(NAME)`."""
    groups = ("initContainers", "containers", "ephemeralContainers")
    containers = [one for group in groups for one in pod["spec"].get(group) or []]
    return any("$(" in env.get("value", "") for one in containers for env in one.get("env") or [])


def _brief(service: dict) -> tuple[str, str, str, list[dict]]:
    """Return age, name, address and ports of a service; no ports without a cluster IP."""
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
