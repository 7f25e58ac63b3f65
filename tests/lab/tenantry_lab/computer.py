"""What a lab changes on the computer that runs it, and puts back."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

from .config import Lab, LabError
from .process import exclusive, output, run

# The kubelet and the role `platform` set these; they are the computer's, a container has none of its own.
SYSCTLS = (
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
    "fs/inotify/max_user_instances",
    "fs/inotify/max_user_watches",
)
# Each systemd, kubelet and CoreDNS takes a few; Debian's default of 128 is used up by a handful of machines.
LEAST = {"fs/inotify/max_user_instances": 2048, "fs/inotify/max_user_watches": 524288}


def require_root(effective_user: int) -> None:
    if effective_user != 0:
        raise LabError("the lab's machines need root: run it with sudo (only `lab deps` and --help work without)")


def forget_before_reboot(lab: Lab) -> None:
    """After a reboot nothing in the state directory is true any more."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    stamp = lab.run / "boot_id"

    def is_of_this_boot() -> bool:
        return stamp.exists() and stamp.read_text() == boot

    if is_of_this_boot():
        return
    with exclusive(lab.dir):  # several commands may begin at the same time
        if not is_of_this_boot():
            forget(lab)
            lab.run.mkdir(parents=True)
            stamp.write_text(boot)


def forget(lab: Lab) -> None:
    shutil.rmtree(lab.run, ignore_errors=True)


def prepare_sysctls(lab: Lab) -> None:
    """Note what `restore_sysctls` has to restore, and raise the limits that many machines reach."""
    saved = lab.run / "sysctls.json"
    if not saved.exists():
        saved.write_text(json.dumps({name: _sysctl(name).read_text() for name in SYSCTLS}))
    for name, value in LEAST.items():
        if int(_sysctl(name).read_text()) < value:
            _sysctl(name).write_text(str(value))


def restore_sysctls(lab: Lab) -> None:
    saved = lab.run / "sysctls.json"
    if saved.exists():
        # Another lab that is still up needs the higher limits.
        keep = LEAST if any(Path("/sys/class/net").glob("lab-*")) else ()
        for name, value in json.loads(saved.read_text()).items():
            if name not in keep:
                _sysctl(name).write_text(value)


def _sysctl(name: str) -> Path:
    return Path("/proc/sys", name)


def unmount_storage(lab: Lab) -> None:
    """podman keeps its storage directory mounted on itself after the last container is gone."""
    for mount in reversed(output(["findmnt", "--noheadings", "--list", "--output=TARGET"]).split("\n")):
        if mount.startswith(f"{lab.dir}/"):
            run(["umount", mount])


def remove_cgroups(lab: Lab) -> None:
    """Remove the control groups of the lab's machines from each hierarchy, deepest first."""
    for root in (Path("/sys/fs/cgroup"), *Path("/sys/fs/cgroup").glob("*/")):
        top = root / lab.interface
        if top.is_dir():
            for group in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
                _remove_empty(group)
            _remove_empty(top)


def _remove_empty(group: Path) -> None:
    with contextlib.suppress(OSError):
        group.rmdir()
