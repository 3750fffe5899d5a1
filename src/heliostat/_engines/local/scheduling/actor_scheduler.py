"""ActorScheduler: which actors start, which calls are sent, what a death means. Pure.

Works on the tables of the Scheduler that it belongs to.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from heliostat._engines.local import failures
from heliostat._engines.local.messages import (
    INLINE,
    Call,
    Called,
    Cancelled,
    Created,
    Exiting,
    Finished,
    Kill,
    Killed,
    Make,
    Send,
    Value,
    method_of,
    title,
)
from heliostat._engines.local.scheduling.actors import Actor
from heliostat._engines.local.scheduling.tasks import Task, WorkerState
from heliostat.exceptions import ActorAlreadyExistsError, PendingCallsLimitExceeded

if TYPE_CHECKING:
    from heliostat._engines.local.scheduling.scheduler import Scheduler

_CONSTRUCTED: Value = (INLINE, pickle.dumps(None), (), ())


class ActorScheduler:
    """The actors of a session."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.actors: dict[bytes, Actor] = {}
        self.names: dict[tuple[str, str], Actor] = {}
        self.to_start: list[Actor] = []

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """The events that are decided here."""
        return {
            Created: self._created,
            Called: self._called,
            Killed: self._killed,
            Exiting: self._exiting,
        }

    def questions(self) -> dict[str, Callable[[int, Any], Any]]:
        """The questions that are answered here, from which process."""
        return {
            "create": lambda proc, asked: self._create_named(
                Created(*asked[0]), get_if_exists=asked[1]
            ),
            "find": lambda proc, key: self._find(proc, *key),
            "actor": self._handle_of,
            "names": lambda proc, _: list(self.names),
            "call": lambda proc, asked: self._call_within(Called(*asked[0]), asked[1]),
            "cancel": lambda proc, event: self._cancel_by_force(Cancelled(*event)),
        }

    # Beginning

    def _created(self, event: Created) -> None:
        maker = Task(event, f"{event.name}.__init__", 1)
        maker.shape, maker.actor, maker.place = event.shape, event.task, event.place
        maker.env = event.env
        actor = self.actors[event.task] = Actor(event, maker)
        if event.public_name:
            self.names[event.namespace, event.public_name] = actor
        self.scheduler.admit(maker, event.proc)
        if event.detached:
            self.scheduler.owned.hold((event.task,))
        if maker.place is not None and self.scheduler.groups.gone(maker) is not None:
            self.end(actor, "its placement group was removed", death=failures.actor_group_removed)
        elif maker.state == "ready":
            self.ready(maker)

    def ready(self, task: Task) -> None:
        """The arguments of a constructor or call are there."""
        assert task.actor is not None
        actor = self.actors[task.actor]
        if task is actor.maker:
            self.to_start.append(actor)
            self.scheduler.dispatch()
        else:
            if actor.late.pop(task.id, None) is not None:
                actor.queue.append(task)
            self._send_calls(actor)

    def dispatch(self) -> None:
        """Start waiting actors as far as resources reach."""
        if not self.to_start:
            return
        waiting, self.to_start = self.to_start, []
        waiting = [a for a in waiting if a.state == "waiting" and not self._start(a)]
        self.to_start = waiting + self.to_start

    def _start(self, actor: Actor) -> bool:
        scheduler, maker = self.scheduler, actor.maker
        failed = scheduler.failed_need(maker)
        if failed is not None:
            self._die(actor, "an argument of its constructor failed", failed)
            return True
        env = actor.created.env
        if env and not scheduler.environments.usable(env):
            return False
        if scheduler.absent(maker):
            return True
        taken = scheduler.take(maker)
        if taken is None:
            return False
        worker = scheduler.take_worker(env, lasting=True)
        worker.bundle, gpus = taken
        worker.shape, worker.gpus, worker.actor = maker.shape, gpus, actor.id
        actor.worker, actor.gpus = worker.proc, gpus
        scheduler.owned.become(worker.proc, actor.id)
        actor.move("starting")
        maker.move("running")
        maker.worker, maker.since = worker, scheduler.now
        created = actor.created
        call, needs = scheduler.hand_over(worker.proc, maker)
        scheduler.out.append(
            Send(
                worker.proc,
                Make(
                    actor.id, created.key, created.name, call, created.call_id,
                    created.slots, needs, gpus, maker.shape,
                    created.concurrency, actor.restarted, created.public_name, created.groups,
                    created.place,
                ),
            )
        )  # fmt: skip
        return True

    # Calls

    def _called(self, event: Called) -> None:
        actor = self.actors.get(event.actor)
        if actor is not None and self.scheduler.plain.send(actor, event):
            return
        name = title(actor.created.name if actor else "unknown", event.method)
        task = Task(event, name, event.num_returns)
        task.actor = event.actor
        self.scheduler.admit(task, event.proc)
        if actor is None or actor.state == "dead":
            self.scheduler.fail(task, self._death(actor, event.actor))
            return
        task.retries = actor.retries_of(event)
        self._enqueue(actor, task)

    def _enqueue(self, actor: Actor, task: Task) -> None:
        if actor.created.out_of_order and task.state == "waiting":
            actor.late[task.id] = task
            return
        actor.queue.append(task)
        if actor.state == "alive":
            self._send_calls(actor)

    def obstacle(self, task: Task) -> str:
        """Why a call cannot be repeated; empty if it can, or is none."""
        if task.actor is None:
            return ""
        actor = self.actors.get(task.actor)
        gone = actor is None or actor.state == "dead"
        return f"{task.name} cannot run again, because its actor is dead" if gone else ""

    def repeat(self, task: Task) -> None:
        """A call whose result was lost is made again."""
        assert task.actor is not None
        self._enqueue(self.actors[task.actor], task)

    def _death(self, actor: Actor | None, id_: bytes) -> Value:
        if actor is None:
            return failures.actor_dead("unknown", "it belongs to a session that has ended", id_)
        return actor.death or failures.actor_dead(actor.created.name, actor.reason, id_)

    def _send_calls(self, actor: Actor) -> None:
        """Send queued calls in order, up to the first whose arguments are not there."""
        scheduler = self.scheduler
        worker = scheduler.workers.get(actor.worker or 0)
        if worker is None or worker.killed:
            return  # its end is on the way, and then it restarts or is dead
        while actor.state == "alive" and actor.queue and actor.queue[0].state == "ready":
            if scheduler.absent(actor.queue[0]):
                return
            task = actor.queue.popleft()
            failed = scheduler.failed_need(task) if task.holds else None
            if failed is not None:
                scheduler.fail(task, failed)
                continue
            task.move("running")
            if task.stream is not None:
                task.stream.begin()
            task.worker, task.since = worker, scheduler.now
            if scheduler.plain.calls:
                scheduler.plain.unfold()  # those before it come before it
            actor.calls[task.id] = task
            assert isinstance(task.event, Called)
            (
                _, id_, _, method, num_returns, _, retry_on, _, call_id, slots, _, _, group,
                line, after,
            ) = task.event  # fmt: skip
            call, needs = scheduler.hand_over(worker.proc, task)
            fields = (
                id_, method, num_returns, retry_on, call, call_id, slots, needs, group, line, after,
            )  # fmt: skip
            scheduler.out.append(Send.of((worker.proc, Call.of(fields))))
            if actor.switching:
                scheduler.direct.call_left(actor, task)

    def call_finished(self, worker: WorkerState, task: Task, event: Finished) -> None:
        """A constructor or a call has ended."""
        assert task.actor is not None
        actor = self.actors[task.actor]
        task.worker = None
        if task is actor.maker:
            self._constructed(actor, worker, event)
            return
        del actor.calls[task.id]
        self.scheduler.conclude(task, event)
        if actor.ending:
            self.perhaps_idle(actor)

    def _constructed(self, actor: Actor, worker: WorkerState, event: Finished) -> None:
        maker = actor.maker
        if event.failure:
            self.scheduler.staff.retire(worker, "its constructor raised")
            self._die(actor, "its constructor raised", event.values[0])
            return
        actor.move("alive")
        maker.move("done")
        entry = self.scheduler.owned.objects.get(actor.id)
        if entry is not None and entry.value is None:
            self.scheduler.resolve(actor.id, event.values[0])
        self._send_calls(actor)
        if actor.dialled:
            self.scheduler.direct.actor_alive(actor)
        self.perhaps_idle(actor)

    def requeue(self, task: Task) -> None:
        """A call that is to be repeated goes first."""
        assert task.actor is not None
        actor = self.actors[task.actor]
        actor.queue.appendleft(task)
        self._send_calls(actor)

    def give_up(self, task: Task, error: Value) -> None:
        """The arguments of a constructor or call cannot be brought into memory."""
        assert task.actor is not None
        actor = self.actors[task.actor]
        if task is actor.maker:
            self._die(actor, "an argument of its constructor failed", error)
            return
        self.unqueue(task)
        self.scheduler.fail(task, error)
        self._send_calls(actor)

    def unqueue(self, task: Task) -> None:
        """A call was cancelled before it was sent."""
        assert task.actor is not None
        actor = self.actors[task.actor]
        if actor.late.pop(task.id, None) is None and task in actor.queue:
            actor.queue.remove(task)

    # Ends

    def perhaps_end(self, id_: bytes) -> None:
        """Nobody refers to this object any more; if it is an actor, it ends when it is idle."""
        actor = self.actors.get(id_)
        if actor is None:
            return
        actor.ending = True
        if actor.state == "dead":
            del self.actors[id_]
        else:
            self.perhaps_idle(actor)

    def perhaps_idle(self, actor: Actor) -> None:
        """End it if nobody can reach it and it has nothing to do."""
        if not actor.ending or actor.pending() or actor.state not in ("alive", "waiting"):
            return
        entry = self.scheduler.owned.objects.get(actor.id)
        if entry is not None and entry.count > 0:  # it has given its handle to somebody meanwhile
            actor.ending = False
            return
        if actor.state == "alive" and actor.worker is not None:
            self.scheduler.staff.retire(
                self.scheduler.workers[actor.worker], "no handle to it was left"
            )
        self._die(actor, "no handle to it was left", None)

    def fail_waiting(self, env: bytes, error: Value) -> None:
        """An environment could not be made: those that wait for it are dead."""
        for actor in [a for a in self.to_start if a.created.env == env and a.state == "waiting"]:
            self._die(actor, "its environment could not be made", error, lambda *_: error)

    def unfit(self, id_: bytes, error: Value) -> None:
        """Its process could not become what its environment asks for."""
        actor = self.actors.get(id_)
        if actor is not None and actor.state != "dead":
            self._die(actor, "its environment could not be set up", error, lambda *_: error)

    def _die(
        self,
        actor: Actor,
        reason: str,
        error: Value | None,
        death: Callable[[str, str, bytes], Value] = failures.actor_dead,
    ) -> None:
        """It is dead: every call fails, its name is free, its arguments are let go."""
        scheduler = self.scheduler
        actor.move("dead")
        actor.reason = reason
        if error is not None:
            actor.reason = f"{reason}: {failures.text(error)}"
        self._forget_name(actor)
        maker = actor.maker
        scheduler.tasks.pop(maker.id, None)
        scheduler.cancellation.stop_waiting(maker)
        scheduler.storage.memory.unkeep(maker)
        holds, maker.holds = maker.holds, ()
        if actor.created.detached:
            holds += (actor.id,)
        entry = scheduler.owned.objects.get(actor.id)
        actor.death = death(actor.created.name, actor.reason, actor.id)
        if entry is not None and entry.value is None:
            scheduler.resolve(actor.id, actor.death)
        for task in actor.unfinished():
            if not task.direct:  # its caller may have the result
                if task.worker is not None:
                    scheduler.note_end(task, 0, scheduler.now - task.since, 1)
                task.worker = None
                scheduler.fail(task, actor.death)
        actor.calls.clear()
        actor.queue.clear()
        actor.late.clear()
        scheduler.owned.release(holds)
        if scheduler.owned.objects.get(actor.id) is None:
            self.actors.pop(actor.id, None)

    def _forget_name(self, actor: Actor) -> None:
        key = actor.created.namespace, actor.created.public_name
        if self.names.get(key) is actor:
            del self.names[key]

    def worker_lost(self, worker: WorkerState) -> None:
        """The process of an actor is gone: restart it, or it is dead."""
        assert worker.actor is not None
        scheduler, actor = self.scheduler, self.actors.get(worker.actor)
        scheduler.set_free(worker)
        if actor is None or actor.state == "dead" or actor.worker != worker.proc:
            return
        if not actor.may_restart():
            self._die(actor, worker.killed, None)
            return
        if actor.maker.state == "running":
            actor.maker.move("ready")
        calls, actor.calls = actor.calls, {}
        actor.restart()
        actor.fall = worker.killed
        self._remake(actor)
        for task in reversed(calls.values()):
            if task.direct:
                continue  # its caller may have the result
            scheduler.note_end(task, 0, scheduler.now - task.since, 1)
            task.worker = None
            if task.retries == 0:
                scheduler.fail(task, self._restarting(actor))
            else:
                task.retries -= task.retries > 0
                task.move("ready")
                actor.queue.appendleft(task)
        self.to_start.append(actor)

    def _restarting(self, actor: Actor) -> Value:
        return failures.actor_restarting(actor.created.name, actor.fall, actor.id)

    def call_lost(self, task: Task, actor: Actor | None, *, begun: bool) -> None:
        """A direct call was in the process that died, or on its way there."""
        assert task.actor is not None
        if actor is None or actor.state == "dead":
            self.scheduler.fail(task, self._death(actor, task.actor))
        elif begun and task.retries == 0:
            self.scheduler.fail(task, self._restarting(actor))
        else:
            task.retries -= begun and task.retries > 0
            task.move("ready")
            actor.queue.append(task)
            self._send_calls(actor)

    def _remake(self, actor: Actor) -> None:
        """A fresh constructor task that holds what the first one held."""
        maker = Task(actor.created, f"{actor.created.name}.__init__", 1)
        maker.shape, maker.actor, maker.holds = actor.created.shape, actor.id, actor.maker.holds
        maker.place, maker.env = actor.created.place, actor.created.env
        maker.move("ready")
        actor.maker = self.scheduler.tasks[actor.id] = maker

    def end_orphans(self, proc: int) -> None:
        """End actors that a lost process had made and nobody else can reach, busy or not."""
        for actor in list(self.actors.values()):
            if actor.created.proc == proc and actor.ending:
                self._killed(Killed(proc, actor.id, False))

    def _killed(self, event: Killed) -> None:
        actor = self.actors.get(event.actor)
        if actor is None or actor.state == "dead":
            return
        self.end(actor, "it was killed by ray.kill()", restart=event.restart)

    def end(
        self,
        actor: Actor,
        why: str,
        *,
        restart: bool = False,
        death: Callable[[str, str, bytes], Value] = failures.actor_dead,
    ) -> None:
        """End the process of a living actor; `death` is its error if it has none yet."""
        if not restart:
            actor.restarts = 0
            self._forget_name(actor)
        if actor.worker is None:
            if not restart:
                self._die(actor, why, None, death)
            return
        worker = self.scheduler.workers[actor.worker]
        worker.killed = why
        self.scheduler.out.append(Kill(worker.proc))

    def of_group(self, group: bytes) -> list[Actor]:
        """The living actors of a placement group."""
        return [
            actor
            for actor in self.actors.values()
            if actor.state != "dead" and actor.maker.place and actor.maker.place[0] == group
        ]

    def _exiting(self, event: Exiting) -> None:
        actor = self.actors.get(event.actor)
        worker = self.scheduler.workers.get(event.proc)
        if actor is None or worker is None or actor.worker != worker.proc:
            return
        actor.restarts = 0
        self._forget_name(actor)
        worker.killed = "it called exit_actor()"

    # Questions

    def _create_named(self, created: Created, *, get_if_exists: bool) -> Any:
        key = created.namespace, created.public_name
        if key not in self.names:
            self._created(created)
            return created.task, created.name, created.about
        if get_if_exists:
            return self._find(created.proc, *key)
        raise ActorAlreadyExistsError(
            f"an actor named {key[1]!r} exists already in namespace {key[0]!r}; use "
            "get_if_exists=True to get it, or another name"
        )

    def _call_within(self, called: Called, most: int) -> None:
        """A call, unless its process has `most` calls of the actor waiting already."""
        actor = self.actors.get(called.actor)
        waiting = [] if actor is None else actor.unfinished()
        count = sum(task.event.proc == called.proc for task in waiting)
        if count >= most:
            raise PendingCallsLimitExceeded(
                f"{method_of(called.method)}() was not called: {count} calls of this actor have not ended, and "
                f"max_pending_calls={most}; get() some of their results first"
            )
        self._called(called)

    def _find(self, proc: int, namespace: str, name: str) -> Any:
        actor = self.names.get((namespace, name))
        if actor is None:
            known = sorted(key[1] for key in self.names if key[0] == namespace)
            raise ValueError(
                f"no actor is named {name!r} in namespace {namespace!r}; there are: {known}"
            )
        return self._info(proc, actor)

    def _handle_of(self, proc: int, id_: bytes) -> tuple[bytes, str, bytes]:
        if id_ not in self.actors:
            raise ValueError("this actor is ending: no handle to it was left")
        return self._info(proc, self.actors[id_])

    def _info(self, proc: int, actor: Actor) -> tuple[bytes, str, bytes]:
        """A handle. It may be the only one: the last was dropped, and the actor had calls to end."""
        owned = self.scheduler.owned
        entry = owned.ensure(actor.id)
        if entry.value is None and actor.maker.state == "done":
            entry.value = _CONSTRUCTED
        actor.ending = False
        owned.lend(proc, actor.id)
        return actor.id, actor.created.name, actor.created.about

    def _cancel_by_force(self, event: Cancelled) -> None:
        entry = self.scheduler.owned.objects.get(event.id)
        task = self.scheduler.tasks.get(entry.task) if entry is not None and entry.task else None
        if task is not None and task.actor is not None:
            raise ValueError(
                f"cancel(force=True) is not for calls of an actor ({task.name}): it would end the "
                "actor; use force=False, or ray.kill(actor)"
            )
        self.scheduler.cancel(event)

    def check(self) -> None:
        """Assert the invariants of the actor tables."""
        for actor in self.actors.values():
            assert (actor.state in ("starting", "alive")) == (actor.worker is not None) or (
                actor.state == "dead"
            )
            assert all(task.state == "running" for task in actor.calls.values())
            if actor.state == "dead":
                assert not actor.queue
                assert not actor.calls
        for key, actor in self.names.items():
            assert key == (actor.created.namespace, actor.created.public_name)
            assert actor.state != "dead"
