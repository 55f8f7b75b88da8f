"""Reading the settings: a YAML file, then `ROUTER_*` variables, then flags; every wrong value is told with its path."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from router.errors import ConfigurationError
from router.settings import CONFIG_VARIABLE, DELIMITER, PREFIX, Settings


def load_settings(config: Path | None = None, overrides: Mapping[str, str] | None = None) -> Settings:
    """Read file, environment and flags into one tree.

    Args:
        config: YAML file; None takes the one that `ROUTER_CONFIG` names, if any.
        overrides: Flags, dotted path -> YAML text of the value (`{"server.port": "0"}`).

    Raises:
        ConfigurationError: A wrong value (names its path and what is allowed), an unknown key or variable, a missing file.
    """
    file = config or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if file is not None and not file.is_file():
        raise ConfigurationError(f"the configuration file {file} does not exist", field="config")
    _refuse_unknown_variables()
    before = os.environ.get(CONFIG_VARIABLE)
    try:
        if file is not None:
            os.environ[CONFIG_VARIABLE] = str(file)
        return Settings(**_nested(overrides or {}))
    except ValidationError as error:
        raise ConfigurationError(_explain(error), field=_path(error.errors()[0]["loc"])) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(f"the configuration cannot be read: {error}", field="config") from error
    finally:
        if before is None:
            os.environ.pop(CONFIG_VARIABLE, None)
        else:
            os.environ[CONFIG_VARIABLE] = before


def overridden(settings: Settings, overrides: Mapping[str, str]) -> Settings:
    """The same tree with some values changed. A path leads into what is there: one setting of a source leaves the other sources be.

    Args:
        settings: The tree.
        overrides: Dotted path -> YAML text of the value.

    Raises:
        ConfigurationError: A path or a value that is wrong.
    """
    tree = settings.model_dump()
    for path, text in overrides.items():
        _put(tree, path, text)
    try:
        return Settings(**tree)
    except ValidationError as error:
        raise ConfigurationError(_explain(error), field=_path(error.errors()[0]["loc"])) from error


def shown(settings: Settings) -> str:
    """The tree as YAML, secrets masked."""
    return yaml.safe_dump(settings.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def _refuse_unknown_variables() -> None:
    # pydantic-settings refuses an unknown nested variable, but passes over an unknown top-level one: a typo would be silent.
    known = {f"{PREFIX}{name}".upper() for name in Settings.model_fields} | {CONFIG_VARIABLE}
    for variable in os.environ:
        top = variable.upper().split(DELIMITER)[0]
        if top.startswith(PREFIX) and top not in known:
            allowed = ", ".join(sorted(known))
            raise ConfigurationError(f"the environment variable {variable} is not a setting; allowed beginnings: {allowed}", field=variable)


def _nested(overrides: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, text in overrides.items():
        _put(tree, path, text)
    return tree


def _put(tree: dict[str, Any], path: str, text: str) -> None:
    *parents, leaf = path.split(".")
    place = tree
    for parent in parents:
        if place.get(parent) is None:
            place[parent] = {}
        if not isinstance(place[parent], dict):
            raise ConfigurationError(f"--set {path}: {parent} has no settings of its own", field=path)
        place = place[parent]
    try:
        place[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"--set {path}: the value is not YAML: {text!r}", field=path) from error


def _path(location: tuple[int | str, ...]) -> str:
    # pydantic marks a wrong key, as opposed to its value, by a part of its own.
    return ".".join(str(part) for part in location if part != "[key]")


def _explain(error: ValidationError) -> str:
    # The input is left out on purpose: it may be a secret.
    return "\n".join(f"{_path(problem['loc']) or 'settings'}: {problem['msg']}" for problem in error.errors())
