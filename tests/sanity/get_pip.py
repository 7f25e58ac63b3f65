"""Stand-in for get-pip.py, which ansible-test downloads from a host that many sites cannot reach.

Called by ansible-test with the options of get-pip.py; does the same with ensurepip and the package index.
"""

from __future__ import annotations

import ensurepip
import os
import runpy
import sys
from pathlib import Path

# The pip that older interpreters bundle trusts only the CAs it ships; a site's own CA is in the system's bundle.
SYSTEM_CAS = Path("/etc/ssl/certs/ca-certificates.crt")

ensurepip.bootstrap()
if SYSTEM_CAS.exists():
    os.environ.setdefault("PIP_CERT", str(SYSTEM_CAS))
sys.argv[1:] = ["install", *(option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel"))]
runpy.run_module("pip.__main__", run_name="__main__", alter_sys=True)
