"""``python3 dev.py smoke``: stores, finds, retrieves and deletes one instance of a running service.

The instance is made up, and deleted whatever happens; its file then stays for
``DICOM_RETENTION_DAYS`` as every deleted one, and the change feed tells of both.
"""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import httpx

from infra.hooks import azd

TOKEN = "DICOM_TOKEN"  # noqa: S105 - the name of a variable
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_TIMEOUT_S = 230.0
_PAUSE_S = 5.0
_DELETE_TRIES = 4
_GONE = (404, 410)


class SmokeTest:
    """One run.

    Parameters
    ----------
    base_url : str
        Of the service, without tenant.
    tenant : str
        Where the instance is stored, in the default data partition.
    token : Callable or None
        Gives a token of an owner; ``None``: nobody has to sign in.
    pause : Callable
        Waits so many seconds.
    """

    def __init__(
        self,
        base_url: str,
        tenant: str,
        token: Callable[[], str] | None,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.base_url = f"{base_url.rstrip('/')}/{tenant}/v2"
        self._root = base_url.rstrip("/")
        self._tenant = tenant
        self._token = token
        self._pause = pause
        host = urlsplit(base_url).hostname or ""
        self._is_local = host in _LOOPBACK
        # a proxy of the environment must not be asked for an address of this machine
        self._http = httpx.Client(timeout=_TIMEOUT_S, trust_env=not self._is_local)
        self.study, series, self._instance = (f"2.25.{uuid.uuid4().int}" for _ in range(3))
        self._path = f"/studies/{self.study}/series/{series}/instances/{self._instance}"
        self._file = synthetic_instance(self.study, series, self._instance)
        self._may_be_there = False
        self._store_was_answered = False

    def run(self, patience_s: float) -> Iterator[str]:
        """Do the test. A line for each step that has held.

        Parameters
        ----------
        patience_s : float
            Seconds that the service may take to answer at all: it starts, and roles of its
            identity take minutes to hold.

        Raises
        ------
        HookStopped
            A step did not hold; the message says which, and what to look at.
        """
        with self._http:
            yield self._wait_for_health(patience_s)
            yield self._look_at_the_door()
            with self._leaving_nothing():
                yield self._store()
                yield self._search()
                yield self._retrieve()
                yield self._delete()

    def _wait_for_health(self, patience_s: float) -> str:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                answer = self._http.get(f"{self._root}/health/check")
                if answer.status_code == 200:
                    return "health: the stores answer"
                said = f"{answer.status_code} {_health_of(answer)}".rstrip()
            except httpx.TransportError as error:
                said = f"nothing ({type(error).__name__})"
            if time.monotonic() > deadline:
                raise azd.HookStopped(
                    f"{self._root}/health/check answers {said}.\n"
                    "Nothing: from here there may be no way to the service, as where its network "
                    "is private; run python3 dev.py smoke from inside it.\n"
                    "404: the functions are not loaded; look at the log stream of the app.\n"
                    "503: the service runs and cannot reach what is named; look at the roles of "
                    "its identity, and at private endpoints and their names."
                )
            self._pause(_PAUSE_S)

    def _look_at_the_door(self) -> str:
        answer = self._send("GET", "/studies?limit=1", step="sign-in", with_token=False)
        if answer.status_code in (401, 404):
            if self._token is None:
                raise azd.HookStopped(
                    f"The service wants a token. Set {TOKEN}, or name the --audience for which "
                    "azd or the Azure CLI is to get one."
                )
            return "sign-in: nobody gets in without a token"
        if self._is_local and answer.status_code < 300:
            return "sign-in: is off on this machine"
        if answer.status_code < 300:
            raise azd.HookStopped(
                "The service lets anybody in. DICOM_SIGN_IN must not be off in Azure."
            )
        raise self._not(answer, "sign-in", 401)

    def _store(self) -> str:
        self._may_be_there = True
        answer = self._send(
            "POST", "/studies", content=self._file, step="store",
            headers={"Content-Type": "application/dicom", "Accept": "application/dicom+json"},
        )  # fmt: skip
        self._store_was_answered = answer.status_code < 500
        self._may_be_there = not 400 <= answer.status_code < 500
        if answer.status_code != 200 or _values(answer, "00081199", "00081155") != [self._instance]:
            raise self._not(answer, "store", 200)
        return f"store: study {self.study}"

    def _search(self) -> str:
        answer = self._send(
            "GET", f"/studies?StudyInstanceUID={self.study}", step="search",
            headers={"Accept": "application/dicom+json"},
        )  # fmt: skip
        if answer.status_code != 200:
            raise self._not(answer, "search", 200)
        if _values(answer, None, "0020000D") != [self.study]:
            raise azd.HookStopped("search: it did not find the study, or not only this one.")
        return "search: found"

    def _retrieve(self) -> str:
        answer = self._send(
            "GET", self._path, step="retrieve",
            headers={"Accept": "application/dicom; transfer-syntax=*"},
        )  # fmt: skip
        if answer.status_code != 200:
            raise self._not(answer, "retrieve", 200)
        if answer.content != self._file:
            raise azd.HookStopped(
                f"retrieve: {len(answer.content)} bytes that are not the {len(self._file)} that "
                "were stored."
            )
        return f"retrieve: the same {len(self._file)} bytes"

    def _delete(self) -> str:
        answer = self._send("DELETE", f"/studies/{self.study}", step="delete")
        if answer.status_code != 204:
            raise self._not(answer, "delete", 204)
        again = self._send("GET", f"{self._path}/metadata", step="delete")
        if again.status_code not in _GONE:
            raise self._not(again, "delete, and look again", 404)
        return "delete: gone"

    @contextmanager
    def _leaving_nothing(self) -> Iterator[None]:
        """Delete the study where the test ends early, by whatever cause."""
        try:
            yield
        except BaseException:
            if self._may_be_there and not self._clean_up():
                print(
                    f"The study could not be deleted. When the service answers again:\n\n"
                    f'curl -X DELETE -H "Authorization: Bearer $TOKEN" '
                    f"{self.base_url}/studies/{self.study}\n",
                    file=sys.stderr,
                )
            raise

    def _clean_up(self) -> bool:
        """Whether nothing is left. A store whose answer was lost may still be at work."""
        gone = False
        for attempt in range(_DELETE_TRIES):
            try:
                answer = self._send("DELETE", f"/studies/{self.study}", step="clean-up")
            except azd.HookStopped:
                gone = False
            else:
                gone = answer.status_code in _GONE
                if answer.status_code == 204 or (gone and self._store_was_answered):
                    return True
            if attempt < _DELETE_TRIES - 1:
                self._pause(_PAUSE_S)
        return gone

    def _send(
        self,
        method: str,
        path: str,
        *,
        step: str,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        with_token: bool = True,
    ) -> httpx.Response:
        sent = dict(headers or {})
        if self._token is not None and with_token:
            sent["Authorization"] = f"Bearer {self._token()}"
        try:
            return self._http.request(method, self.base_url + path, content=content, headers=sent)
        except httpx.TransportError as error:
            raise azd.HookStopped(
                f"{step}: the service did not answer ({type(error).__name__})."
            ) from None

    def _not(self, answer: httpx.Response, step: str, wanted: int) -> azd.HookStopped:
        """What to say of an answer that is none."""
        hints = {
            401: "The token is not taken: look whether DICOM_ISSUERS names the directory, and the "
            "tenant's audiences (its row in the registry, or DICOM_AUDIENCE) the registration. "
            f"{answer.headers.get('WWW-Authenticate', '')}",
            403: "The token is good, and its caller lacks the role Dicom.DataOwner: Entra ID, "
            "Enterprise applications, Users and groups. A new role is in the next token only.",
            404: f"There is no tenant {self._tenant} for this token.",
            503: "A store does not answer; /health/check says which.",
        }
        correlation = answer.headers.get("x-correlation-id", "none")
        return azd.HookStopped(
            f"{step}: {answer.status_code} in place of {wanted}. "
            f"{hints.get(answer.status_code, 'The log says more.')}\n"
            f"x-correlation-id: {correlation}"
        )


def synthetic_instance(study: str, series: str, instance: str) -> bytes:
    """A Secondary Capture of 16 × 16 pixels, and of nobody (PS3.3 A.8.1)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = UID(instance)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data_set = Dataset()
    data_set.file_meta = meta
    data_set.SOPClassUID, data_set.SOPInstanceUID = SecondaryCaptureImageStorage, instance
    data_set.StudyInstanceUID, data_set.SeriesInstanceUID = study, series
    data_set.PatientName, data_set.PatientID = "", "SMOKE-TEST"
    data_set.StudyDate, data_set.StudyTime = "20000101", "000000"
    data_set.Modality, data_set.ConversionType = "OT", "SYN"
    data_set.StudyDescription = "Smoke test of the service"
    data_set.Rows = data_set.Columns = 16
    data_set.SamplesPerPixel, data_set.PhotometricInterpretation = 1, "MONOCHROME2"
    data_set.BitsAllocated, data_set.BitsStored, data_set.HighBit = 8, 8, 7
    data_set.PixelRepresentation = 0
    data_set.PixelData = bytes(range(256))
    content = io.BytesIO()
    data_set.save_as(content, enforce_file_format=True)
    return content.getvalue()


def run(test: SmokeTest, patience_s: float) -> None:
    """Do a test and print what holds; at the end the address for clients.

    Raises
    ------
    HookStopped
        A step did not hold.
    """
    for line in test.run(patience_s):
        print(f"  {line}", flush=True)
    print(f"\n{test.base_url}\n")


def _values(answer: httpx.Response, sequence: str | None, tag: str) -> list[str]:
    """The first value of an element in each item of an answer in DICOM JSON; none if it is not."""
    try:
        items = answer.json() if sequence is None else answer.json()[sequence]["Value"]
        return [item[tag]["Value"][0] for item in items]
    except (ValueError, KeyError, TypeError, IndexError):
        return []


def _health_of(answer: httpx.Response) -> str:
    """The names of what is not healthy."""
    try:
        rows = answer.json()["details"]
        return ", ".join(row["name"] for row in rows if row["status"] != "Healthy")
    except (ValueError, KeyError, TypeError):
        return ""


def parser() -> argparse.ArgumentParser:
    """The arguments."""
    words = argparse.ArgumentParser(prog="dev.py smoke", description=__doc__)
    words.add_argument("--base-url", required=True, help="of the service, without tenant")
    words.add_argument("--tenant", default="main", help="where it is tried (main)")
    words.add_argument(
        "--audience",
        help="api://{client id}: get a token for it as who is signed in to azd or the Azure CLI; "
        f"else {TOKEN} of the environment is the token",
    )
    words.add_argument("--directory", default="", help="of Entra ID, if it is not your own")
    words.add_argument("--patience", type=float, default=60.0, help="seconds to wait for health")
    return words


def _end(number: int, _: object) -> NoReturn:
    sys.exit(128 + number)


def main(words: Sequence[str]) -> None:
    """The command."""
    arguments = parser().parse_args(words)
    token: Callable[[], str] | None = None
    if arguments.audience:
        scope = f"{arguments.audience.rstrip('/')}/.default"
        token = azd.token_source(azd.credential(arguments.directory), scope)
    elif os.environ.get(TOKEN):
        own = os.environ[TOKEN]
        token = lambda: own  # noqa: E731
    signal.signal(signal.SIGTERM, _end)  # as an exception, so that nothing is left behind
    run(SmokeTest(arguments.base_url, arguments.tenant, token), arguments.patience)


if __name__ == "__main__":
    sys.exit(azd.run(lambda: main(sys.argv[1:])))
