"""Packages that only some of the work needs: imported when it is their turn, asked for when they are missing."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from ..lang import errors
from ..lang.diagnostics import WeftError


def package(module: str, extra: str, purpose: str) -> ModuleType:
    """A module of a package that `pip install 'weft[EXTRA]'` brings. Raises WeftError (E0957) when it is not there."""
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise WeftError(errors.missing_package(module.partition(".")[0], extra, purpose)) from error
