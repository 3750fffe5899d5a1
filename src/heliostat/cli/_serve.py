"""`heliostat serve`: run applications from files and import paths, and talk to those that run.

`run` and `start` are the process that everything lives in; the others speak to it over the REST
interface on loopback. Needs the serve extra and PyYAML.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from heliostat.cli._errors import CommandError, UsageError
from heliostat.cli._tables import write_json

if TYPE_CHECKING:
    from urllib.error import HTTPError

    from heliostat.serve._reload import Sources

_LOOK_S = 0.3  # so often files are looked at
_ADDRESS = "http://127.0.0.1:8265"
_ANSWER_S = 30  # a question is answered in less; a deployment takes as long as it takes
_DETAILS = {"applications", "proxies"}
_OTHERWISE = (
    "start it with: heliostat serve start, or say where it is with --address; what a program runs "
    "with serve.run() itself is in `heliostat dashboard`"
)
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


class ServeUsage(UsageError):
    """A command that cannot be carried out as it stands; the message is for its author."""


def add_parser(commands: Any) -> None:
    """Add `serve` and its own commands."""
    serve = commands.add_parser("serve", help="run applications, and look after them")
    verbs = serve.add_subparsers(dest="verb", required=True, metavar="VERB")
    run = verbs.add_parser("run", help="run a config file or an import path, until Ctrl-C")
    run.add_argument(
        "target",
        metavar="CONFIG_OR_IMPORT_PATH",
        help="fares.yaml, or fares:app for what `bind` gave",
    )
    run.add_argument(
        "arguments", nargs="*", default=[], metavar="KEY=VALUE", help="for an app builder"
    )
    run.add_argument("--name", default="default", help="of the application (%(default)s)")
    run.add_argument("--route-prefix", default="/", help="where it is in URLs (%(default)s)")
    run.add_argument("-r", "--reload", action="store_true", help="deploy anew when files change")
    start = verbs.add_parser("start", help="run without applications, for `deploy`")
    for verb in (run, start):
        verb.add_argument("--http-host", default=None, help="where HTTP listens (127.0.0.1)")
        verb.add_argument("--http-port", type=int, default=None, help="at which port (8000)")
        verb.add_argument(
            "--rest-port",
            type=int,
            default=8265,
            help="where `deploy`, `status` ... find it (%(default)s)",
        )
    build = verbs.add_parser("build", help="write a config file for import paths")
    build.add_argument("import_paths", nargs="+", metavar="IMPORT_PATH", help="as in fares:app")
    build.add_argument("-o", "--output-path", default=None, help="the file; else it is printed")
    deploy = verbs.add_parser("deploy", help="give a config file to a running Serve")
    deploy.add_argument("config_file", metavar="CONFIG", help="as `build` writes it")
    for verb in (run, start, build):
        verb.add_argument("--app-dir", default=".", help="where modules are looked for first")
    status = verbs.add_parser("status", help="how applications and replicas are")
    config = verbs.add_parser("config", help="what was deployed last")
    shutdown = verbs.add_parser("shutdown", help="end all applications and Serve itself")
    shutdown.add_argument("-y", "--yes", action="store_true", help="do not ask")
    for verb in (deploy, status, config, shutdown):
        verb.add_argument(
            "-a", "--address", default=os.environ.get("RAY_API_SERVER_ADDRESS", _ADDRESS),
            help="where the Serve to ask is (%(default)s)",
        )  # fmt: skip
    for verb in (status, config):
        verb.add_argument("-n", "--name", default=None, help="of this application only")
    for verb in verbs.choices.values():
        verb.add_argument("--json", action="store_true", help="what is told, for programs")
    serve.set_defaults(carry_out=carry_out)


def carry_out(options: argparse.Namespace) -> int:
    """Carry a command out; its exit code.

    Raises:
        ServeUsage: For what cannot be done as it stands.
    """
    if options.verb in ("run", "start"):
        return _run(options)
    if options.verb == "build":
        return _build(options)
    if options.verb == "deploy":
        config = _read(Path(options.config_file))
        same = _ask(options.address, "PUT", config).get("unchanged", [])
        told = "".join(f"{one} until Serve is started anew\n" for one in same)
        document = {"deployed": options.config_file, "unchanged": same}
        _say(options, document, f"deployed {options.config_file}\n{told}")
        return 0
    if options.verb == "shutdown":
        return _shutdown(options)
    details = _ask(options.address, "GET")
    apps = details["applications"]
    if options.name is not None and options.name not in apps:
        raise ServeUsage(f"there is no application {options.name!r}; there are {sorted(apps)}")
    chosen = {k: v for k, v in apps.items() if options.name in (None, k)}
    proxies = {node: proxy["status"] for node, proxy in details["proxies"].items()}
    shown: Any = {"proxies": proxies, "applications": chosen}
    if options.verb == "config":
        shown = [app["deployed_app_config"] for app in chosen.values()]
    (write_json if options.json else _print)(shown)
    return 0


def _run(options: argparse.Namespace) -> int:
    from heliostat import _alias  # noqa: PLC0415 - imports that other commands do without
    from heliostat import serve as library  # noqa: PLC0415
    from heliostat.serve._rest import Deployments, served  # noqa: PLC0415
    from heliostat.serve.exceptions import DeployFailedError  # noqa: PLC0415

    sys.path.insert(0, str(Path(options.app_dir).resolve()))
    _alias.install()
    ended = threading.Event()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: containers send it
    try:
        # As they are before anything of them is read: what changes meanwhile is seen, too.
        sources = _sources(options) if getattr(options, "reload", False) else None
        config = _parsed(options)
        library.start(
            http_options=config.to_http_options(),
            grpc_options=config.grpc_options,
            logging_config=config.logging_config,
            tracing_config=config.tracing_config,
            controller_options=config.controller_options,
        )
        deployments = Deployments(config)
        with served(deployments, options.rest_port, ended.set):
            deployments.apply(config)
            names = [app.name for app in config.applications]
            if options.json:
                write_json({"applications": names, "rest_port": options.rest_port})
                sys.stdout.flush()
            shown = ", ".join(names) or "none yet"
            sys.stderr.write(f"Serve runs; applications: {shown}. Ctrl-C ends it.\n")
            sys.stderr.flush()
            if sources is not None:
                _reload(options, deployments, ended, sources)
            ended.wait()
    except KeyboardInterrupt:
        sys.stderr.write("Serve shuts down.\n")
    except (ValueError, OSError, DeployFailedError) as error:
        raise ServeUsage(str(error)) from error
    finally:
        library.shutdown()
    return 0


def _parsed(options: argparse.Namespace) -> Any:
    from heliostat.serve.schema import ServeDeploySchema  # noqa: PLC0415 - as in `_run`

    config = ServeDeploySchema.parse(_config_of(options))
    http = {"host": options.http_host, "port": options.http_port}
    given = {key: value for key, value in http.items() if value is not None}
    return ServeDeploySchema.parse(
        {**config.to_dict(), "http_options": {**config.http_options, **given}}
    )


def _sources(options: argparse.Namespace) -> Sources:
    from heliostat.serve._reload import Sources  # noqa: PLC0415 - few want it

    file = Path(options.target)
    return Sources(Path(options.app_dir).resolve(), [file] if file.is_file() else [])


def _reload(
    options: argparse.Namespace, deployments: Any, ended: threading.Event, sources: Sources
) -> None:
    """Deploy again whenever a file changes; what cannot be deployed is told, and the old goes on."""
    while not ended.wait(_LOOK_S):
        changed = sources.changed()
        if not changed:
            continue
        sys.stderr.write(f"{', '.join(path.name for path in changed)}: deploys again\n")
        sources.forget()
        try:
            deployments.apply(_parsed(options))
            sys.stderr.write("Serve runs what the files say now.\n")
        except Exception as error:  # noqa: BLE001 - user code: half a file, perhaps
            sys.stderr.write(f"{type(error).__name__}: {error}\nThe former version goes on.\n")
        sys.stderr.flush()


def _config_of(options: argparse.Namespace) -> Any:
    if options.verb == "start":
        return {"applications": []}
    if options.target.endswith((".yaml", ".yml", ".json")):
        if options.arguments:
            raise ServeUsage("KEY=VALUE arguments are for an import path; a file has its own args")
        return _read(Path(options.target))
    args = {}
    for argument in options.arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            raise ServeUsage(f"arguments are KEY=VALUE, got {argument!r}")
        args[key] = value
    app = {"import_path": options.target, "name": options.name, "args": args}
    return {"applications": [{**app, "route_prefix": options.route_prefix}]}


def _build(options: argparse.Namespace) -> int:
    import yaml  # noqa: PLC0415 - only this file's commands need it

    from heliostat import _alias  # noqa: PLC0415
    from heliostat.serve._import import load, names_of  # noqa: PLC0415
    from heliostat.serve.schema import ServeApplicationSchema  # noqa: PLC0415

    sys.path.insert(0, str(Path(options.app_dir).resolve()))
    _alias.install()
    apps = []
    for number, path in enumerate(options.import_paths, start=1):
        schema = ServeApplicationSchema.parse({"import_path": path}, path)
        try:
            graph = load(schema)
        except ValueError as error:
            raise ServeUsage(str(error)) from error
        several = len(options.import_paths) > 1
        deployments = [
            {"name": one.deployment.name, "num_replicas": one.deployment.num_replicas}
            if one.deployment.config.autoscaling_config is None
            else {"name": one.deployment.name}
            for one in names_of(graph)
        ]
        apps.append(
            {
                "name": f"app{number}" if several else "app1",
                "route_prefix": f"/app{number}" if several else "/",
                "import_path": path,
                "deployments": deployments,
            }
        )
    http = {"host": "127.0.0.1", "port": 8000}
    config = {"proxy_location": "EveryNode", "http_options": http, "applications": apps}
    if options.json:
        text = json.dumps(config, indent=2) + "\n"  # a config file may be JSON
    else:
        text = yaml.safe_dump(config, sort_keys=False)
    if options.output_path is None:
        sys.stdout.write(text)
    else:
        try:
            Path(options.output_path).write_text(text)
        except OSError as error:
            raise CommandError(f"{options.output_path}: {error.strerror}") from error
    return 0


def _shutdown(options: argparse.Namespace) -> int:
    if not options.yes:
        sys.stderr.write("This ends all applications and Serve itself. Go on? [y/N] ")
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            return 1
    _ask(options.address, "DELETE")
    _say(options, {"shutdown": options.address}, "")
    return 0


def _say(options: argparse.Namespace, value: Any, text: str) -> None:
    if options.json:
        write_json(value)
    else:
        sys.stdout.write(text)


def _read(file: Path) -> Any:
    import yaml  # noqa: PLC0415 - only this file's commands need it

    try:
        found = yaml.safe_load(file.read_text())
    except OSError as error:
        raise ServeUsage(f"{file}: {error.strerror}") from error
    except yaml.YAMLError as error:
        raise ServeUsage(f"{file} is no YAML: {error}") from error
    if not isinstance(found, dict):
        raise ServeUsage(f"{file} must be a mapping with 'applications' in it, got {found!r}")
    return found


def _ask(address: str, method: str, body: Any = None) -> Any:
    import http.client  # noqa: PLC0415 - slow to load, and few commands ask
    import urllib.error  # noqa: PLC0415
    import urllib.request  # noqa: PLC0415

    request = urllib.request.Request(
        f"{address.rstrip('/')}/api/serve/applications/",
        None if body is None else json.dumps(body).encode(),
        {"authorization": f"Bearer {_token(address)}", "content-type": "application/json"},
        method=method,
    )
    nobody = f"no Serve answers at {address}"
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S if method == "GET" else None) as it:
            answer = json.load(it)
    except urllib.error.HTTPError as error:
        raise ServeUsage(
            _refusal(error) or f"{nobody} but something else ({error}); {_OTHERWISE}"
        ) from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        why = getattr(error, "reason", error)
        raise ServeUsage(f"{nobody} ({getattr(why, 'strerror', why)}); {_OTHERWISE}") from error
    if not isinstance(answer, dict) or (method == "GET" and not answer.keys() >= _DETAILS):
        raise ServeUsage(f"{nobody} but something else; {_OTHERWISE}")
    return answer


def _token(address: str) -> str:
    """The secret of the Serve at an address: of this user's own only for one on this machine.

    Raises:
        ServeUsage: If it is no address.
    """
    from urllib.parse import urlsplit  # noqa: PLC0415 - as in `_ask`

    from heliostat.serve._rest import token_file  # noqa: PLC0415

    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        port = None
    if port is None or parts.scheme not in ("http", "https") or parts.path not in ("", "/"):
        raise ServeUsage(f"--address is http://HOST:PORT, got {address!r}")
    told = os.environ.get("RAY_AUTH_TOKEN", "")
    if told or parts.hostname not in _LOOPBACK or not token_file(port).exists():
        return told
    return token_file(port).read_text()


def _refusal(error: HTTPError) -> str:
    """What Serve says about a request that it refuses; nothing if somebody else does."""
    try:
        with error:
            return str(json.load(error)["error"])
    except (ValueError, KeyError, TypeError):
        return ""


def _print(value: Any) -> None:
    import yaml  # noqa: PLC0415 - only this file's commands need it

    # By way of JSON: enums are their words.
    sys.stdout.write(yaml.safe_dump(json.loads(json.dumps(value)), sort_keys=False))
