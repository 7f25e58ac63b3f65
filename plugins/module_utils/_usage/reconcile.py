# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The flow of the module usage_report: take a sample, add it to the history, write the files."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from ansible_collections.tenantry.kube.plugins.module_utils._core import naming, quantities
from ansible_collections.tenantry.kube.plugins.module_utils._core.errors import TenantryError, shown
from ansible_collections.tenantry.kube.plugins.module_utils._core.timestamps import clock, stamp
from ansible_collections.tenantry.kube.plugins.module_utils._module import Context
from ansible_collections.tenantry.kube.plugins.module_utils._usage import (
    advice,
    costs,
    exports,
    gather,
    inventory_patch,
    metrics,
    page,
    report,
    sizing,
)
from ansible_collections.tenantry.kube.plugins.module_utils._usage.costs import Charge
from ansible_collections.tenantry.kube.plugins.module_utils._usage.history import open_history
from ansible_collections.tenantry.kube.plugins.module_utils._usage.inventory_patch import InventoryFile
from ansible_collections.tenantry.kube.plugins.module_utils._usage.model import Sample
from ansible_collections.tenantry.kube.plugins.module_utils._usage.prices import Prices, parse_prices
from ansible_collections.tenantry.kube.plugins.module_utils._usage.report import Calendar, Past

SHORTEST = "93d"  # of what a report shows: the month before, and 90 days
PRIVATE = 0o600  # of the patch, whose context is lines of the inventory
HEAD = 4096  # bytes of a page that say whose it is
FILES = ("page", "json", "csv", "metrics")
# What of the report the module returns. The rest can be long, and is in the files.
RETURNED = ("time", "currency", "month", "coverage", "cost", "missing_clusters", "unmeasured_clusters", "attention")

_MODE = re.compile("0[4-7][0-7]{2}", re.ASCII)  # the owner reads


@dataclass(frozen=True)
class UsageOptions:
    """The options, validated."""

    history: Path | None
    kept: timedelta
    prices: Prices
    files: Mapping[str, Path]
    tenant_pages: Path | None
    tenant: str | None
    mode: int
    patch: Path | None
    inventory: InventoryFile | None  # that the patch is for

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> UsageOptions:
        """Validate the options of the module. Raise a TenantryError."""
        tenant = params["tenant"]
        if tenant is not None:
            naming.check_name(tenant, "tenant")
        return cls(
            history=_path(params["history"]),
            kept=timedelta(seconds=quantities.seconds(params["retention"], "retention", SHORTEST, "3650d")),
            prices=parse_prices(params["prices"]),
            files={kind: Path(params[kind]) for kind in FILES if params[kind]},
            tenant_pages=_path(params["tenant_pages"]),
            tenant=tenant,
            mode=_mode(params["mode"]),
            patch=_path(params["patch"]),
            inventory=_inventory(params),
        )


def run(context: Context, params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the totals, and which files were written. In check mode none is, and the sample is not added."""
    options = UsageOptions.of(params)
    sample = gather.take(context, clock())
    if options.tenant is not None and options.tenant not in {one.name for one in sample.tenants}:
        raise TenantryError(
            f"tenant: there is no tenant {options.tenant}. Create it with tenantry.kube.tenant_quota first"
        )
    past, counted = _remember(context, options, sample)
    _warn_of_unknown(context, options.prices, sample, past)
    whole = report.build(sample, past, options.prices)
    patch, proposals = _sizing(options, sample, past)
    files = [*_files(options, whole, sample, past), *([(options.patch, patch)] if options.patch else [])]
    modes = {options.patch: PRIVATE}
    changed = [str(path) for path, text in files if _write(context, path, text, modes.get(path, options.mode))]
    for path in _former_pages(options, sample):
        _delete(context, path)
        changed.append(str(path))
    chosen = report.only_tenant(whole, options.tenant) if options.tenant else whole
    return {
        "changed": bool(changed or (options.history and (counted or context.check_mode))),
        "files": changed,
        "counted_seconds": counted,
        "sizing": proposals,
        **{key: chosen[key] for key in RETURNED},
    }


def _remember(context: Context, options: UsageOptions, sample: Sample) -> tuple[Past, dict[str, int]]:
    if options.history is None:
        return Past(), {}
    calendar = Calendar.at(sample.time)
    with open_history(options.history, writable=not context.check_mode) as history:
        counted = {} if context.check_mode else history.add(sample, options.kept)
        hours = calendar.now - int(advice.WINDOW.total_seconds())
        # What is later than now is of a run whose clock was ahead.
        past = Past(
            days=list(history.vclusters("day", calendar.since, calendar.now)),
            cluster_days=list(history.clusters("day", calendar.since, calendar.now)),
            hours=list(history.vclusters("hour", hours, calendar.now)),
        )
    return past.by_owner(sample.tenants), counted


def _warn_of_unknown(context: Context, prices: Prices, sample: Sample, past: Past) -> None:
    """Warn of prices of clusters that neither the fleet nor the history has."""
    fleet = {*(one.name for one in sample.clusters), *sample.missing}
    for name in sorted(prices.of_cluster.keys() - fleet - {one.cluster for one in past.cluster_days}):
        hint = naming.did_you_mean(name, sorted(fleet))
        context.warn(f"prices.clusters: {name} is not in the fleet{hint}, so its prices do nothing. Correct the name")


def _files(options: UsageOptions, whole: dict[str, Any], sample: Sample, past: Past) -> Iterator[tuple[Path, str]]:
    chosen = report.only_tenant(whole, options.tenant) if options.tenant else whole
    for kind, path in options.files.items():
        if kind == "page":
            yield path, page.render(chosen)
        elif kind == "json":
            yield path, exports.to_json(chosen)
        elif kind == "metrics":
            yield path, metrics.render(chosen)
        else:
            names = {one.name: one.display_name for one in sample.tenants}
            yield path, exports.to_csv(_charges(options, past, sample), options.prices.currency, names)
    for name in (one.name for one in sample.tenants if options.tenant_pages):
        if options.tenant_pages and options.tenant in (None, name):
            yield options.tenant_pages / f"{name}.html", page.render(report.only_tenant(whole, name))


def _sizing(options: UsageOptions, sample: Sample, past: Past) -> tuple[str, list[dict[str, Any]]]:
    """Return the text of the patch, and all proposals with the reason for those that are not in it."""
    editor = inventory_patch.Editor(options.inventory) if options.inventory else None
    proposals = sizing.propose(past.hours, sample, editor.editable if editor else None)
    found = [one for one in proposals if options.tenant in (None, one.tenant)]
    made = inventory_patch.Patch("", {})
    if editor:
        title = f"Right-sizing of {stamp(sample.time)}. Apply it in the inventory's directory with: patch -p1"
        made = editor.patch(found, title)
    return made.text, [
        {
            "tenant": one.tenant,
            "vcluster": one.vcluster,
            "resource": one.resource,
            "current": one.current_text,
            "proposed": one.text,
            "reason": one.reason,
            "left_out": made.left_out.get(one),
        }
        for one in found
    ]


def _charges(options: UsageOptions, past: Past, sample: Sample) -> list[Charge]:
    """Return the charges of this month and the one before."""
    since = Calendar.at(sample.time).last_month
    found = costs.charges(past.days, past.cluster_days, options.prices)
    return [one for one in found if one.time >= since and options.tenant in (None, one.tenant)]


def _write(context: Context, path: Path, text: str, mode: int) -> bool:
    """Write a file at once, and return whether it changed. A reader finds the old one or the new one."""
    content = text.encode()
    with suppress(OSError):
        if path.read_bytes() == content and path.stat().st_mode & 0o777 == mode:
            return False
    if context.check_mode:
        return True
    try:
        _replace(path, content, mode)
    except OSError as error:
        raise TenantryError(f"{path}: cannot be written: {error.strerror}. Set another path") from None
    return True


def _replace(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, beside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(content)
        Path(beside).replace(path)
    except BaseException:
        Path(beside).unlink()
        raise


def _former_pages(options: UsageOptions, sample: Sample) -> list[Path]:
    """Return the pages of tenants that are gone. Other files are not touched."""
    if options.tenant_pages is None or options.tenant is not None:
        return []
    known = {one.name for one in sample.tenants}
    return [path for path in sorted(options.tenant_pages.glob("*.html")) if path.stem not in known and _is_page(path)]


def _is_page(path: Path) -> bool:
    """Return whether a run wrote the file for the tenant of its name."""
    with suppress(OSError), path.open("rb") as file:
        return not path.is_symlink() and page.is_of(path.stem, file.read(HEAD).decode(errors="replace"))
    return False


def _delete(context: Context, path: Path) -> None:
    if context.check_mode:
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TenantryError(f"{path}: cannot be deleted: {error.strerror}. Delete it") from None


def _inventory(params: Mapping[str, Any]) -> InventoryFile | None:
    """Read the inventory of a patch, before any request."""
    if not params["patch"]:
        return None
    for needed in ("history", "inventory"):
        if not params[needed]:
            raise TenantryError(f"patch: needs {needed}. Set {needed} too, or omit patch")
    return inventory_patch.read(Path(params["inventory"]))


def _path(given: str | None) -> Path | None:
    return Path(given) if given else None


def _mode(given: str) -> int:
    """Parse the mode. YAML reads 0640 without quotes as the number 416, which must not become the mode 0416."""
    if not _MODE.fullmatch(given):
        raise TenantryError(f"mode: {shown(given)} is not a file mode. Use four octal digits in quotes, such as '0640'")
    return int(given, 8)
