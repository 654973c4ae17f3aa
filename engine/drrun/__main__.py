"""`python -m drrun`: the same as `drrun`."""

from __future__ import annotations

from drrun.cli.main import main

if __name__ == "__main__":
    main()
