"""Errors that a user can act on: what was wrong, where, and what to do."""

from __future__ import annotations


class UserError(Exception):
    """A problem in the input or the machine, with its place and remedy; the command line prints it without a traceback.

    `where` names the file and row (or key); `remedy` says what to do.
    """

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        self.what, self.where, self.remedy = what, where, remedy
        message = f"{where}: {what}" if where else what
        super().__init__(f"{message}\n  remedy: {remedy}" if remedy else message)
