"""A module that gets a signal at one of the changes it asks API servers for: before it is sent, or after it is done."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

# Where a watch or a GET is interrupted, nothing has changed since the last write: the boundaries are the writes.
_RUN = """
import importlib, json, os, sys, threading
from signal import SIGINT, default_int_handler, signal as handle
import urllib3.connectionpool
from ansible.module_utils.testing import patch_module_args

handle(SIGINT, default_int_handler)  # a shell starts what is behind its & with the signal ignored
name, arguments, number, signal, when = json.load(sys.stdin)
send, lock, done = urllib3.connectionpool.HTTPConnectionPool.urlopen, threading.Lock(), 0

def urlopen(pool, method, url, *args, **words):
    global done
    if method == "GET":
        return send(pool, method, url, *args, **words)
    with lock:  # one by one, so that the number says which
        done += 1
        if done == number and when == "before":
            os.kill(os.getpid(), signal)
        answer = send(pool, method, url, *args, **words)
        if done == number and when == "after":
            os.kill(os.getpid(), signal)
        return answer

urllib3.connectionpool.HTTPConnectionPool.urlopen = urlopen
try:
    with patch_module_args(arguments):
        importlib.import_module(f"ansible_collections.tenantry.kube.plugins.modules.{name}").main()
finally:
    print(f"writes: {done}", file=sys.stderr)
"""


@dataclass(frozen=True)
class Interrupted:
    status: int
    text: str

    @property
    def writes(self) -> int:
        """All it asked for, where it came to its end."""
        return int(self.text.rsplit("writes: ", 1)[1].split()[0])


def interrupted(module: str, number: int, signal: int, when: str, **arguments: Any) -> Interrupted:
    """With a number of 0 it runs to its end."""
    run = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps([module, arguments, number, signal, when], default=str),
        capture_output=True,
        text=True,
        check=False,
    )
    return Interrupted(run.returncode, run.stdout + run.stderr)
