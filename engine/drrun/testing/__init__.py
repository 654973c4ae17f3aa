"""Shipped fakes for authors of step types and for drrun's own tests.

Rule 1: a fake is scripted and strict: what was not scripted raises, it never makes something up.
"""

from drrun.testing.hosts import FakeChange, FakeGroup, FakeHost, Unscripted

__all__ = ["FakeChange", "FakeGroup", "FakeHost", "Unscripted"]
