"""``azure.yaml`` and what goes into the package of the code."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import cache
from typing import Any

import yaml

from tests.support.infra.source import ROOT, Infra, reads, resources

_FIELDS = {
    "": {"name", "metadata", "requiredVersions", "infra", "services", "hooks"},
    "metadata": {"template"},
    "infra": {"provider", "path", "module"},
    "service": {"project", "language", "host", "remoteBuild"},
    "hook": {"run"},
}
_STEPS = ("provision", "deploy", "package", "up", "down", "restore", "build", "infracreate")
_IN_THE_PACKAGE = ("function_app.py", "functions", "shared", "host.json", "requirements.txt")
_AT_HOME = (
    ".azure", ".ci", ".git", ".local", ".venv", ".venv-worker", "bench", "devtools", "docs",
    "infra", "local_host", "node_modules", "tests", "azure.yaml", "dev.py", "local.settings.json",
    "package.json", "requirements-dev.txt",
)  # fmt: skip
_REFUSED = {
    "alwaysOn", "appSettings", "ftpsState", "functionAppScaleLimit",
    "functionsRuntimeScaleMonitoringEnabled", "javaVersion", "linuxFxVersion", "nodeVersion",
    "netFrameworkVersion", "preWarmedInstanceCount", "use32BitWorkerProcess", "windowsFxVersion",
}  # fmt: skip
"""Of ``siteConfig``: Azure/terraform-azurerm-avm-res-web-site, 345 (error 51021)."""


def check_project(infra: Infra) -> list[str]:
    """``azure.yaml`` has fields that azd knows, and what it names is there."""
    project = yaml.safe_load(infra.texts["azure.yaml"])
    services, hooks = project["services"], project["hooks"]
    found = _unknown("", project) + _unknown("metadata", project["metadata"])
    if project.get("requiredVersions") != {"azd": ">= 1.24.2"}:
        found.append("azure.yaml: an azd that runs no hooks in Python would do")
    found += _unknown("infra", project["infra"])
    module = f"{project['infra']['path']}/{project['infra']['module']}"
    for file in (f"{module}.bicep", f"{module}.parameters.json"):
        if file not in infra.texts:
            found.append(f"azure.yaml: there is no {file}")
    for name, service in services.items():
        found += _unknown("service", service)
        if (service["host"], service["language"], service.get("remoteBuild")) != (
            "function", "python", True,
        ):  # fmt: skip
            found.append(f"azure.yaml: {name} is no function app in Python, built there")
        if not (ROOT / service["project"] / "host.json").is_file():
            found.append(f"azure.yaml: no code of {name}")
    tags = reads(infra.texts["infra/app/api.bicep"], r"'azd-service-name': '([^']+)'")
    if tags != services.keys():
        found.append(f"azure.yaml: services {sorted(services)}, tags {sorted(tags)}")
    if any(f"output SERVICE_{one.upper()}_NAME " not in _main(infra) for one in services):
        found.append("main.bicep: azd does not learn the name of the app")
    return found + _hooks(hooks)


def _main(infra: Infra) -> str:
    return infra.texts["infra/main.bicep"]


def _unknown(what: str, mapping: dict[str, Any]) -> list[str]:
    more = mapping.keys() - _FIELDS[what]
    return [f"azure.yaml: {what or 'it'} has no {one}" for one in sorted(more)]


def _hooks(hooks: dict[str, Any]) -> list[str]:
    """Each is a step of azd, and a file beside ``requirements.txt``; each file is called."""
    found = []
    for step, hook in hooks.items():
        found += _unknown("hook", hook)
        if step.removeprefix("pre").removeprefix("post") not in _STEPS or step in _STEPS:
            found.append(f"azure.yaml: azd has no step {step}")
        path = ROOT / hook["run"]
        if not path.is_file() or not (path.parent / "requirements.txt").is_file():
            found.append(f"azure.yaml: there is no {hook['run']}")
    programs = [path for path in (ROOT / "infra/hooks").glob("p*.py") if path.stem in _step_names()]
    called = {hook["run"] for hook in hooks.values()}
    return found + [
        f"azure.yaml: {one.name} is not called"
        for one in programs
        if str(one.relative_to(ROOT)) not in called
    ]


def _step_names() -> set[str]:
    return {f"{when}{step}" for when in ("pre", "post") for step in _STEPS}


def check_package(infra: Infra) -> list[str]:
    """The package has the code and what it imports, and nothing else."""
    lines = infra.texts[".funcignore"].splitlines()
    patterns = [one.rstrip("/") for one in lines if one and not one.startswith("#")]

    def stays(name: str) -> bool:
        return any(fnmatch(name, pattern) for pattern in patterns)

    found = [f".funcignore: {one} is left out" for one in _IN_THE_PACKAGE if stays(one)]
    found += [f".funcignore: {one} is packed" for one in _AT_HOME if not stays(one)]
    found += [f"the app imports {one}" for one in sorted(_imported()) if stays(one)]
    found += [f".funcignore: {one} is left out" for one in sorted(_inside()) if stays(one)]
    for line in (ROOT / ".gitignore").read_text("utf-8").splitlines():
        if "/" not in line.rstrip("/") and not stays(line.rstrip("/")):
            found.append(f".funcignore: {line} is packed where it is")
    site = next(
        one for one in resources(infra) if one.type == "Microsoft.Web/sites" and not one.is_existing
    )
    config = site.get("properties", "siteConfig") or ""
    return found + [
        f"siteConfig: Flex Consumption refuses {one}"
        for one in sorted(reads(config, r"(?m)^ *(\w+):") & _REFUSED)
    ]


OF_AZD = {"AZURE_ENV_NAME", "AZURE_SUBSCRIPTION_ID", "DICOM_API_CLIENT_ID"}
"""Variables that are no outputs: azd's own, and what the hook before provisioning sets."""


def outputs(infra: Infra) -> set[str]:
    """What ``main.bicep`` gives to azd."""
    return set(infra.bicep["infra/main.bicep"].declarations("output"))


def check_outputs(infra: Infra) -> list[str]:
    """Hooks ask for nothing that the deployment does not give."""
    asked: set[str] = set()
    for path in (ROOT / "infra/hooks").glob("*.py"):
        asked |= reads(path.read_text("utf-8"), r'deployment(?:\.get\(|\[)["\'](\w+)')
    lacking = asked - outputs(infra) - OF_AZD
    return [f"main.bicep: a hook asks for {one}" for one in sorted(lacking)]


@cache
def _inside() -> frozenset[str]:
    """Names below the folders of the app: a pattern holds at any depth."""
    paths = [path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*")]
    return frozenset(path.name for path in paths if "__pycache__" not in path.parts)


@cache
def _imported() -> frozenset[str]:
    """The folders of this repository that the app imports."""
    files = [ROOT / "function_app.py"]
    files += [path for folder in ("functions", "shared") for path in (ROOT / folder).rglob("*.py")]
    names = set().union(
        *(reads(path.read_text("utf-8"), r"(?m)^\s*(?:from|import) (\w+)") for path in files)
    )
    return frozenset(one for one in names if (ROOT / one).is_dir())
