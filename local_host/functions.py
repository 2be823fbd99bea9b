"""The functions of an app, as its decorators describe them."""

from __future__ import annotations

import importlib
import inspect
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure.functions as func

from local_host.settings import HostError

HTTP, QUEUE, BLOB, TIMER = "httpTrigger", "queueTrigger", "blobTrigger", "timerTrigger"
SUPPORTED = (HTTP, QUEUE, BLOB, TIMER)


@dataclass(frozen=True, slots=True)
class HostedFunction:
    """One function with its trigger.

    Parameters
    ----------
    name : str
        Unique in the app.
    trigger : dict[str, Any]
        The trigger's binding as JSON: ``type``, ``name`` and what the type has.
    call : Callable
        The function itself; takes the trigger's value under the name of the binding.
    is_async : bool
        Whether it is a coroutine function; others run in a thread.
    """

    name: str
    trigger: dict[str, Any]
    call: Callable[..., Any]
    is_async: bool

    @property
    def type(self) -> str:
        return str(self.trigger["type"])

    @property
    def argument(self) -> str:
        return str(self.trigger["name"])


def load_functions(directory: Path, module: str = "function_app") -> list[HostedFunction]:
    """Import the app and read its functions.

    Raises
    ------
    HostError
        There is not exactly one app, or a function uses what this host does not have.
    """
    if not (directory / f"{module}.py").exists():
        raise HostError(f"{directory} has no {module}.py")
    sys.path.insert(0, str(directory))
    loaded = importlib.import_module(module)
    apps = [value for value in vars(loaded).values() if isinstance(value, func.FunctionRegister)]
    if len(apps) != 1:
        raise HostError(f"{module}.py must have exactly one FunctionApp, not {len(apps)}")
    return [_hosted(function) for function in apps[0].get_functions()]


def _hosted(function: Any) -> HostedFunction:
    name = str(function.get_function_name())
    # through JSON, so that enumerations are their text
    bindings = json.loads(function.get_function_json())["bindings"]
    triggers = [one for one in bindings if one["type"].lower().endswith("trigger")]
    if len(triggers) != 1:
        raise HostError(f"function {name} must have exactly one trigger")
    trigger = triggers[0]
    if trigger["type"] not in SUPPORTED:
        known = ", ".join(SUPPORTED)
        raise HostError(f"function {name}: {trigger['type']} is not one of {known}")
    others = [one["type"] for one in bindings if one is not trigger and one["type"] != "http"]
    if others:
        raise HostError(f"function {name}: the binding {others[0]} is not supported here")
    if function.get_settings_dict("retry_policy"):
        raise HostError(f"function {name}: a retry policy is not supported here")
    call = function.get_user_function()
    hosted = HostedFunction(name, trigger, call, inspect.iscoroutinefunction(call))
    _check_parameters(hosted)
    return hosted


def _check_parameters(function: HostedFunction) -> None:
    taken = set(inspect.signature(function.call).parameters)
    if taken != {function.argument}:
        wrong = ", ".join(sorted(taken ^ {function.argument}))
        raise HostError(
            f"function {function.name}: parameters and bindings must be the same; see {wrong}"
        )
    if function.type == HTTP and not function.is_async:
        raise HostError(f"function {function.name}: an HTTP function must be 'async def'")
