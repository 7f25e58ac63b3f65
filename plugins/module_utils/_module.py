# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What all modules share: connection options, one item or many, results, errors of one line."""

from __future__ import annotations

import importlib
import os
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, overload

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib
from ansible_collections.tenantry.kube.plugins.module_utils._core import query
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import (
    Obstacle,
    TenantryError,
    api_error,
    one_line,
    shown,
)
from ansible_collections.tenantry.kube.plugins.module_utils._core.naming import HUB, first_twice
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes import hub_kubeconfig, kubeconfig
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.client import Cluster
from ansible_collections.tenantry.kube.plugins.module_utils._kubernetes.wait import Deadline
from ansible_collections.tenantry.kube.plugins.module_utils._masking import MaskingModule, mask

LIBRARIES = ("yaml", "kubernetes")
# The environment variable that names a file for lines of progress, where somebody shows them.
PROGRESS = "TENANTRY_PROGRESS"
# Threads for virtual clusters: many slow ones take no longer than one.
MOST_THREADS = 64
# Keys of rows for flows that call others: whether an item was rejected, and the contexts in which a user failed.
INTERNAL = ("refused", "failed_contexts")
NOT_DONE = "other items of this call are refused"

Item = dict[str, Any]
Row = dict[str, Any]
Given = TypeVar("Given")
Result = TypeVar("Result")


class Rejected(TenantryError):
    """Some items of a call are invalid, so none is processed.

    `reasons` has the errors by item. `name` returns what precedes the error of an item in the message.
    """

    def __init__(self, reasons: Sequence[tuple[Any, TenantryError]], name: Callable[[Any], str] | None = None) -> None:
        lines = [f"{name(item)}: {error}" if name else str(error) for item, error in reasons]
        super().__init__("\n".join(dict.fromkeys(lines)))
        self.reasons = reasons


def argument_spec(**own: dict[str, Any]) -> dict[str, Any]:
    """Return the module's own options with those of the connection to the hub."""
    return {
        **own,
        "kubeconfig": {"type": "raw", "fallback": (env_fallback, ["K8S_AUTH_KUBECONFIG"])},
        "context": {"type": "str", "fallback": (env_fallback, ["K8S_AUTH_CONTEXT"])},
        "timeout": {"type": "int", "default": 30},
    }


def items_option(item_spec: dict[str, Any]) -> dict[str, Any]:
    """Return the option that takes many items in one call."""
    return {"type": "list", "elements": "dict", "options": item_spec}


class Context:
    """Access to Ansible and to the clusters, for the flow of a module."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.check_mode: bool = module.check_mode
        self._hub: Cluster | None = None
        self._requester = ""
        self._started = time.monotonic()

    @property
    def hub(self) -> Cluster:
        """The hub, connected at first use."""
        if self._hub is None:
            self._hub = self.cluster(self.hub_kubeconfig(), HUB)
        return self._hub

    def hub_kubeconfig(self) -> dict[str, Any]:
        """Return the kubeconfig of the hub that the options name, or the environment."""
        return hub_kubeconfig.load(self.module.params["kubeconfig"], self.module.params["context"])

    def requester(self) -> str:
        """Return the user of the run, by the name that the hub knows."""
        self._requester = self._requester or self.hub.whoami()
        return self._requester

    def cluster(self, config: dict[str, Any], name: str) -> Cluster:
        """Connect to a further cluster. Ansible masks the credentials of its kubeconfig."""
        self.secret(*kubeconfig.secrets(config))
        found = Cluster.from_kubeconfig(config, name=name, timeout=self.module.params["timeout"])
        found.requester = self.requester
        return found

    def secret(self, *values: str | None) -> None:
        """Let Ansible mask these values in the result."""
        mask(self.module, values)

    def warn(self, text: str) -> None:
        self.module.warn(one_line(text))

    def progress(self, name: str, phase: str) -> None:
        """Write a progress line during the run. Errors of the output are ignored."""
        if file := os.environ.get(PROGRESS):
            seconds = time.monotonic() - self._started
            with suppress(OSError), Path(file).open("a", encoding="utf-8") as lines:
                lines.write(f"{name}: {one_line(phase)} ({seconds:.1f} s)\n")

    def missing(self, error: TenantryError) -> None:
        """Raise the error, or warn in check mode: an earlier task may only have predicted the missing object."""
        if not self.check_mode:
            raise error
        self.warn(f"{error}; the check continues as if it existed")

    def deadline(self, seconds: float) -> Deadline:
        """Return a deadline in so many seconds that reports progress."""
        return Deadline(seconds, self.progress)


@overload
def validate_all(
    items: Iterable[Given],
    check: Callable[[Given], Result],
    *,
    name: Callable[[Given], str] | None = None,
    each: Callable[..., Iterable] = map,
) -> list[Result]: ...


@overload
def validate_all(
    items: Iterable[Given],
    check: Callable[[Given], Result],
    *,
    name: Callable[[Given], str] | None = None,
    each: Callable[..., Iterable] = map,
    found: Callable[[Given, Obstacle], None],
) -> list[Result | None]: ...


def validate_all(
    items: Iterable[Given],
    check: Callable[[Given], Result],
    *,
    name: Callable[[Given], str] | None = None,
    each: Callable[..., Iterable] = map,
    found: Callable[[Given, Obstacle], None] | None = None,
) -> list[Result] | list[Result | None]:
    """Apply `check` to every item. Raise Rejected with all errors at once.

    `name` returns the item that an error line is about; `each` maps over the items, such as Cluster.map for
    concurrency. With `found`, an Obstacle is passed to it with its item instead, and the result is None there.
    """

    def attempt(item: Given) -> Result | TenantryError | None:
        try:
            return check(item)
        except TenantryError as error:
            if isinstance(error, Obstacle) and found is not None:
                found(item, error)
                return None
            return error
        except Exception as error:  # pylint: disable=broad-except
            if found is None:
                raise
            found(item, _unforeseen(error))
            return None

    items = list(items)
    results = list(each(attempt, items))
    bad = [(item, result) for item, result in zip(items, results, strict=True) if isinstance(result, TenantryError)]
    if bad:
        raise Rejected(bad, name)
    return results


def run_each(
    cluster: Cluster, items: Sequence[Given], what: Callable[[Given], str | Row], do: Callable[[Given], Row]
) -> list[Row]:
    """Compute a row per item, concurrently. An item that fails does not stop the others.

    `what` returns the item's name, or the part of its row that is returned in any case. The list `actions` in that part
    is the item's own: `do` adds each action before it is tried, so that the row of a failure has what was done.
    """

    def row(item: Given) -> Row:
        known = what(item)
        known = {"actions": [], **({"name": known} if isinstance(known, str) else known)}
        problem, done = attempt(lambda: do(item))
        known["changed"] = bool(known["actions"])
        return {**known, **(done or {})} if problem is None else {**known, "error": problem}

    return cluster.map(row, items)


def attempt(do: Callable[[], Result]) -> tuple[str | None, Result | None]:
    """Return the error as one line, or the result.

    Any exception counts: a tenant's API server can answer anything, and must not end a run that is for others too.
    """
    try:
        return None, do()
    except Exception as error:  # pylint: disable=broad-except
        return str(explained(error)), None


def explained(error: Exception) -> TenantryError:
    """Return any exception as a TenantryError. An unexpected one is reported as a fault of the collection."""
    return error if isinstance(error, TenantryError) else _unforeseen(error)


def _unforeseen(error: Exception) -> Obstacle:
    return Obstacle(_unexpected(error, "tenantry.kube")[0])


def run_concurrently(do: Callable[[Given], Result], items: Sequence[Given]) -> list[Result]:
    """Return the results in order, each computed in its own thread: for calls that mostly wait."""
    with ThreadPoolExecutor(max(1, min(len(items), MOST_THREADS))) as pool:
        return list(pool.map(do, items))


def main(
    spec: dict[str, Any],
    run_items: Callable[..., list[Row]],
    *,
    options: Callable[[Item], Any] | None = None,
    list_option: str | None = None,
    item_options: dict[str, Any],
    key: str | Sequence[str] | None,
    libraries: Sequence[str] = (),
    **ansible_module_args: Any,
) -> None:
    """Run a module that changes things.

    `run_items` gets the context and the items, checks all of them before it writes, and returns rows. If `options` is
    given, its value for the parameters is the third argument. `key` names the option, or options, that identify an
    item; None for one item, or a module that finds its items itself. `required` of an item option applies within the
    list, and to the single item if the list is not set. `libraries` are required besides those of all modules.
    """
    keys = (key,) if isinstance(key, str) else tuple(key or ())
    spec |= {option: _optional(spec[option]) for option in item_options.keys() & spec.keys()}
    module = MaskingModule(argument_spec=spec, **{"supports_check_mode": True, **ansible_module_args})
    _require_libraries(module, libraries)
    context = Context(module)
    message, rows, bug = "", [], None
    items = (module.params[list_option] if list_option else None) or []
    try:
        items, single = _items(module.params, list_option, item_options, keys)
        rows = run_items(context, items, *([options(module.params)] if options else []))
        message = "\n".join(_failure(row) for row in rows if row.get("error"))
    except TenantryError as error:
        message, rows = str(error), _rows_of_none(items, keys, error)
    except Exception as error:  # pylint: disable=broad-except
        message, bug = _unexpected(error, module._name)
    result = _result(module, rows)
    if message:
        for row in result["results"]:  # keep the error readable among many results
            row.pop("actions", None)
        module.fail_json(msg=message, exception=bug, **result)
    module.exit_json(**(_with_extras(result) if single and rows and key is not None else result))


def _optional(option: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in option.items() if name != "required"}


def run_info_module(spec: dict[str, Any], read: Callable[[Context, Item], dict[str, Any]]) -> None:
    """Run a module that only reads clusters. `read` returns its result; the option `query` selects a part of that.

    The result has `changed` if files were written.
    """
    module = MaskingModule(argument_spec={**spec, "query": {"type": "str"}}, supports_check_mode=True)
    expression = module.params["query"]
    _require_libraries(module)
    message, result, bug = "", {}, None
    try:
        if expression:
            query.check(expression)
        result = read(Context(module), module.params)
        if expression:
            result["query_result"] = query.search(expression, result)
    except TenantryError as error:
        message = str(error)
    except Exception as error:  # pylint: disable=broad-except
        message, bug = _unexpected(error, module._name)
    if message:
        module.fail_json(msg=message, exception=bug)
    module.exit_json(**{"changed": False, **result})


def _require_libraries(module: AnsibleModule, further: Sequence[str] = ()) -> None:
    for library in (*LIBRARIES, *further):
        try:
            importlib.import_module(library)
        except ImportError:
            module.fail_json(msg=missing_required_lib(library), exception=traceback.format_exc())


def _items(
    params: dict[str, Any], list_option: str | None, item_options: dict[str, Any], keys: Sequence[str]
) -> tuple[list[Item], bool]:
    """Return the items of this call, and whether there was a single one."""
    listed = params[list_option] if list_option else None
    given = [option for option in keys if params.get(option) is not None]
    if listed is not None and given:
        raise TenantryError(f"{list_option}: not together with {given[0]}. Set one item or the list")
    if listed is None:
        required = {*keys, *(option for option, spec in item_options.items() if spec.get("required"))}
        missing = sorted(option for option in required if params.get(option) is None)
        if missing:
            instead = f", or a list of items in {list_option}" if list_option else ""
            raise TenantryError(f"missing {', '.join(missing)}. Set them{instead}")
        return [{option: params[option] for option in item_options}], True
    names = ["/".join(str(item.get(option)) for option in keys) for item in listed]
    twice = first_twice(names)
    if twice is not None:
        error = TenantryError(f"{list_option}: {shown(twice)} is given twice. Give each once")
        raise Rejected([(listed[names.index(twice)], error)])
    return listed, False


def _rows_of_none(items: Sequence[Item], keys: Sequence[str], error: TenantryError) -> list[Row]:
    """Return a row per item of a call that was rejected: the item's error, or that others were invalid."""
    if not keys or any(item.get(key) is None for item in items for key in keys):
        return []
    reasons = {}
    for thing, reason in error.reasons if isinstance(error, Rejected) else [(item, error) for item in items]:
        of = getattr(thing, "item", thing)  # flows know an item by an object that has it, or that has its options
        reasons[tuple(of[key] if isinstance(of, dict) else getattr(of, key) for key in keys)] = str(reason)
    rows = []
    for item in items:
        who = tuple(item[key] for key in keys)
        outcome = {"error": reasons[who]} if who in reasons else {"not_done": NOT_DONE}
        rows.append({"name": who[-1], **dict(zip(keys[:-1], who[:-1], strict=True)), "changed": False, **outcome})
    return rows


def _failure(row: Row) -> str:
    """Return the error of a row, which does not name its item, with the item in front."""
    item = row.get("namespace") or row.get("name")
    return f"{item}: {row['error']}" if item else str(row["error"])


def _result(module: AnsibleModule, rows: list[Row]) -> dict[str, Any]:
    diffs: list[dict] = []
    for row in rows:
        diff = row.pop("diff", None) or []
        diffs.extend(diff if isinstance(diff, list) else [diff])
    for row in rows:
        for internal in INTERNAL:
            row.pop(internal, None)
    rows = [{name: value for name, value in row.items() if name != "error" or value} for row in rows]
    result: dict[str, Any] = {"changed": any(row.get("changed") for row in rows), "results": rows}
    if module._diff:
        result["diff"] = [diff for diff in diffs if diff.get("before") or diff.get("after")]
    return result


def _with_extras(result: dict[str, Any]) -> dict[str, Any]:
    """Add the fields of the only row to the result of a single item."""
    row = result["results"][0]
    return {**{name: value for name, value in row.items() if name not in ("error", "name")}, **result}


def _unexpected(error: Exception, module_name: str) -> tuple[str, str | None]:
    """Return the one-line error for an exception of a library, or a fault of the collection."""
    if type(error).__module__.partition(".")[0] in ("kubernetes", "urllib3"):
        return str(api_error(error, module_name)), None
    text = one_line(f"{type(error).__name__}: {error}")
    message = f"{module_name}: unexpected {text}; this is a fault of tenantry.kube, please report it"
    return message, traceback.format_exc()
