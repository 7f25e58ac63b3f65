"""`python3 -m tenantry_lab`, as tests/lab/lab calls it."""

from __future__ import annotations

import sys

from .cli import main

sys.exit(main())
