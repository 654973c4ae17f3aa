"""drrun: disaster-recovery runbooks that say what they will do, do it once, and prove it."""

__version__ = "0.1.0"
