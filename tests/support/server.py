"""The service as a process of its own, for tests over real HTTP.

    with Server(connection=azurite, data=tmp_path) as server:
        httpx.get(f"{server.base_url}/health/check")

``host="worker"`` runs the same app under Microsoft's worker library (``real_worker.py``).
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import dev
from devtools.environment import ensure_environment, one_at_a_time
from devtools.process import ROOT, Guarded, Stop, run
from tests.support.patients import of_index, told_in
from tests.support.processes import free_ports

WORKER_ENVIRONMENT = ROOT / ".venv-worker"
_WORKER_PACKAGES = (
    "azure-functions-runtime", "httpx>=0.28,<1", "uvicorn>=0.54,<1", "websockets>=15,<16",
)  # fmt: skip
_START_S = 60.0
_BODY_LIMIT = 4 * 1024**3
SECRETS_KEY = "dGVzdHMgdGVzdHMgdGVzdHMgdGVzdHMgdGVzdHMgISE="


class NoWorker(Exception):
    """The worker library cannot be run here; the message says why."""


def worker_python() -> Path:
    """An interpreter that has the worker library: of ``.venv-worker``, made if absent.

    Raises
    ------
    NoWorker
        There is no Python 3.13, or the packages cannot be installed.
    """
    for python in (sys.executable, *dev.candidates()):
        if dev.version_of(python) == (3, 13):
            break
    else:
        raise NoWorker("no Python 3.13 on PATH or under ~/.pyenv/versions")
    requirements = ROOT / "requirements.txt"
    try:
        with one_at_a_time():
            ensure_environment(
                WORKER_ENVIRONMENT,
                python,
                ("-r", requirements.name, *_WORKER_PACKAGES),
                [requirements],
            )
    except Stop as reason:
        raise NoWorker(str(reason)) from reason
    return WORKER_ENVIRONMENT / "bin" / "python"


class Server:
    """A hosted app.

    Parameters
    ----------
    connection : str
        Connection string of a storage account that no other service of this session uses (see the
        fixture ``new_account``): they would take each other's messages.
    data : Path
        Folder for the index, the host's state and the log; made if absent.
    app : Path
        Folder of ``function_app.py``; the project's own if absent.
    port : int
        Port on loopback; 0 takes a free one, which a restart keeps.
    host : {"local", "worker"}
        Whether ``local_host`` loads the app, or Microsoft's worker library.
    environment : Mapping[str, str] | None
        Settings in place of or beside the usual ones.
    seed : bool
        Whether to write the tenants' rows and containers before the first start.
    """

    def __init__(
        self,
        *,
        connection: str,
        data: Path,
        app: Path = ROOT,
        port: int = 0,
        host: Literal["local", "worker"] = "local",
        environment: Mapping[str, str] | None = None,
        seed: bool = False,
    ) -> None:
        self.port = port or free_ports(1)[0]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.log = data / "server.log"
        self.pid = 0
        self.connection = connection
        self._app = app
        self._data = data
        self._python = worker_python() if host == "worker" else Path(sys.executable)
        self._module = "tests.support.real_worker" if host == "worker" else "local_host"
        self._seed = seed
        self._guarded: Guarded | None = None
        self.environment = {
            **os.environ,
            "AzureWebJobsStorage": connection,
            "DicomStorage": connection,
            "DICOM_SQLITE_DIRECTORY": str(data / "index"),
            "DICOM_PUBLIC_BASE_URL": self.base_url,
            "DICOM_TENANTS": "main",
            "DICOM_SIGN_IN": "off",
            "DICOM_EXPORT_HOSTS": "127.0.0.1",
            "DICOM_SECRETS_KEY": SECRETS_KEY,
            "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(_BODY_LIMIT),
            "PYTHONUNBUFFERED": "1",
            **(environment or {}),
        }

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the process; returns when it answers.

        Raises
        ------
        RuntimeError
            It ended or did not answer; the message holds the end of its log.
        """
        (self._data / "index").mkdir(parents=True, exist_ok=True)
        if self._seed:
            self._seed = False
            if run([sys.executable, "-m", "local_host.seed"], environment=self.environment) != 0:
                raise RuntimeError("local_host.seed failed; see its lines above")
        words = ["--app", str(self._app), "--port", str(self.port)]
        state = str(self._data / "host")
        with self.log.open("ab") as log:
            begin = log.tell()
            self._guarded = Guarded(
                [self._python, "-m", self._module, *words, "--state", state],
                environment=self.environment,
                log=log,
            )
        self.pid = self._wait_until_ready(begin)

    def _wait_until_ready(self, begin: int) -> int:
        """The process id in the line that says "ready"."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            text = self.log.read_bytes()[begin:].decode("utf-8", "replace")
            for line in text.splitlines(keepends=True):
                if line.startswith("ready http://") and line.endswith("\n"):
                    return int(line.split()[3])
            if self._guarded is None or self._guarded.status is not None:
                break
            time.sleep(0.02)
        self.stop()
        raise RuntimeError(f"the server did not start:\n{self.log_text()[-4000:]}")

    def stop(self) -> int | None:
        """End the process in good order. Its exit status; ``None`` if it never began.

        Raises
        ------
        AssertionError
            It has logged, or noted in the audit log, something of a patient.
        """
        if self._guarded is None:
            return None
        self._guarded.stop()
        status = self._guarded.status
        self._guarded = None
        self._look_for_patients()
        return status

    def _look_for_patients(self) -> None:
        """Nothing of those whose images are in the index is in what was written beside it."""
        patients = of_index(Path(self.environment["DICOM_SQLITE_DIRECTORY"]))
        written = {"log": self.log_text()}
        audit = Path(self.environment.get("DICOM_AUDIT_FILE", ""))
        if audit.is_file():
            written["audit log"] = audit.read_text("utf-8")
        for what, text in written.items():
            found = told_in(text, patients)
            assert found is None, f"the {what} has {found!r} of a patient"

    def kill(self) -> None:
        """End the process at once, as a crash would (SIGKILL)."""
        os.kill(self.pid, signal.SIGKILL)
        self.stop()

    def restart(self) -> None:
        """Stop, if it runs, and start again on the same port with the same data."""
        self.stop()
        self.start()

    def log_text(self) -> str:
        """All that the process has printed, over all its starts."""
        return self.log.read_text("utf-8", "replace") if self.log.exists() else ""

    def rss_peak(self) -> int:
        """Most resident memory of the process so far, in bytes (Linux)."""
        return _memory(self.pid, "VmHWM")

    def rss(self) -> int:
        """Resident memory of the process now, in bytes (Linux)."""
        return _memory(self.pid, "VmRSS")

    def reset_rss_peak(self) -> None:
        """Let :meth:`rss_peak` begin anew from the memory in use now (Linux)."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5", "ascii")


def _memory(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise RuntimeError(f"process {pid} has no {field}")
