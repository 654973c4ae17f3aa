"""A run as one HTML page: self-contained, no script, no outside link. Pure."""

from __future__ import annotations

from collections.abc import Callable

from drrun.report.story import Story


def page(story: Story, output: Callable[[str], bytes]) -> str:
    """The page."""
    del output
    return f"<!doctype html><title>{story.plan.run}</title>"
