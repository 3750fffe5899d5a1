"""`heliostat deploy`: write what a program needs to run on another machine, or on Kubernetes.

It looks at the program's folder and writes files; what is in them is decided in `_manifests.py`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import pwd
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from heliostat._version import __version__
from heliostat.cli._errors import CommandError, UsageError
from heliostat.cli._manifests import PORT, Kind, Request, Target, files, memory_of, next_steps
from heliostat.cli._tables import write_json

_RAY = "2.60.0"  # where none is installed here
_NODES = 2
_LONGEST_NAME = 40  # KubeRay adds its own words to it
_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_FILE = re.compile(r"[\w./@+=][\w./@+=-]*")  # one word for every shell and manifest
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./:@-]*")
_SECRET = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_NO_URL = re.compile(r"[\s\x00-\x1f\x7f'\"$]")
_NO_FOLDER = re.compile(r"[\x00-\x1f\x7f]")
_NO_VOLUME = re.compile(r"[\x00-\x1f\x7f'\"$:]")  # Docker and Compose give these a meaning


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
    parser.add_argument("--nodes", type=_some, help="KubeRay: workers of the cluster (2)")
    parser.add_argument(
        "--max-nodes", type=_some, help="KubeRay: as many as its autoscaler may add"
    )
    parser.add_argument(
        "--storage",
        default="",
        help="what the program finds in $STORAGE: s3://..., a directory (Docker, Compose, "
        "systemd) or a volume claim (KubeRay)",
    )
    parser.add_argument(
        "--kind",
        choices=get_args(Kind),
        help="KubeRay: a RayJob of a script; a RayService of an application, or a RayCluster and a pod "
        "that drives it",
    )
    parser.add_argument("--secret", default="", help="KubeRay: a secret with variables")
    parser.add_argument("--json", action="store_true", help="what was written, for programs")
    parser.set_defaults(carry_out=_carry_out)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"a number of more than 0 is needed, got {text!r}")
    return number


def _count(text: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"a whole number of 0 or more is needed, got {text!r}")
    return int(text)


def _some(text: str) -> int:
    if not (number := _count(text)):
        raise argparse.ArgumentTypeError("at least 1 is needed: nothing runs on a cluster's head")
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
    try:
        _write(out, written, over=options.force)
    except OSError as error:
        raise CommandError(f"{error.filename or out}: {error.strerror}") from error
    steps = list(next_steps(options.target, request, str(out)))
    if options.json:
        write_json({"files": [str(out / name) for name in written], "next": steps})
        return 0
    sys.stdout.write("".join(f"{out / name}\n" for name in written))
    sys.stdout.write("\nNext:\n" + "".join(f"  {step}\n" for step in steps))
    return 0


def _write(out: Path, written: Mapping[str, str], *, over: bool) -> None:
    there = [str(out / name) for name in written if (out / name).exists()]
    if there and not over:
        raise FilesInTheWay(
            f"{', '.join(there)} exist already; add --force to write over them, or choose another "
            "folder with --output"
        )
    out.mkdir(parents=True, exist_ok=True)
    for name, text in written.items():
        (out / name).write_text(text)


def _request(options: argparse.Namespace, out: Path) -> Request:
    folder = Path.cwd()
    command, stem = _command(options.app, listens=options.target != "systemd")
    name = options.name or re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise UsageError(
            f"{name!r} is no name for all targets: use --name with at most {_LONGEST_NAME} lower-"
            "case letters, digits and '-', beginning with a letter"
        )
    nodes = options.nodes or _NODES
    if (options.max_nodes or nodes) < nodes:
        raise UsageError(f"--max-nodes {options.max_nodes} is less than --nodes {nodes}")
    _check_target(options)
    _check_words(options, folder)
    _check_storage(options)
    serves = command[0] == "serve"
    return Request(
        name=name,
        command=command,
        serves=serves,
        cpus=options.cpus,
        memory=options.memory,
        gpus=options.gpus,
        nodes=nodes,
        max_nodes=options.max_nodes or nodes,
        storage=options.storage,
        secret=options.secret,
        image=options.image or f"{name}:latest",
        folder=str(folder),
        context=os.path.relpath(folder, out.resolve()),
        dockerfile=os.path.relpath(out.resolve() / "Dockerfile", folder),
        has_requirements=(folder / "requirements.txt").exists(),
        user=_user() if options.target == "systemd" else "",
        python=sys.executable,
        versions={
            "heliostat": __version__,
            "ray": _ray_version(),
            "python": f"{sys.version_info.major}.{sys.version_info.minor}",
        },
        kind=_kind(options, serves=serves),
        environments=_environments(folder),
    )


def _environments(folder: Path) -> tuple[str, ...]:
    """Virtual environments in the folder or one below it, whatever they are called."""
    marks = sorted([*folder.glob("*/pyvenv.cfg"), *folder.glob("*/*/pyvenv.cfg")])
    found = (mark.parent.relative_to(folder).as_posix() for mark in marks)
    return tuple(name for name in found if name.isprintable() and name != ".venv")


def _kind(options: argparse.Namespace, *, serves: bool) -> Kind:
    """What KubeRay makes of a script or an application."""
    fits: tuple[Kind, ...] = ("RayService", "RayCluster") if serves else ("RayJob",)
    kind: Kind = options.kind or fits[0]
    if kind not in fits:
        what = "an application" if serves else "a script"
        raise UsageError(
            f"--kind {kind}: {options.app} is {what}, which is a {' or a '.join(fits)}"
        )
    return kind


def _command(app: str, *, listens: bool) -> tuple[tuple[str, ...], str]:
    """What `heliostat` is told, and what to name it after."""
    path = Path(app)
    file = path.suffix in (".py", ".yaml", ".yml", ".json")
    if file and not path.is_file():
        raise UsageError(f"there is no file {app!r} in {Path.cwd()}")
    if file and (path.is_absolute() or ".." in path.parts):
        raise UsageError(f"{app!r} is outside of this folder, whose files are what is deployed")
    if file and not _FILE.fullmatch(app):
        raise UsageError(
            f"{app!r} would be taken apart by a shell on its way; rename it: letters, digits and "
            "_ . / @ + = -"
        )
    if path.suffix == ".py":
        return ("run", app), path.stem
    if not file and not re.fullmatch(r"[\w.]+:[\w.]+", app):
        raise UsageError(
            f"{app!r} is neither a script (train.py), nor a Serve config file (app.yaml), nor an "
            "application in a module (main:app)"
        )
    if not file:
        _check_module(app.partition(":")[0].partition(".")[0])
    host = ("--http-host", "0.0.0.0") if listens else ()
    stem = path.stem if file else app.partition(":")[0].rpartition(".")[2]
    return ("serve", "run", app, *host, "--http-port", str(PORT)), stem


def _check_module(name: str) -> None:
    """The application's module is here, or installed; what is in it is not looked at."""
    if not Path(f"{name}.py").is_file() and not Path(name).is_dir():
        try:
            found = importlib.util.find_spec(name) is not None
        except ValueError:  # a module without a spec: __main__
            found = False
        if not found:
            raise UsageError(
                f"there is no module {name!r} in {Path.cwd()}, and none of that name is installed"
            )


def _check_target(options: argparse.Namespace) -> None:
    """What is asked for must be something that the target has."""
    cluster = ("nodes", "max_nodes", "secret", "kind")
    absent = {"systemd": ("image", *cluster), "kuberay": ()}
    for name in absent.get(options.target, cluster):
        if getattr(options, name):
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} has no meaning for --target {options.target}; leave it out")


def _check_words(options: argparse.Namespace, folder: Path) -> None:
    """What is written as it stands must be one word where it is read."""
    if _NO_FOLDER.search(str(folder)) or str(folder)[-1] in "\\ ":
        raise UsageError(f"the folder {str(folder)!r} cannot be named in a file; rename it")
    if options.image and not _IMAGE.fullmatch(options.image):
        raise UsageError(f"--image {options.image!r}: such as registry.example.com/team/name:1")
    if options.secret and not _SECRET.fullmatch(options.secret):
        raise UsageError(
            f"--secret {options.secret!r}: the name of a Kubernetes secret has lower-case letters, "
            "digits, '-' and '.'"
        )


def _check_storage(options: argparse.Namespace) -> None:
    storage = options.storage
    if not storage:
        return
    if "://" in storage:
        if _NO_URL.search(storage):
            raise UsageError(f"--storage {storage!r}: a URL has no spaces, quotes or '$'")
    elif options.target == "kuberay":
        if not _NAME.fullmatch(storage):
            raise UsageError(
                f"--storage {storage!r}: on Kubernetes it is a URL (s3://bucket/runs) or the name "
                "of a PersistentVolumeClaim that many pods may write to"
            )
    elif not Path(storage).is_absolute():
        raise UsageError(
            f"--storage {storage!r} is neither a URL nor an absolute path of a directory"
        )
    elif (_NO_FOLDER if options.target == "systemd" else _NO_VOLUME).search(storage):
        raise UsageError(
            f"--storage {storage!r}: no control characters, and in a container's volume no "
            "quotes, '$' or ':' either"
        )


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # as in containers
        return str(os.getuid())


def _ray_version() -> str:
    try:
        return importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        return _RAY
