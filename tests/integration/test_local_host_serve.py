"""``dev.py serve`` from a copy of the project whose app is a small one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from devtools.process import ROOT
from tests.support.processes import free_ports

pytestmark = pytest.mark.azurite

APP = """
import azure.functions as func
import azurefunctions.extensions.http.fastapi
from starlette.requests import Request
from starlette.responses import Response

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)


@app.route(route="health/check", methods=["GET"])
async def health(req: Request) -> Response:
    return Response("{}")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    folder: Path = tmp_path_factory.mktemp("project")
    for name in ("devtools", "local_host", "shared"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dev.py", "host.json", "package-lock.json", "package.json"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("requirements.txt", "requirements-dev.txt"):
        shutil.copy(ROOT / name, folder / name)
    for name in (".venv", "node_modules"):
        if not (ROOT / name).exists():
            pytest.skip(f"{name} is not there: run python3 dev.py setup")
        (folder / name).symlink_to(ROOT / name)
    (folder / "function_app.py").write_text(APP)
    return folder


class Serve:
    """One ``dev.py serve``."""

    def __init__(self, project: Path, data: Path, port: int, *words: str) -> None:
        self.port, self.data = port, data
        self.output = data.with_suffix(".out")
        command = [sys.executable, "dev.py", "serve", "--port", str(port), "--data", str(data)]
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, *words],
                cwd=project,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_up(self) -> str:
        deadline = time.monotonic() + 60
        while "Ctrl-C ends it" not in self.text():
            assert self.process.poll() is None, self.text()
            assert time.monotonic() < deadline, self.text()
            time.sleep(0.05)
        time.sleep(0.1)
        return self.text()

    def text(self) -> str:
        return self.output.read_text()

    def programs(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))


@pytest.fixture
def serve(project, tmp_path) -> Iterator:
    started: list[Serve] = []

    def one(*words: str, port: int = 0, data: str = "data") -> Serve:
        started.append(Serve(project, tmp_path / data, port or free_ports(1)[0], *words))
        return started[-1]

    yield one
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
        each.process.wait()


def gone(programs: list[psutil.Process]) -> None:
    _, alive = psutil.wait_procs(programs, timeout=20)
    assert alive == []


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/check", timeout=5):
            return True
    except urllib.error.URLError:
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_is_and_ends_all_that_it_started(serve, number):
    one = serve()
    text = one.wait_until_up()
    assert f"http://127.0.0.1:{one.port}/main/v2\n" in text
    commands = [line for line in text.splitlines() if line.startswith("  ")]
    assert len(commands) == 3
    file = re.search(r'"([^"]*CT_small\.dcm)"', commands[0])
    assert file is None or Path(file[1]).is_file()
    assert answers(one.port)
    programs = one.programs()
    names = " ".join(" ".join(program.cmdline()) for program in programs)
    assert "azurite" in names
    assert "local_host" in names
    one.process.send_signal(number)
    assert one.process.wait(20) == 0
    gone(programs)
    assert not answers(one.port)


def test_nothing_is_left_after_kill_9(serve):
    one = serve()
    one.wait_until_up()
    programs = one.programs()
    assert len(programs) == 4  # Azurite and the app, each with its guard
    one.process.kill()
    gone(programs)


def test_an_app_that_ends_ends_the_rest(serve):
    one = serve()
    one.wait_until_up()
    programs = one.programs()
    (app,) = [each for each in programs if each.cmdline()[1:3] == ["-m", "local_host"]]
    app.kill()
    assert one.process.wait(20) == 2
    assert "app ended with status 137" in one.text()
    gone(programs)


def test_a_taken_port_and_a_taken_folder_are_named(serve):
    one = serve()
    one.wait_until_up()
    second = serve(port=one.port, data="other")
    assert second.process.wait(20) == 2
    assert f"port {one.port} is taken" in second.text()
    assert "--port" in second.text()
    third = serve()
    assert third.process.wait(20) == 2
    assert f"another serve (process {one.process.pid})" in third.text()
    assert answers(one.port)


def test_a_second_start_has_the_data_and_fresh_has_not(serve, tmp_path):
    one = serve()
    one.wait_until_up()
    os.kill(one.process.pid, signal.SIGTERM)
    one.process.wait(20)
    kept = tmp_path / "data" / "index" / "kept"
    kept.touch()
    again = serve(port=one.port)
    again.wait_until_up()
    assert kept.exists()
    again.process.terminate()
    again.process.wait(20)
    fresh = serve("--fresh")
    fresh.wait_until_up()
    assert not kept.exists()


def test_the_registry_has_the_tenant_main(serve):
    from azure.data.tables import TableServiceClient
    from azure.storage.blob import BlobServiceClient

    one = serve()
    one.wait_until_up()
    (app,) = [each for each in one.programs() if each.cmdline()[1:3] == ["-m", "local_host"]]
    connection = app.environ()["DicomStorage"]
    with TableServiceClient.from_connection_string(connection) as tables:
        rows = list(tables.get_table_client("tenants").list_entities())
    with BlobServiceClient.from_connection_string(connection) as blobs:
        assert [container.name for container in blobs.list_containers()] == ["dicom-main"]
    assert [row["RowKey"] for row in rows] == ["main"]
