"""The published OHIF viewer: a built site in an npm package, whose dependencies are not needed."""

from __future__ import annotations

import shutil
import subprocess
import tarfile
from pathlib import Path

from devtools.process import ROOT
from tests.support.processes import ProgramMissing

_PACKAGE = "@ohif/app@3.12.10"
_FOLDER = ROOT / "node_modules" / ".ohif"


def ohif_site() -> Path:
    """The folder of the site; fetched once, with npm, which checks its integrity.

    Raises
    ------
    ProgramMissing
        There is no npm, or the package cannot be had.
    """
    site = _FOLDER / "package" / "dist"
    if (site / "index.html").exists():
        return site
    npm = shutil.which("npm")
    if npm is None:
        raise ProgramMissing("no npm on PATH")
    _FOLDER.mkdir(parents=True, exist_ok=True)
    packed = subprocess.run(
        [npm, "pack", "--silent", _PACKAGE],
        cwd=_FOLDER, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if packed.returncode != 0:
        raise ProgramMissing(f"npm pack {_PACKAGE} failed")
    archive = _FOLDER / packed.stdout.strip().splitlines()[-1]
    with tarfile.open(archive) as files:
        members = [one for one in files.getmembers() if one.name.startswith("package/dist/")]
        files.extractall(_FOLDER, members=members, filter="data")
    archive.unlink()
    return site
