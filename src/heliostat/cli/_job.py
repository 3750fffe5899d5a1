"""`heliostat job`: submit programs that run on their own, and look after them.

Everything is `heliostat.job_submission`'s; here it becomes words.
"""

import argparse
import dataclasses
import json
import shlex
import sys
import time
from typing import Any

from heliostat.cli._errors import CommandError, UsageError
from heliostat.cli._sessions import plain
from heliostat.cli._tables import table, width, write_json

_LOOK_S = 0.1


def add_parser(commands: Any) -> None:
    """Add `job` and its verbs."""
    job = commands.add_parser("job", help="programs that run on their own")
    verbs = job.add_subparsers(dest="verb", required=True, metavar="VERB")
    submit = verbs.add_parser(
        "submit",
        help="run a command as a job, and show what it prints",
        usage="heliostat job submit [options] -- COMMAND [ARGS ...]",
    )
    submit.add_argument("--submission-id", metavar="ID", help="its name; made up if left out")
    submit.add_argument("--working-dir", metavar="FOLDER", help="where the command runs")
    submit.add_argument("--runtime-env-json", metavar="JSON", help="as `submit_job` takes it")
    submit.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    submit.add_argument("--no-wait", action="store_true", help="return when it has begun")
    submit.add_argument("command_line", nargs="+", metavar="COMMAND", help="after a --")
    submit.set_defaults(carry_out=_submit)
    for name, (carry_out, help_) in _OF_ONE.items():
        verb = verbs.add_parser(name, help=help_)
        verb.add_argument("id", metavar="ID")
        verb.set_defaults(carry_out=carry_out)
        if name == "logs":
            verb.add_argument("-f", "--follow", action="store_true", help="until it has ended")
    verbs.add_parser("list", help="those that run, and the last that ended").set_defaults(
        carry_out=_list
    )
    for verb in verbs.choices.values():
        verb.add_argument("--json", action="store_true", help="for programs")


def _client() -> Any:
    from heliostat.job_submission import JobSubmissionClient  # noqa: PLC0415 - other commands do without

    try:
        return JobSubmissionClient()
    except PermissionError as error:
        raise CommandError(str(error)) from error


def _submit(options: argparse.Namespace) -> int:
    client, runtime_env, words = _client(), _runtime_env(options), options.command_line
    try:
        job_id = client.submit_job(
            # One word is a command line for the shell already, as in 'python a.py | tee log'.
            entrypoint=words[0] if len(words) == 1 else shlex.join(words),
            submission_id=options.submission_id,
            runtime_env=runtime_env,
        )
    except (ValueError, RuntimeError) as error:
        raise CommandError(str(error)) from error
    if options.json:
        if not options.no_wait:
            _until_ended(client, job_id)
        return _show(client, job_id, as_json=True, fail=not options.no_wait)
    sys.stdout.write(f"job {job_id}\n")
    sys.stdout.flush()
    if options.no_wait:
        return 0
    try:
        _tail(client, job_id)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nit goes on; `heliostat job stop {job_id}` ends it\n")
        return 130
    return _show(client, job_id, as_json=False, fail=True)


def _runtime_env(options: argparse.Namespace) -> dict[str, Any]:
    """What is given as one, and over it what is given by itself."""
    try:
        found = json.loads(options.runtime_env_json or "{}")
    except ValueError as error:
        raise UsageError(f"--runtime-env-json is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"--runtime-env-json is a JSON object, got {options.runtime_env_json}")
    if options.working_dir is not None:
        found["working_dir"] = options.working_dir
    if any("=" not in text for text in options.env):
        raise UsageError(f"--env is NAME=VALUE, got {options.env}")
    if options.env:
        given = dict(text.split("=", 1) for text in options.env)
        found["env_vars"] = {**(found.get("env_vars") or {}), **given}
    return found


def _tail(client: Any, job_id: str) -> None:
    """Show what it prints until it has ended."""
    import asyncio  # noqa: PLC0415 - slow to load, and other commands do without

    async def tail() -> None:
        async for text in client.tail_job_logs(job_id):
            sys.stdout.write(text)
            sys.stdout.flush()

    asyncio.run(tail())


def _until_ended(client: Any, job_id: str) -> None:
    while not client.get_job_status(job_id).is_terminal():
        time.sleep(_LOOK_S)


def _details(client: Any, job_id: str) -> Any:
    try:
        return client.get_job_info(job_id)
    except (RuntimeError, ValueError) as error:
        known = ", ".join(job.submission_id for job in client.list_jobs()[-5:])
        others = f"; the last are: {known}" if known else ", nor any other"
        raise CommandError(f"there is no job {job_id!r}{others}") from error


def _show(client: Any, job_id: str, *, as_json: bool, fail: bool = False) -> int:
    details = _details(client, job_id)
    if as_json:
        write_json(dataclasses.asdict(details))
    else:
        said = f": {_line(details.message)}" if details.message else ""
        sys.stdout.write(f"{job_id} {details.status}{said}\n")
    return int(fail and str(details.status) != "SUCCEEDED")


def _line(message: str) -> str:
    return plain(" ".join(message.split()))


def _status(options: argparse.Namespace) -> int:
    return _show(_client(), options.id, as_json=options.json)


def _logs(options: argparse.Namespace) -> int:
    client = _client()
    _details(client, options.id)
    if options.follow and not options.json:
        try:
            _tail(client, options.id)
        except KeyboardInterrupt:
            return 130
        return 0
    text = client.get_job_logs(options.id)
    if options.json:
        write_json({"submission_id": options.id, "log": text})
    else:
        sys.stdout.write(text)
    return 0


def _stop(options: argparse.Namespace) -> int:
    client = _client()
    _details(client, options.id)
    ran = client.stop_job(options.id)
    if ran:
        _until_ended(client, options.id)
    if options.json:
        write_json({"submission_id": options.id, "stopped": ran})
    else:
        sys.stdout.write(f"{options.id} {'has been stopped' if ran else 'had ended already'}\n")
    return 0


def _delete(options: argparse.Namespace) -> int:
    client = _client()
    _details(client, options.id)
    try:
        client.delete_job(options.id)
    except RuntimeError as error:
        raise CommandError(str(error)) from error
    if options.json:
        write_json({"submission_id": options.id, "deleted": True})
    else:
        sys.stdout.write(f"{options.id} is forgotten\n")
    return 0


_OF_ONE = {
    "logs": (_logs, "what it has printed"),
    "status": (_status, "how far it has come"),
    "stop": (_stop, "have it end"),
    "delete": (_delete, "forget one that has ended"),
}


def _list(options: argparse.Namespace) -> int:
    jobs = [dataclasses.asdict(job) for job in _client().list_jobs()]
    if options.json:
        write_json(jobs)
    elif jobs:
        rows = [
            {**job, "status": str(job["status"]), "message": _line(job["message"] or "")}
            for job in jobs
        ]
        columns = ["submission_id", "status", "entrypoint", "message"]
        sys.stdout.write(table(rows, columns, width()) + "\n")
    else:
        sys.stdout.write("no jobs; `heliostat job submit -- python train.py` makes one\n")
    return 0
