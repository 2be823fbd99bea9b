"""The command line of dev.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from devtools import quality
from devtools.process import ROOT, Stop
from devtools.serve import serve
from devtools.tenants import tenant

_PASSED_ON = ("test", "bench", "smoke")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dev.py", description="Run, test, check and measure the DICOM service."
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="verb")
    one = verbs.add_parser(
        "serve", help="run the service on this machine", description="Run the service with Azurite."
    )
    one.add_argument("--port", type=int, default=7071, help="port on 127.0.0.1 (7071)")
    one.add_argument(
        "--data", type=Path, default=ROOT / ".local", help="folder of all its data (.local)"
    )
    one.add_argument("--fresh", action="store_true", help="delete what was stored before")
    two = verbs.add_parser(
        "tenant",
        help="list, add, change, suspend, resume, remove tenants",
        description="Change the tenants of the service that runs on this machine.",
        usage="dev.py tenant [--data FOLDER] list|add|change|suspend|resume|remove …",
    )
    two.add_argument("--data", type=Path, default=ROOT / ".local", help="its folder (.local)")
    two.add_argument("words", nargs=argparse.REMAINDER)
    verbs.add_parser(
        "setup",
        help="install what the other verbs need",
        description="Make .venv and node_modules, and run nothing.",
    )
    verbs.add_parser(
        "test",
        help="all that CI runs, or pytest alone with its arguments",
        description="Linters, then pytest. With arguments: pytest alone, with them.",
        usage="dev.py test [pytest arguments]",
    )
    three = verbs.add_parser(
        "check", help="the linters", description="Ruff, mypy, import-linter, the lock file."
    )
    three.add_argument("--audit", action="store_true", help="known holes in packages too (network)")
    verbs.add_parser(
        "bench",
        help="measure side by side",
        description="Run bench/run.py with the given arguments.",
        usage="dev.py bench [arguments of bench/run.py]",
    )
    verbs.add_parser(
        "smoke",
        help="store, find, retrieve, delete one instance",
        description="Try a running service, here or in Azure; what is stored is deleted again.",
        usage="dev.py smoke --base-url ADDRESS [arguments of infra/hooks/smoke.py]",
    )
    return parser


def _pass_on(verb: str, words: list[str]) -> int:
    if verb == "test":
        return quality.test(words)
    return quality.bench(words) if verb == "bench" else quality.smoke(words)


def run(words: Sequence[str]) -> int:
    """Run one verb. The exit status: 2 where it could not begin."""
    passed_on: list[str] = []
    if words and words[0] in _PASSED_ON and words[1:2] not in (["--help"], ["-h"]):
        passed_on, words = list(words[1:]), words[:1]
    arguments = _parser().parse_args(words)
    try:
        if arguments.verb == "serve":
            return serve(arguments.port, arguments.data.resolve(), fresh=arguments.fresh)
        if arguments.verb in _PASSED_ON:
            return _pass_on(arguments.verb, passed_on)
        if arguments.verb == "tenant":
            return tenant(arguments.words, arguments.data.resolve())
        if arguments.verb == "setup":
            return quality.setup()
        return quality.check(with_audit=arguments.audit)
    except Stop as reason:
        print(reason, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
