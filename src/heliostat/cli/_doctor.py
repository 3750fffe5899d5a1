"""`heliostat doctor`: whether this machine and installation have what Heliostat needs.

Each check gives a Finding: what was seen, and when it is not as it should be, how to mend it.
"""

import argparse
import os
import platform
import re
import resource
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from heliostat._version import __version__
from heliostat.cli._tables import megabytes, write_json

_FEW_FILES, _FEW_PROCESSES = 1024, 512
_LITTLE_DISK = 1 << 30
_LITTLE_MEMORY = 512 << 20
_NAME = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?\s*(?:>=\s*([\w.]+))?")
_MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}


class Finding(NamedTuple):
    """What a check has seen."""

    check: str
    state: str  # "ok", "note": works, but you should know, or "bad": something will not work
    seen: str
    remedy: str = ""


def add_parser(commands: Any) -> None:
    """Add `doctor`."""
    parser = commands.add_parser("doctor", help="whether this machine has what is needed")
    parser.add_argument("--json", action="store_true", help="for programs")
    parser.set_defaults(carry_out=doctor)


def doctor(options: argparse.Namespace) -> int:
    """Print what was found; the exit code: 1 if something will not work."""
    findings = [finding for check in _CHECKS for finding in check()]
    if options.json:
        write_json([finding._asdict() for finding in findings])
    else:
        for each in findings:
            sys.stdout.write(f"{_MARKS[each.state]}  {each.check}: {each.seen}\n")
            if each.remedy:
                sys.stdout.write(f"      {each.remedy}\n")
    return int(any(finding.state == "bad" for finding in findings))


def _python() -> Iterator[Finding]:
    yield Finding("heliostat", "ok", f"{__version__}, in {Path(__file__).parents[1]}")
    version = platform.python_version()
    good = sys.version_info >= (3, 11)
    yield Finding(
        "python", "ok" if good else "bad", f"{version}, {sys.executable}",
        "" if good else "Heliostat needs 3.11 or newer: make a virtual environment with one",
    )  # fmt: skip


def _system() -> Iterator[Finding]:
    seen = f"{platform.system()} {platform.release()}, {os.cpu_count()} CPUs"
    good = sys.platform == "linux"
    yield Finding("system", "ok" if good else "bad", seen, "" if good else "it runs on Linux only")
    try:
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind("\0heliostat-doctor")
        Path("/proc/net/unix").read_text()
    except OSError as error:
        yield Finding(
            "abstract sockets", "note", str(error),
            "`heliostat why`, `status` and their like cannot look into programs here",
        )  # fmt: skip


def _cpus() -> Iterator[Finding]:
    from heliostat._engines.local.processes.machine import cpu_count  # noqa: PLC0415 - as below

    ours, there = cpu_count(), os.cpu_count()
    if ours != there:
        yield Finding(
            "cpus", "note", f"{ours} of the machine's {there} may be used (affinity or cgroup)",
            "`ray.init(num_cpus=...)` or HELIOSTAT_NUM_CPUS says otherwise",
        )  # fmt: skip


def _memory() -> Iterator[Finding]:
    from heliostat._engines.local.processes.machine import (  # noqa: PLC0415 - only here
        memory_bytes,
        spare_bytes,
        store_capacity,
    )

    total, spare = memory_bytes(), spare_bytes()
    little = spare < _LITTLE_MEMORY
    yield Finding(
        "memory", "note" if little else "ok",
        f"{megabytes(spare)} free of {megabytes(total)} that the machine or its cgroup allows",
        "end something else, or tasks may be ended for want of memory" if little else "",
    )  # fmt: skip
    yield Finding("object store", "ok", f"up to {megabytes(store_capacity())} of shared memory")
    try:
        os.close(os.memfd_create("heliostat-doctor"))
    except OSError as error:
        yield Finding(
            "shared memory", "bad", f"memfd_create: {error.strerror}",
            "the container's seccomp profile forbids it: allow memfd_create",
        )  # fmt: skip


def _shm() -> Iterator[Finding]:
    try:
        usage = shutil.disk_usage("/dev/shm")
    except OSError as error:
        yield Finding("/dev/shm", "note", str(error), "PyTorch's DataLoader workers need it")
        return
    small = usage.total < 1 << 30
    yield Finding(
        "/dev/shm", "note" if small else "ok", f"{megabytes(usage.free)} free of {megabytes(usage.total)}",
        "Heliostat does not use it, but PyTorch's DataLoader does: docker run --shm-size=4g"
        if small else "",
    )  # fmt: skip


def _limits() -> Iterator[Finding]:
    for name, number, few, flag in (
        ("open files", resource.RLIMIT_NOFILE, _FEW_FILES, "-n"),
        ("processes", resource.RLIMIT_NPROC, _FEW_PROCESSES, "-u"),
    ):
        soft, hard = resource.getrlimit(number)
        shown = "no limit" if soft == resource.RLIM_INFINITY else str(soft)
        low = soft != resource.RLIM_INFINITY and soft < few
        most = "unlimited" if hard == resource.RLIM_INFINITY else hard
        remedy = f"too few for many workers: ulimit {flag} {most}" if low else ""
        yield Finding(name, "note" if low else "ok", shown, remedy)


def _disk() -> Iterator[Finding]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    little = free < _LITTLE_DISK
    yield Finding(
        "disk for what does not fit into memory", "note" if little else "ok",
        f"{megabytes(free)} free in {folder}",
        "set TMPDIR to a folder with more room" if little else "",
    )  # fmt: skip


def _packages() -> Iterator[Finding]:
    """Optional packages: whether they are there, and new enough."""
    from importlib import metadata  # noqa: PLC0415 - slow to load; other commands do without

    wanted: dict[str, dict[str, str]] = {}
    for text in metadata.requires("heliostat") or ():
        requirement, _, marker = text.partition(";")
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", marker)
        match = _NAME.match(requirement.strip())
        if match and match[1] != "heliostat":
            wanted.setdefault(extra[1] if extra else "", {})[match[1]] = match[2] or ""
    for name, packages in sorted(wanted.items()):
        yield _extra(name, packages)


def _extra(extra: str, packages: dict[str, str]) -> Finding:
    from importlib import metadata  # noqa: PLC0415 - slow to load; other commands do without

    there, missing, old = [], [], []
    for name, least in packages.items():
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            missing.append(name)
            continue
        there.append(f"{name} {version}")
        if least and _numbers(version) < _numbers(least):
            old.append(f"{name}>={least}")
    title = f"packages for {extra}" if extra else "packages"
    install = f"pip install 'heliostat[{extra}]'" if extra else "pip install heliostat"
    if old:
        return Finding(
            title, "bad", f"too old: {', '.join(there)}", f"pip install '{' '.join(old)}'"
        )
    if missing:
        state = "note" if extra else "bad"
        return Finding(title, state, f"missing: {', '.join(missing)}", f"if you need it: {install}")
    return Finding(title, "ok", ", ".join(there))


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def _ray() -> Iterator[Finding]:
    from importlib import metadata  # noqa: PLC0415 - slow to load; other commands do without

    try:
        version = metadata.version("ray")
    except metadata.PackageNotFoundError:
        return
    yield Finding(
        "ray", "note", f"Ray {version} is installed, too",
        "`heliostat run script.py` lets `import ray` mean Heliostat; `python script.py` means Ray",
    )  # fmt: skip


_CHECKS: tuple[Callable[[], Iterator[Finding]], ...] = (
    _python, _system, _cpus, _memory, _shm, _limits, _disk, _packages, _ray,
)  # fmt: skip
