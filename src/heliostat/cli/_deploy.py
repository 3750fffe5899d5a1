"""`heliostat deploy`: write what a program needs to run on another machine, or on Kubernetes.

It looks at the program's folder and writes files; what is in them is decided in `_manifests.py`.
"""

from __future__ import annotations

import argparse
import getpass
import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import Any, get_args

from heliostat._version import __version__
from heliostat.cli._errors import CommandError, UsageError
from heliostat.cli._manifests import PORT, Request, Target, files, memory_of, next_steps
from heliostat.cli._tables import write_json

_RAY = "2.60.0"  # where none is installed here
_LONGEST_NAME = 40  # KubeRay adds its own words to it
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


class FilesInTheWay(CommandError):
    """Some of the files are there already."""


def add_parser(commands: Any) -> None:
    """Add `deploy`."""
    parser = commands.add_parser(
        "deploy", help="write what runs a program in a container, as a service, or on Kubernetes"
    )
    parser.add_argument(
        "app", metavar="APP", help="script.py, a Serve config file, or module:application"
    )
    parser.add_argument("--target", required=True, choices=get_args(Target))
    parser.add_argument("-o", "--output", default="deploy", metavar="FOLDER")
    parser.add_argument("--force", action="store_true", help="write over files that are there")
    parser.add_argument("--name", default="", help="of all that is made; from APP when left out")
    parser.add_argument("--image", default="", help="the container's; NAME:latest when left out")
    parser.add_argument("--cpus", type=_positive, default=2.0, help="of each machine (2)")
    parser.add_argument("--memory", type=_memory, default="4Gi", help="of each machine (4Gi)")
    parser.add_argument("--gpus", type=_count, default=0, help="of each machine (0)")
    parser.add_argument("--nodes", type=_count, default=2, help="workers of a Ray cluster (2)")
    parser.add_argument(
        "--max-nodes", type=_count, default=None, help="how many its autoscaler may have"
    )
    parser.add_argument(
        "--storage",
        default="",
        help="what the program finds in $STORAGE: s3://..., a directory (Docker, Compose, "
        "systemd) or a volume claim (KubeRay)",
    )
    parser.add_argument("--secret", default="", help="KubeRay: a secret with variables")
    parser.add_argument("--json", action="store_true", help="what was written, for programs")
    parser.set_defaults(carry_out=_carry_out)


def _positive(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"more than 0 is needed, got {text}")
    return number


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"0 or more is needed, got {text}")
    return number


def _memory(text: str) -> int:
    try:
        amount = memory_of(text)
    except (ValueError, OverflowError):
        amount = 0
    if amount < 1 << 20:
        raise argparse.ArgumentTypeError(f"at least 1Mi, such as 4Gi or 512Mi, got {text}")
    return amount


def _carry_out(options: argparse.Namespace) -> int:
    out = Path(options.output)
    request = _request(options, out)
    written = files(options.target, request)
    there = [name for name in written if (out / name).exists()]
    if there and not options.force:
        raise FilesInTheWay(
            f"{', '.join(str(out / name) for name in there)} exist already; add --force to write "
            "over them, or choose another folder with --output"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (out / name).write_text(text)
    steps = list(next_steps(options.target, request, str(out)))
    if options.json:
        write_json({"files": [str(out / name) for name in written], "next": steps})
        return 0
    sys.stdout.write("".join(f"{out / name}\n" for name in written))
    sys.stdout.write("\nNext:\n" + "".join(f"  {step}\n" for step in steps))
    return 0


def _request(options: argparse.Namespace, out: Path) -> Request:
    folder = Path.cwd()
    command, stem = _command(options.app, listens=options.target != "systemd")
    name = options.name or re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r} is no name for all targets: use --name with at most {_LONGEST_NAME} lower-"
            "case letters, digits and '-', beginning with a letter"
        )
    if options.max_nodes is not None and options.max_nodes < options.nodes:
        raise UsageError(f"--max-nodes {options.max_nodes} is less than --nodes {options.nodes}")
    _check_storage(options)
    return Request(
        name=name,
        command=command,
        serves=command[0] == "serve",
        cpus=options.cpus,
        memory=options.memory,
        gpus=options.gpus,
        nodes=options.nodes,
        max_nodes=options.nodes if options.max_nodes is None else options.max_nodes,
        storage=options.storage,
        secret=options.secret,
        image=options.image or f"{name}:latest",
        folder=str(folder),
        context=os.path.relpath(folder, out.resolve()),
        dockerfile=os.path.relpath(out.resolve() / "Dockerfile", folder),
        has_requirements=(folder / "requirements.txt").exists(),
        user=getpass.getuser(),
        python=sys.executable,
        versions={
            "heliostat": __version__,
            "ray": _ray_version(),
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        },
    )


def _command(app: str, *, listens: bool) -> tuple[tuple[str, ...], str]:
    """What `heliostat` is told, and what to name it after."""
    path = Path(app)
    file = path.suffix in (".py", ".yaml", ".yml", ".json")
    if file and not path.is_file():
        raise UsageError(f"there is no file {app!r} in {Path.cwd()}")
    if file and (path.is_absolute() or ".." in path.parts):
        raise UsageError(f"{app!r} is outside of this folder, whose files are what is deployed")
    if path.suffix == ".py":
        return ("run", app), path.stem
    if not file and not re.fullmatch(r"[\w.]+:[\w.]+", app):
        raise UsageError(
            f"{app!r} is neither a script (train.py), nor a Serve config file (app.yaml), nor an "
            "application in a module (main:app)"
        )
    host = ("--http-host", "0.0.0.0") if listens else ()
    stem = path.stem if file else app.partition(":")[0].rpartition(".")[2]
    return ("serve", "run", app, *host, "--http-port", str(PORT)), stem


def _check_storage(options: argparse.Namespace) -> None:
    storage = options.storage
    if not storage or "://" in storage:
        return
    if options.target == "kuberay":
        if not _NAME.fullmatch(storage):
            raise UsageError(
                f"--storage {storage!r}: on Kubernetes it is a URL (s3://bucket/runs) or the name "
                "of a PersistentVolumeClaim that many pods may write to"
            )
    elif not Path(storage).is_absolute():
        raise UsageError(
            f"--storage {storage!r} is neither a URL nor an absolute path of a directory"
        )


def _ray_version() -> str:
    try:
        return importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return _RAY
