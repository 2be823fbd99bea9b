from __future__ import annotations

import sys
import textwrap

import pytest

from local_host.functions import load_functions
from local_host.settings import HostError

HEAD = """
import azure.functions as func
app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
"""


@pytest.fixture
def load(tmp_path, monkeypatch):
    def from_code(code: str, *, head: str = HEAD):
        name = f"app_{tmp_path.name}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(head + textwrap.dedent(code))
        monkeypatch.setattr(sys, "path", [*sys.path])
        monkeypatch.delitem(sys.modules, name, raising=False)
        return load_functions(tmp_path, name)

    return from_code


def test_functions_are_read_with_their_triggers(load):
    functions = load(
        """
        @app.function_name("one")
        @app.route(route="s/{x}", methods=["GET", "DELETE"])
        async def f(req): ...

        @app.queue_trigger(arg_name="msg", queue_name="work", connection="X")
        def two(msg): ...

        @app.blob_trigger(arg_name="b", path="c/{n}", connection="X", source="EventGrid")
        def three(b): ...

        @app.timer_trigger(arg_name="t", schedule="0 0 * * * *", run_on_startup=True)
        async def four(t): ...
        """
    )
    assert [(one.name, one.type, one.argument, one.is_async) for one in functions] == [
        ("one", "httpTrigger", "req", True),
        ("two", "queueTrigger", "msg", False),
        ("three", "blobTrigger", "b", False),
        ("four", "timerTrigger", "t", True),
    ]
    assert functions[0].trigger["methods"] == ["GET", "DELETE"]
    assert functions[0].trigger["route"] == "s/{x}"
    assert functions[3].trigger["runOnStartup"] is True


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (
            '@app.event_grid_trigger(arg_name="e")\ndef f(e): ...',
            "function f: eventGridTrigger is not one of",
        ),
        (
            '@app.route(route="x")\ndef f(req): ...',
            "function f: an HTTP function must be 'async def'",
        ),
        (
            '@app.timer_trigger(arg_name="t", schedule="0 0 * * * *")\ndef f(timer): ...',
            "function f: parameters and bindings",
        ),
        (
            '@app.timer_trigger(arg_name="t", schedule="0 0 * * * *")\ndef f(t, context): ...',
            "see context",
        ),
        (
            '@app.retry(strategy="fixed_delay", max_retry_count="3", delay_interval="00:00:01")\n'
            '@app.timer_trigger(arg_name="t", schedule="0 0 * * * *")\ndef f(t): ...',
            "function f: a retry policy is not supported here",
        ),
        (
            '@app.queue_output(arg_name="out", queue_name="q", connection="X")\n'
            '@app.timer_trigger(arg_name="t", schedule="0 0 * * * *")\ndef f(t, out): ...',
            "function f: the binding queue is not supported here",
        ),
        ("other = func.FunctionApp()", "exactly one FunctionApp, not 2"),
    ],
)
def test_what_this_host_cannot_do_is_refused_by_name(load, code, message):
    with pytest.raises(HostError, match=message):
        load(code)


def test_a_folder_without_an_app_is_refused(tmp_path):
    with pytest.raises(HostError, match=r"has no function_app\.py"):
        load_functions(tmp_path)


def test_a_module_without_an_app_is_refused(load):
    with pytest.raises(HostError, match="exactly one FunctionApp, not 0"):
        load("", head="")
