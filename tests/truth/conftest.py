"""How many runbooks hypothesis makes up: few in `make test`, as many as it takes in `make truth`."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("truth", max_examples=2500)
