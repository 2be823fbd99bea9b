"""Whether Docker runs here."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache


@cache
def docker_runs() -> bool:
    """Whether a Docker daemon answers."""
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        answer = subprocess.run([docker, "info"], capture_output=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0
