"""Controller: drives a Run until it is finished. It carries out commands and chooses nothing.

It runs in the thread that calls `fit`, be that the driver, a task or an actor.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import heliostat
from heliostat.train import _run_messages as _run
from heliostat.train import runs
from heliostat.train._run import Policy, Run
from heliostat.train._run_messages import Command, Event, Kept
from heliostat.train._storage import is_complete, kept_checkpoints, open_run
from heliostat.train._validator import Validator
from heliostat.train._worker import Assignment, Done, Loop
from heliostat.train._worker_group import (
    Failure,
    Group,
    LocalGroup,
    News,
    WorkerGroup,
    is_death,
    room_for,
)
from heliostat.train.backend import Backend, BackendConfig
from heliostat.train.callback import TrainRunContext, UserCallback
from heliostat.train.checkpoint import Checkpoint
from heliostat.train.config import DataConfig, RunConfig, ScalingConfig
from heliostat.train.context import TrainContext
from heliostat.train.error import WorkerGroupError
from heliostat.train.reported_checkpoint import ReportedCheckpoint, ReportedCheckpointStatus
from heliostat.train.result import Result
from heliostat.train.session import Meeting, Question, Reply, Stored
from heliostat.train.validation_config import ValidationConfig
from heliostat.util import progress

NOTE_METRICS = 3

_log = logging.getLogger("heliostat.train")


@dataclass(frozen=True)
class Job:
    """All that a trainer wants done."""

    title: str
    loop: Callable[[], Any]
    config: dict[str, Any] | None
    scaling: ScalingConfig
    run_config: RunConfig
    backend_config: BackendConfig
    datasets: Mapping[str, Any]
    data_config: DataConfig
    resume_from: Checkpoint | None
    metadata: dict[str, Any]
    validation: ValidationConfig | None = None
    unit: str = "reports"
    total: int | None = None


class Controller:
    """One run of a job: its directory, its group of ranks, and its decider."""

    def __init__(self, job: Job) -> None:
        self._job = job
        config = job.run_config
        self._callbacks: Sequence[UserCallback] = config.callbacks or ()
        self._group: Group | None = None
        self._backend: Backend[Any] = job.backend_config.backend_cls()
        self._history: list[dict[str, Any]] = []
        self._storage = open_run(
            config.storage_path,
            config.storage_filesystem,
            config.name,
            job.title,
            heliostat.nodes() if job.scaling.num_workers else (),  # else it needs no session
        )
        try:
            self._run = self._begin_or_go_on()
        except BaseException:
            self._storage.close()
            raise
        checks = job.validation
        self._validator = None if checks is None else Validator(checks, self._storage.checkpoint)
        self._context = TrainRunContext(
            config,
            job.scaling,
            job.config,
            job.backend_config,
            job.data_config,
            self._storage.where,
        )

    def _begin_or_go_on(self) -> Run:
        """A fresh decider, or one that knows what a run of this name has kept."""
        job, keep = self._job, self._job.run_config.checkpoint_config
        scaling = job.scaling
        policy = Policy(
            world_size=max(1, scaling.max_workers),
            max_failures=job.run_config.failure_config.max_failures,
            num_to_keep=keep.num_to_keep,
            score_attribute=keep.checkpoint_score_attribute,
            score_order=keep.checkpoint_score_order,
            least=scaling.min_workers if scaling.elasticity_enabled else None,
            resize_every_s=scaling.elastic_resize_monitor_interval_s,
        )
        number = self._storage.next_number()
        entries = self._storage.entries()
        kept = [self._revived(k) for k in kept_checkpoints(entries) if self._storage.has(k.name)]
        if not kept:
            self._storage.append(
                "begin", title=job.title, config=job.config, boot=self._storage.boot
            )
            return Run(policy, (), number)
        self._storage.append("resume", checkpoint=kept[-1].name, boot=self._storage.boot)
        self._history = [e["metrics"] for e in entries if e["kind"] == "report"]
        _log.warning(
            "run %s %s; it goes on from %s (another RunConfig(name=...) begins anew)",
            self._storage.where,
            "is there already" if is_complete(entries) else "was cut short",
            kept[-1].name,
        )
        return Run(policy, kept, number)

    def _revived(self, kept: Kept) -> Kept:
        """A checkpoint of an earlier life; it is validated again if we have a function for that."""
        pending = kept.status == "PENDING_VALIDATION" and self._job.validation is None
        return kept._replace(status="COMMITTED", validation=None) if pending else kept

    def run(self) -> Result:
        """Train to the end, good or bad."""
        shown = progress.line(self._job.title, self._job.unit, self._job.total)
        quiet = self._job.run_config.verbose == 0
        logs, level = self._job.run_config.logging_config, _log.level
        try:
            if logs is not None:
                _log.setLevel(logs.log_level)
            with runs.LEDGER.entry(self._row):
                if quiet:
                    self._drive(shown)
                else:
                    with shown:
                        self._drive(shown)
        finally:
            _log.setLevel(level)
            if self._group is not None:
                self._group.stop()
            if self._validator is not None:
                self._validator.cancel()
            self._storage.sweep()
            self._storage.close()
        return self._result()

    def _row(self, over: bool) -> dict[str, Any]:
        storage = self._storage
        about = {"name": storage.name, "trainer": self._job.title, "path": storage.where}
        return runs.row(self._run, about, self._history, over)

    def _drive(self, shown: progress.Line) -> None:
        self._feed(_run.Tick())
        while self._run.phase != "finished":
            for event in self._wait():
                self._feed(event)
            self._feed(_run.Tick())
            shown.update(len(self._history), note=_note(self._run.metrics))

    def _wait(self) -> list[Event]:
        """What has happened, at the latest when the decider wants to know the time."""
        attempt = self._run.attempt  # the news is this group's, even if it starts another
        left, validator = self._time_left(), self._validator
        validations = [] if validator is None else validator.refs
        events: list[Event] = []
        if self._group is not None:
            events = [_event(news, attempt) for news in self._group.news(left, validations)]
        elif validations:
            heliostat.wait(validations, timeout=left)
        elif left is not None:
            time.sleep(left)  # there are no ranks to listen to: it is looked for room for them
        validated = None if validator is None else validator.news()
        return events if validated is None else [*events, validated]

    def _time_left(self) -> float | None:
        deadline = self._run.deadline
        return None if deadline is None else max(0.0, deadline - time.monotonic())

    def _feed(self, event: Event) -> None:
        events = deque([event])
        while events:
            for command in self._run.handle(events.popleft(), time.monotonic()):
                answer = self._perform(command)
                if answer is not None:
                    events.append(answer)
                if isinstance(answer, _run.StorageFailed):
                    break  # what follows relies on what failed

    def _perform(self, command: Command) -> Event | None:
        match command:
            case _run.StartGroup():
                return self._start_group(command)
            case _run.StopGroup():
                self._stop_group(command)
            case _run.Measure(attempt):
                scaling, there = self._job.scaling, len(self._group.places) if self._group else 0
                return _run.Room(attempt, there + room_for(scaling.worker_resources))
            case _run.Resume() | _run.Listen() | _run.Tell() | _run.Share():
                self._let_go(command)
            case _run.Validate(name, fn_kwargs):
                assert self._validator is not None, "a rank's report was taken without a function"
                return self._validator.start(name, fn_kwargs)
            case _run.CancelValidation():
                assert self._validator is not None, "what runs was started by it"
                self._validator.cancel()
            case _run.Warn(text, stacks):
                told = self._group.stacks() if stacks and self._group is not None else {}
                each = "".join(f"\nrank {rank} is here:\n{stack}" for rank, stack in told.items())
                _log.warning("%s: %s%s", self._job.title, text, each)
            case _:
                return self._store(command)
        return None

    def _let_go(self, command: _run.Resume | _run.Listen | _run.Tell | _run.Share) -> None:
        assert self._group is not None
        match command:
            case _run.Resume(_, checkpoint):
                working = [r for r, state in enumerate(self._run.ranks) if state == "working"]
                self._group.advance(working, Reply(checkpoint))
            case _run.Listen(_, rank):
                self._group.advance([rank], None)
            case _run.Tell(_, rank):
                self._group.advance([rank], Reply(None, self._reported()))
            case _run.Share(_, value):
                self._group.advance(range(len(self._run.ranks)), Reply(shared=value))

    def _reported(self) -> tuple[ReportedCheckpoint, ...]:
        return tuple(
            ReportedCheckpoint(
                self._storage.checkpoint(kept.name),
                dict(kept.metrics),
                ReportedCheckpointStatus(kept.status),
            )
            for kept in self._run.kept
        )

    # The group.

    def _start_group(self, command: _run.StartGroup) -> Event:
        try:
            self._bring_up(command)
        # Backends, data and Core may raise anything here; fit() reports it.
        except Exception as error:  # noqa: BLE001
            return _run.GroupFailed(command.attempt, error, is_death(error))
        return _run.GroupUp(command.attempt)

    def _bring_up(self, command: _run.StartGroup) -> None:
        job = self._job
        loop = Loop(job.loop, job.backend_config.train_func_context)
        if job.scaling.num_workers == 0:
            local = self._group = LocalGroup()
            local.begin(self._assignments(command, local, None), loop)
            return
        scaling, environment = job.scaling, job.run_config.worker_runtime_env
        strategy = scaling.placement_strategy  # a label says more; and clusters pack by themselves
        group = self._group = WorkerGroup(
            command.size,
            scaling.worker_resources,
            lambda rank: {**scaling.place_of(rank), "runtime_env": environment},
            "" if scaling.place_of(0) or strategy == "PACK" else strategy,
        )
        self._backend.on_start(group, job.backend_config)
        group.begin(self._assignments(command, group, group.workers), loop)
        self._backend.on_training_start(group, job.backend_config)

    def _assignments(
        self, command: _run.StartGroup, group: Group, workers: list[Any] | None
    ) -> list[Assignment]:
        job, nodes = self._job, [place.node_id for place in group.places]
        logs = job.run_config.logging_config
        shards = job.data_config.configure(dict(job.datasets), len(nodes), workers, nodes)
        name = command.checkpoint
        checkpoint = job.resume_from if name is None else self._storage.checkpoint(name)
        return [
            Assignment(
                TrainContext(
                    world_rank=rank,
                    world_size=len(nodes),
                    local_rank=nodes[:rank].count(node),
                    local_world_size=nodes.count(node),
                    node_rank=list(dict.fromkeys(nodes)).index(node),
                    experiment_name=self._storage.name,
                    storage=self._storage.where,
                    storage_filesystem=self._storage.filesystem,
                    attempt=command.attempt,
                    metadata=job.metadata,
                    resources={k: v * len(nodes) for k, v in job.scaling.worker_resources.items()},
                ),
                checkpoint,
                shards[rank],
                command.number,
                None if job.validation is None else job.validation.task_config,
                None if logs is None else logs.log_level,
            )
            for rank, node in enumerate(nodes)
        ]

    def _stop_group(self, command: _run.StopGroup) -> None:
        group, self._group = self._group, None
        if group is None:
            return
        if command.orderly and isinstance(group, WorkerGroup):
            self._backend.on_shutdown(group, self._job.backend_config)
        group.stop()
        self._storage.sweep()

    # What is written down.

    def _store(self, command: Command) -> Event | None:
        try:
            self._write(command)
        except OSError as error:
            if self._run.phase == "finished":
                _log.warning("%s could not be written to: %s", self._storage.where, error)
                return None
            return _run.StorageFailed(self._run.attempt, error)
        self._tell(command)
        return None

    def _write(self, command: Command) -> None:
        storage = self._storage
        match command:
            case _run.Keep(attempt, report, name):
                storage.keep(attempt, report, name)
            case _run.Publish(attempt, metrics, checkpoint, validation):
                more: dict[str, Any] = (
                    {} if validation is None else {"validation": validation._asdict()}
                )
                if len(metrics) > 1:
                    more["ranks"] = metrics[1:]
                storage.append(
                    "report", attempt=attempt, metrics=metrics[0], checkpoint=checkpoint,
                    flush=False, **more,
                )  # fmt: skip
            case _run.Record(name, metrics, status):
                storage.append("validated", checkpoint=name, metrics=metrics, status=status)
            case _run.Delete(name):
                storage.append("delete", checkpoint=name)
                storage.delete(name)
            case _run.Blame(attempt, error):
                storage.append("failure", attempt=attempt, error=str(error))
            case _run.Finish(error):
                storage.append("end", error=error and str(error))

    def _tell(self, command: Command) -> None:
        match command:
            case _run.Publish(_, metrics, name, _):
                self._history.append(metrics[0])
                checkpoint = None if name is None else self._storage.checkpoint(name)
                for callback in self._callbacks:
                    callback.after_report(self._context, list(metrics), checkpoint)
            case _run.Blame(_, error, again):
                if again:
                    _log.warning("%s starts again after a failure: %s", self._job.title, error)
                if isinstance(error, WorkerGroupError):
                    for callback in self._callbacks:
                        callback.after_exception(self._context, error.worker_failures)

    def _result(self) -> Result:
        run = self._run
        kept = [(self._storage.checkpoint(k.name), dict(k.metrics)) for k in run.kept]
        history = self._history
        return Result(
            metrics=history[-1] if history else None,
            checkpoint=kept[-1][0] if kept else None,
            error=run.error,
            path=self._storage.where,
            best_checkpoints=kept or None,
            config=self._job.config,
            return_value=run.value,
            history=history,
            storage_filesystem=self._storage.filesystem,
        )


def _event(news: News, attempt: int) -> Event:
    match news.what:
        case Done(value):
            return _run.RankDone(attempt, news.rank, value)
        case Failure(error, died, at):
            return _run.RankLost(attempt, news.rank, error, died, at)
        case Stored(report, path):
            return _run.Uploaded(attempt, news.rank, report, path)
        case Question(validated, timeout_s):
            return _run.Asked(attempt, news.rank, validated, timeout_s)
        case Meeting(value):
            return _run.Met(attempt, news.rank, value)
        case said:
            return _run.Reported(attempt, news.rank, *said)


def _note(metrics: Mapping[str, Any] | None) -> str:
    numbers = {
        name: value
        for name, value in (metrics or {}).items()
        if isinstance(value, (int, float)) and not isinstance(value, bool)
    }
    return " ".join(f"{name}={value:.4g}" for name, value in list(numbers.items())[:NOTE_METRICS])
