"""`python -m drrun_lab`: the same as `drrun lab`."""

from __future__ import annotations

import sys

from drrun_lab.cli import lab

if __name__ == "__main__":
    try:
        sys.exit(lab())
    except KeyboardInterrupt:
        sys.exit(130)
