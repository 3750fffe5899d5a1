"""What happens in a simulated cluster: workers work, chance strikes, and in the end all settles."""

from __future__ import annotations

import functools
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from heliostat._core.ids import nth
from heliostat._engines.local import messages as m
from heliostat._engines.local.scheduling import reset
from heliostat._engines.local.scheduling.streams import Allowance, window
from heliostat._engines.local.worker.holdings import received_with
from tests.engines.local.scheduling.simulated_memory import Full
from tests.engines.local.scheduling.simulated_world import FAILED, NOTHING, Process, Script, World


class Simulation(World):
    """One history.

    Args:
        seed: All chance comes from it.
    """

    # A worker's moves

    def read(self, process: Process) -> None:
        """Its main thread takes the next message from its socket."""
        if process.reads():
            message = process.inbox.popleft()
            process.nudged = process.nudged and bool(process.inbox)
            self.receive(process, message)

    def receive(self, process: Process, message: Any) -> None:
        match message:
            case m.Run() | m.Make() | m.Call():
                self.take_work(process, message)
            case m.Deliver():
                self.take_value(process, message)
            case m.Cancel(task):
                self.interrupt(process, task)
            case m.GiveBack():
                if process.running and process.actor is None:
                    process.post(m.Returned, self.unbegun(process))
            case m.Credit(task, items, size):
                if task in process.allowances:
                    process.allowances[task].credit(items, size)
            case m.Stop():
                process.dead = "exit code 0"
            case _:
                self.hear_of_memory(process, message)

    def hear_of_memory(self, process: Process, message: Any) -> None:
        match message:
            case m.LetGo(ticket, ids):
                self.let_go_of(process, ticket, ids)
            case m.Answered(number, payload, error):
                if process.asked is not None and process.asked[0].request == number:
                    self.go_on_asking(process, payload, error)
            case _:  # m.Deadlocked, too: nothing waits in a circle here
                raise AssertionError(f"unexpected message {message}")

    def take_work(self, process: Process, message: Any) -> None:
        self.borrow(process, message.call_id, message.call)
        for id_, value in message.needs:
            self.borrow(process, id_, value)
        if not isinstance(message, m.Make) and message.num_returns < 0:
            allowance = Allowance(window(message.num_returns), 4 << 20)
            process.allowances[message.task] = allowance
        process.todo.append(message)
        if process.waits and process.actor is None:  # sent before the hub knew
            process.post(m.Returned, self.unbegun(process))

    def take_value(self, process: Process, message: m.Deliver) -> None:
        id_, value = message
        process.known[id_] = value
        process.wanted.discard(id_)
        process.lent[id_] += 1
        process.lent.update(value[3])
        self.pages.look(id_, value)
        if process.waits and process.known.keys() >= set(process.waits):
            self.go_on(process)
        elif not process.refs[id_] and id_ not in process.waits:
            process.post(m.Dropped, process.touch((id_,)))

    def borrow(self, process: Process, id_: bytes | None, value: m.Value) -> None:
        if value[0] == m.STORED and id_ is not None:
            self.pages.look(id_, value)
            process.lent[id_] += 1
            if id_ in process.known:
                process.known[id_] = value
        process.lent.update(value[3])

    def unbegun(self, process: Process) -> tuple[bytes, ...]:
        messages, process.todo = list(process.todo), deque()
        drops = process.touch(id_ for message in messages for id_ in received_with(message))
        if drops:
            process.post(m.Dropped, drops)
        return tuple(message.task for message in messages)

    def interrupt(self, process: Process, task: bytes) -> None:
        for message in process.todo:
            if message.task == task and not isinstance(message, m.Make):
                process.todo.remove(message)
                drops = process.touch(received_with(message))
                process.post(m.Finished, task, (FAILED,), 1, 0.0, drops)
                return
        if task in process.running:
            process.cancelled.add(task)
            if process.waits:  # its get() is interrupted
                self.go_on(process)
            elif self.waits_for_memory(process, task):
                event, _, script = process.asked
                question = type(event).__name__.lower()
                process.post(m.Withdrawn, event.request, question, event[2], None)
                self.advance_script(process, task, script, lambda: script.throw(Full))

    def waits_for_memory(self, process: Process, task: bytes) -> bool:
        """What a cancellation ends; other questions are answered at once (`questions._LONG`)."""
        if process.asked is None or process.asked[1] != task or process.overlaps():
            return False
        return isinstance(process.asked[0], (m.Reserve, m.Fetch))

    def begin(self, process: Process) -> None:
        if process.todo and (not process.running or process.overlaps()) and not process.stands():
            message = process.todo.popleft()
            process.running[message.task] = message
            if isinstance(message, m.Make):
                process.actor = message
            for id_ in self.pick(received_with(message), 2):  # its code keeps references
                process.refs[id_] += 1

    def work(self, process: Process) -> None:
        """What runs in it does something."""
        if not process.running or process.stands():
            return
        message = self.random.choice(list(process.running.values()))
        if message.task in process.cancelled and self.random.random() < 0.7:
            self.finish(process, message, failure=1)
            return
        moves = [self.finish, self.finish, self.fork_task, self.wait_for_some, self.keep_or_drop,
                 self.look_at]  # fmt: skip
        if isinstance(message, m.Make):
            moves = [self.finish, self.fork_task, self.wait_for_some]
        elif message.num_returns < 0:
            moves += [self.yield_item, self.yield_item]
        self.random.choice(moves)(process, message)

    def finish(self, process: Process, message: Any, failure: int | None = None) -> None:
        self.begin_script(process, message, self._finish(process, message, failure))

    def _finish(self, process: Process, message: Any, failure: int | None) -> Script:
        if failure is None:
            failure = self.random.choices([0, 1, 2], [12, 1, 1])[0]
        made = isinstance(message, m.Make)
        if made and failure == 2:
            failure = 1
        values: list[m.Value] = [FAILED] if failure else [NOTHING]
        if not failure and not made and message.num_returns >= 0:
            values = yield from self._results(process, message)
            failure = int(values == [FAILED])
        del process.running[message.task]
        process.yielded.pop(message.task, None)
        process.allowances.pop(message.task, None)
        process.cancelled.discard(message.task)
        touched = received_with(message)
        if process.actor is None and self.random.random() < 0.9:  # else a global keeps them
            touched += self.held(process)
            process.refs.clear()
            process.views.clear()
        drops = process.touch(touched)
        process.post(m.Finished, message.task, tuple(values), failure, 0.0001, drops)

    def _results(self, process: Process, message: Any) -> Script:
        """The values; or an error, and then no memory is kept for those that were written."""
        done: list[m.Value] = []
        try:
            for index in range(message.num_returns):
                value = yield from self.value(process, nth(message.task, index))
                inside = self.pick(self.usable(process, message), 1)
                done.append((*value[:3], inside))
        except Full:
            for value in done:
                if value[0] == m.STORED:
                    yield m.Unreserve, value[1]
            return [FAILED]
        return done

    def yield_item(self, process: Process, message: Any) -> None:
        if not process.allowances[message.task].exhausted():
            self.begin_script(process, message, self._yield_item(process, message))

    def _yield_item(self, process: Process, message: Any) -> Script:
        allowance, position = process.allowances[message.task], process.yielded[message.task]
        try:
            value = yield from self.value(process, nth(message.task, position + 1))
        except Full:
            return
        value = (*value[:3], self.pick(self.usable(process, message), 1))
        allowance.sent(value)
        process.yielded[message.task] += 1
        process.post(m.Yielded, message.task, position, value)

    def _put(self, process: Process, message: Any, id_: bytes) -> Script:
        try:
            value = yield from self.value(process, id_)
        except Full:
            return
        value = (*value[:3], self.pick(self.usable(process, message), 1))
        process.post(m.Put, id_, value)
        process.own(id_)

    # Looking at values

    def look_at(self, process: Process, message: Any) -> None:
        """get() of what was delivered."""
        known = [id_ for id_ in self.held(process) if id_ in process.known]
        if known:
            id_ = self.random.choice(known)
            self.begin_script(process, message, self._look_at(process, id_))

    def _look_at(self, process: Process, id_: bytes) -> Script:
        process.views[id_] += 1
        process.refs[id_] += 1
        value = process.known[id_]
        if value[0] == m.SPILLED:
            try:
                value = yield m.Fetch, id_
            except Full:
                value = m.ERROR, b"", (), ()
            else:
                process.known[id_] = value
        if value[0] != m.STORED:
            process.views -= Counter((id_,))
            process.drop(id_)
            return
        self.pages.look(id_, value)

    def let_go_of(self, process: Process, ticket: int, ids: tuple[bytes, ...]) -> None:
        """The hub needs memory: forget where these are, but not those that something looks at."""
        looks = process.brought() | process.views.keys()
        gone = [id_ for id_ in ids if id_ not in looks]
        for id_ in gone:
            value = process.known.get(id_)
            if value is not None and value[0] == m.STORED:
                process.known[id_] = m.SPILLED, 0, *value[2:]
        if gone:
            process.post(m.Forgotten, ticket, tuple(gone), False)

    # Questions

    def begin_script(self, process: Process, message: Any, script: Script) -> None:
        """What its main thread does, until it has to ask."""
        self.advance_script(process, message.task, script, lambda: next(script))

    def advance_script(
        self, process: Process, task: bytes, script: Script, step: Callable[[], Any]
    ) -> None:
        process.asked = None
        try:
            kind, *fields = step()
        except StopIteration:
            return
        process.questions += 1
        process.post(kind, process.questions, *fields)
        process.asked = process.outbox[-1], task, script

    def go_on_asking(self, process: Process, payload: Any, error: Any) -> None:
        _, task, script = process.asked
        go_on = functools.partial(script.send, payload)
        stop = functools.partial(script.throw, Full)
        self.advance_script(process, task, script, go_on if error is None else stop)

    def fork_task(self, process: Process, message: Any) -> None:
        """It asks for a task, a value or an actor's call of its own."""
        kind, id_ = self.random.random(), self.fresh()
        actors = sorted(self.actors & set(self.held(process)))
        self.roots[id_], self.parents[id_] = self.root(message.task), message.task
        if kind < 0.3:
            self.begin_script(process, message, self._put(process, message, id_))
            return
        num_returns = self.random.choice([1, 1, 2])
        args = self.arguments(self.usable(process, message))
        fields: dict[str, Any] = {"num_returns": num_returns, "parent": message.task, **args}
        if kind < 0.6 and actors:
            asked = self.called(process.proc, id_, self.random.choice(actors), **fields)
            process.calls.add(id_)
        else:
            asked = self.submitted(process.proc, id_, **fields)
        process.outbox.append(asked)
        for made in self.results(id_, num_returns):
            process.own(made)

    def wait_for_some(self, process: Process, message: Any) -> None:
        """get() of anything but calls of its own, which may be queued behind who waits for it.

        Where calls overtake each other, that may be any earlier call of the actor; and everywhere
        one that is tried again.
        """
        if process.overlaps() or self.overtakes(process):
            return
        calls = {i for i in process.calls if self.parents.get(i) == message.task}
        tasks, actor = self.scheduler.tasks, process.actor and process.actor.task
        calls |= {i for i, task in tasks.items() if actor is not None and task.actor == actor}
        ids = [i for i in self.usable(process, message) if nth(i, 0) not in calls]
        waits = tuple(i for i in self.pick(ids, 2) if i not in process.known)
        if waits:
            process.waits = waits
            new = tuple(i for i in waits if i not in process.wanted)
            process.wanted.update(new)
            if new:
                process.post(m.Wanted, new)
            process.post(m.Blocked, () if process.actor is not None else self.unbegun(process))
            if self.random.random() < 0.3:
                process.post(m.Waits, waits)

    def overtakes(self, process: Process) -> bool:
        actor = process.actor and self.scheduler.actors.actors.get(process.actor.task)
        return actor is not None and actor.created.out_of_order

    def go_on(self, process: Process) -> None:
        process.waits = ()
        process.post(m.Waits, ())
        process.post(m.Resumed)

    def keep_or_drop(self, process: Process, message: Any) -> None:
        held = self.held(process)
        if held:
            id_ = self.random.choice(held)
            process.views -= Counter((id_,))  # what goes is a view, if there is one
            process.drop(id_)

    def die(self, process: Process, how: str) -> None:
        """It ends; the last of what it had to send may not have been sent."""
        process.dead = how
        for _ in range(min(len(process.outbox), self.random.choice([0, 0, 1, 3]))):
            self.lose(process.outbox.pop())

    def lose(self, event: Any) -> None:
        """An event that nobody will hear of: what it asked for never was."""
        if isinstance(event, (m.Submitted, m.Called)):
            self.asked.discard(event.task)

    def leave(self, process: Process) -> None:
        """An actor calls exit_actor()."""
        if process.actor is not None and process.running:
            process.post(m.Exiting, process.actor.task)
            process.dead = "exit code 0"

    # Chance

    def step(self) -> None:
        """Something happens somewhere."""
        if self.pages.moves and self.random.random() < 0.2:
            self.move_bytes(0.15 if self.danger else 0.0)
            return
        draw = self.random.random()
        busy = [p for p in self.processes.values() if p.busy()]
        if draw < 0.25 or not busy:
            self.random.choices(
                [
                    self.submit, self.put, self.let_go, self.open, self.take_item, self.await_end,
                    self.cancel, self.create, self.call, self.kill_actor, self.wait_a_little,
                    self.submit_many, self.group, self.ungroup, self.look_away,
                    self.give_up_asking,
                ],
                [8, 4, 5, 5, 3, 1, 2, 2, 6, 0.5, 1, 0.7, 0.7, 0.7, 4, 0.5],
            )[0]()  # fmt: skip
        elif draw < 1 - self.danger:
            self.move(self.random.choice(busy))
        else:
            self.go_wrong(self.random.choice(list(self.processes.values())))
        if self.random.random() < 0.1:
            self.audit()

    def wait_a_little(self) -> None:
        self.tick(self.random.choice([0.001, 0.03, 3.0, 12.0]))
        self.look()

    def move(self, process: Process) -> None:
        """A process, or the hub about it, makes one move."""
        draw = self.random.random()
        if process.outbox and (draw < 0.4 or process.dead):
            self.hear(process)
        elif process.dead:
            self.bury(process)
        elif process.doomed and draw < 0.7:
            self.die(process, "signal 9")
        elif process.stopped:
            process.stopped = draw < 0.9
        elif draw < 0.7 and process.reads():
            self.read(process)
        elif process.todo and (not process.running or process.overlaps()) and not process.stands():
            self.begin(process)
        else:
            self.work(process)

    def go_wrong(self, process: Process) -> None:
        """What should not happen, does."""
        match self.random.randrange(12):
            case 0 | 1 | 2 | 3 | 4 if not process.dead:
                self.die(process, "signal 11")
            case 5 | 6 if not process.dead:
                process.stopped = True
            case 7 | 8:
                self.tell(m.Doomed(process.proc, "too much memory", FAILED))
            case 9:
                self.leave(process)
            case 10 if self.random.random() < 0.1:  # the zygote dies, and all with it
                for each in self.processes.values():
                    if not each.dead:
                        self.die(each, "signal 9")

    # The end

    def settle(self) -> None:
        """Nothing goes wrong any more: all that can end does."""
        for _ in range(3000):
            self.take_item()
            moved = [self.advance(process) for process in list(self.processes.values())]
            due = self.scheduler.deadline()
            if self.pages.moves:
                self.move_bytes()
            elif any(moved):
                continue
            elif any(p.stopped for p in self.processes.values()):
                self.look()
                self.tick(3.0)
                self.look()
            elif due is not None:
                self.tick(max(0.0, due - self.now) + 0.001)
            else:
                self.audit()
                return
        raise AssertionError("the cluster does not come to rest")

    def advance(self, process: Process) -> bool:
        """One useful move of a process; False if there is none."""
        if process.outbox:
            self.hear(process)
        elif process.dead:
            self.bury(process)
        elif process.doomed:
            process.dead = "signal 9"
        elif process.stopped:
            # Nobody minds one without work; somebody continues it.
            process.stopped = process.proc in self.scheduler.staff.expected()
            return not process.stopped
        else:
            return self.go_about(process)
        return True

    def go_about(self, process: Process) -> bool:
        """Read, work, let go."""
        if process.reads():
            self.read(process)
        elif process.todo and (not process.running or process.overlaps()) and not process.stands():
            self.begin(process)
        elif process.running and not process.stands():
            self.end_one(process)
        elif process.actor is None and not process.running and self.held(process):
            self.keep_or_drop(process, None)
        else:
            return False
        return True

    def end_one(self, process: Process) -> None:
        message = next(iter(process.running.values()))
        self.finish(process, message, failure=1 if message.task in process.cancelled else 0)

    def drop_all(self) -> None:
        while self.questions:
            self.give_up_asking()
        self.tell(m.Dropped(m.DRIVER, ()))
        for id_, times in sorted(self.refs.items()):
            self.tell(m.Dropped(m.DRIVER, ((id_, times),)))
        self.refs.clear()
        while self.views:
            self.look_away()

    def reset(self) -> None:
        """As the hub does it."""
        for _ in range(2000):
            if reset.at_rest(self.scheduler):
                break
            self.perform(reset.stop(self.scheduler, self.now))
            self.take_answers()
            for process in list(self.processes.values()):
                if process.doomed and not process.dead:
                    self.die(process, "signal 9")
                elif process.proc in self.processes:
                    self.advance(process)
            self.scheduler.check()
        self.perform(reset.forget(self.scheduler, self.now))
        self.take_answers()
        assert not any(type(event) is m.Fetch for event, _ in self.questions.values())
        self.scheduler.check()
