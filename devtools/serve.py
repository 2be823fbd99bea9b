"""``serve``: Azurite and the app on this machine, until Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from devtools.data import DataFolder, port_is_free
from devtools.environment import (
    NODE_MODULES,
    PYTHON,
    VENV,
    Node,
    ensure_node,
    ensure_venv,
    one_at_a_time,
)
from devtools.process import Guarded, Stop

_AZURITE = NODE_MODULES / "azurite" / "dist" / "src" / "azurite.js"
# Azurite's built-in account; its key is public knowledge
_ACCOUNT = "devstoreaccount1"
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
_KEEP_ALIVE_S = 120
_START_S = 60.0
_MIB = 1024 * 1024
_DEFAULT_REQUEST_BYTES = 4096 * _MIB

# CT_small.dcm, which pydicom brings along
_STUDY = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
_SERIES = "1.3.6.1.4.1.5962.1.3.1.1.20040119072730.12322"
_INSTANCE = "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322"


def serve(port: int, data: Path, *, fresh: bool) -> int:
    """Run the service until SIGINT or SIGTERM. Exit status 0 then.

    Parameters
    ----------
    port : int
        Port on loopback.
    data : Path
        Folder of all state.
    fresh : bool
        Whether to delete what was stored before.

    Raises
    ------
    Stop
        It cannot be started, or a part of it ended; the message says why.
    """
    began = time.monotonic()
    if not port_is_free(port):
        raise Stop(f"dev.py: port {port} is taken by another program; give another with --port")
    with one_at_a_time():
        ensure_venv()
        node = ensure_node(for_tests=False)
    with DataFolder(data) as folder, _ending_on_signals() as ending, _Parts() as parts:
        if fresh:
            folder.clear()
        connection = _start_azurite(parts, node, folder)
        before = {"DICOM_SECRETS_KEY": folder.secrets_key(), **os.environ}
        environment = app_environment(before, connection, folder.path, port)
        parts.start("seed", [PYTHON, "-m", "local_host.seed"], environment)
        host: list[str | Path] = [PYTHON, "-m", "local_host", "--app", ".", "--port", str(port)]
        parts.start("app", [*host, "--state", folder.path / "host"], environment)
        parts.wait_for_end("seed", ending)
        _wait_for_health(f"http://127.0.0.1:{port}", parts, ending)
        if not ending:
            _greet(f"http://127.0.0.1:{port}/main/v2", time.monotonic() - began)
            if environment["DICOM_SIGN_IN"] == "off":
                print("Sign-in is off: every program on this machine may do everything.\n")
        while not ending:
            parts.raise_if_ended()
            time.sleep(0.2)
        print("\ndev.py: stopping", flush=True)
    return 0


class _Parts:
    """The programs of one run, in the order of their start; stopped in the other order."""

    def __init__(self) -> None:
        self._parts: dict[str, Guarded] = {}

    def __enter__(self) -> _Parts:
        return self

    def __exit__(self, *_: object) -> None:
        for part in reversed(self._parts.values()):
            part.stop()

    def start(
        self,
        name: str,
        command: list[str | Path],
        environment: Mapping[str, str] | None = None,
        log: Path | None = None,
    ) -> None:
        """Start a program under its name in messages."""
        if log is None:
            self._parts[name] = Guarded(command, environment=environment)
            return
        with log.open("wb") as output:
            self._parts[name] = Guarded(command, environment=environment, log=output)

    def raise_if_ended(self) -> None:
        """Stop where a program has ended that should run."""
        for name, part in self._parts.items():
            if part.status is not None:
                raise Stop(f"dev.py: {name} ended with status {part.status}; see its lines above")

    def wait_for_end(self, name: str, ending: list[int]) -> None:
        """Wait until a program has done its work."""
        part = self._parts.pop(name)
        while part.status is None and not ending:
            time.sleep(0.02)
        part.stop()
        if part.status and not ending:
            raise Stop(f"dev.py: {name} failed with status {part.status}; see its lines above")


@contextmanager
def _ending_on_signals() -> Iterator[list[int]]:
    """A list that is empty until SIGINT or SIGTERM comes."""
    ending: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {
        number: signal.signal(number, lambda got, _: ending.append(got)) for number in numbers
    }
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# Azurite ----------------------------------------------------------------------------------


def _start_azurite(parts: _Parts, node: Node, folder: DataFolder) -> str:
    """Start Azurite. Its connection string."""
    ports = folder.ports()
    command: list[str | Path] = [node.node, _AZURITE, "--location", folder.path / "azurite"]
    for service, port in ports.items():
        command += [f"--{service}Port", str(port), f"--{service}Host", "127.0.0.1"]
        # longer than the SDK keeps an idle connection, or it would write into a closed one
        command += [f"--{service}KeepAliveTimeout", str(_KEEP_ALIVE_S)]
    command += ["--skipApiVersionCheck", "--disableProductStyleUrl", "--disableTelemetry"]
    log = folder.path / "logs" / "azurite.log"
    parts.start("Azurite", [*command, "--silent"], log=log)
    deadline = time.monotonic() + _START_S
    while not all(azurite_answers(port) for port in ports.values()):
        try:
            parts.raise_if_ended()
        except Stop:
            raise Stop(f"dev.py: Azurite did not start:\n{log.read_text('utf-8')}") from None
        if time.monotonic() > deadline:
            raise Stop(f"dev.py: Azurite does not answer; see {log}")
        time.sleep(0.02)
    return azurite_connection(ports)


def azurite_connection(ports: Mapping[str, int]) -> str:
    """The connection string of an Azurite on these ports."""
    address = {name: f"http://127.0.0.1:{port}/{_ACCOUNT}" for name, port in ports.items()}
    return (
        f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
        f"BlobEndpoint={address['blob']};QueueEndpoint={address['queue']};"
        f"TableEndpoint={address['table']};"
    )


def azurite_answers(port: int) -> bool:
    """Whether a program listens on this port of loopback."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


# The app ----------------------------------------------------------------------------------


def app_environment(
    before: Mapping[str, str], connection: str, data: Path, port: int
) -> dict[str, str]:
    """The app's settings. What the caller set for the app stays, but for where its stores are."""
    kept = {name: value for name, value in before.items() if not name.startswith("Dicom")}
    limit = before.get("DICOM_MAX_REQUEST_BYTES", "")
    app_limit = int(limit) if limit.isdigit() else _DEFAULT_REQUEST_BYTES
    return {
        # above the app's own limit, whose answer says more than the host's
        "FUNCTIONS_REQUEST_BODY_SIZE_LIMIT": str(app_limit + _MIB),
        "DICOM_EXPORT_HOSTS": "127.0.0.1,localhost,*.blob.core.windows.net",
        # on loopback; whoever sets issuers has callers sign in
        "DICOM_SIGN_IN": "required" if before.get("DICOM_ISSUERS") else "off",
        "DICOM_AUDIT_FILE": str(data / "logs" / "audit.jsonl"),
        **kept,
        "AzureWebJobsStorage": connection,
        "DicomStorage": connection,
        "DICOM_SQLITE_DIRECTORY": str(data / "index"),
        "DICOM_PUBLIC_BASE_URL": f"http://127.0.0.1:{port}",
        "DICOM_TENANTS": "main",
        "PYTHONUNBUFFERED": "1",
    }


def _wait_for_health(base: str, parts: _Parts, ending: list[int]) -> None:
    deadline = time.monotonic() + _START_S
    answer = "nothing"
    # a proxy of the environment must not be asked for an address of this machine
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while not ending:
        parts.raise_if_ended()
        try:
            with opener.open(f"{base}/health/check", timeout=10):
                return
        except urllib.error.HTTPError as error:
            answer = str(error.code)
        except OSError:
            pass
        if time.monotonic() > deadline:
            raise Stop(f"dev.py: {base}/health/check answers {answer} after {_START_S:.0f} s")
        time.sleep(0.02)


def _greet(base_url: str, seconds: float) -> None:
    files = list(VENV.glob("lib/python3*/site-packages/pydicom/data/test_files/CT_small.dcm"))
    print(f"\n{base_url}\n\nup in {seconds:.1f} s; Ctrl-C ends it. Try, in another terminal:\n")
    for line in _commands(base_url, str(files[0]) if files else "FILE.dcm"):
        print(f"  {line}")
    print(flush=True)


def _commands(base_url: str, file: str) -> tuple[str, str, str]:
    """Store, search, retrieve: with curl, or else with dicomweb-client from ``.venv``."""
    one = (
        f"--study {_STUDY} --series {_SERIES} --instance {_INSTANCE}",
        f"studies/{_STUDY}/series/{_SERIES}/instances/{_INSTANCE}",
    )
    if shutil.which("curl"):
        return (
            f"curl -X POST -H 'Content-Type: application/dicom' --data-binary "
            f"@{json.dumps(file)} {base_url}/studies",
            f"curl '{base_url}/studies?PatientID=1CT1&includefield=all'",
            f"curl -H 'Accept: application/octet-stream' -o frame.raw {base_url}/{one[1]}/frames/1",
        )
    client = f"{VENV / 'bin' / 'dicomweb_client'} --url {base_url}"
    return (
        f"{client} store instances {json.dumps(file)}",
        f"{client} search studies --filter PatientID=1CT1 --prettify",
        f"{client} retrieve instances {one[0]} full --save --output-dir .",
    )
