"""The error of a template, known to those that read one and to those that evaluate one."""

from __future__ import annotations

from drrun.errors import AuthorError
from drrun.lang.diagnostics import Loc


class TemplateError(AuthorError):
    """A template is wrong. `where` is the path to its text, `name` the word to point at."""

    def __init__(
        self, message: str, *, code: str = "bad-template", hint: str = "", name: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.name = name
        self.where: Loc = ()
