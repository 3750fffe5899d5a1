"""Direct: calls from worker to worker on a socket of their own, without the hub.

Who has called an actor by the hub twice *dials* (`Dialled`); the hub joins the two processes by a
socket pair, a *line* (`LineIn`, `LineOut`). From then on a call goes by the line if it has one
result, and arguments that are inline and hold no references. All others go by the hub. Calls of
one caller stay in order:

* From the line to the hub: the call says how many calls went by the line before it; the callee
  holds it back until they have come.
* From the hub to the line: the caller says so to both (`Switched` to the hub, `Hold` on the line).
  When the hub has sent on, or failed, all that the caller had called before, it tells the callee
  (`Clear`), who holds back what follows on the line until then.

The result belongs to the caller, who alone knows the object, until it *exposes* it: before it
passes the reference on, cancels it, pickles it or has waited for it for a second.

| a call, in the caller  | its result comes       | it is exposed           | the line is down     |
|------------------------|------------------------|-------------------------|----------------------|
| private, pending       | private, known here    | `Exposed`; the hub has  | `Lost`; the hub      |
|                        |                        | a task that runs        | repeats or fails it  |
| private, known here    |                        | `Put`; it is the hub's  |                      |
| exposed, pending       | `Settled` tells the hub|                         | `Lost`               |

The callee answers `Result` if that is inline, holds no references and asks for no repetition.
Otherwise it tells the hub (`Settled`) and the caller that it did (`Referred`), who exposes the call.

Nothing is lost or done twice when an end dies. If the callee dies, the hub says `LineDown` after it
has handled all that the callee had sent to it; the caller reads the line to its end, and then gives
what was not answered to the hub, which treats it as calls of its own that were in the process. If
the caller dies, the callee still runs what it had sent; objects it had exposed get OwnerDiedError.
No end ever waits for the other: what a socket does not take is kept, and sent by who reads next.
"""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any

from heliostat._engines.local.direct_messages import (
    Clear,
    Dialled,
    DirectCall,
    Ended,
    Exposed,
    Hold,
    LineDown,
    LineIn,
    LineOut,
    Lost,
    Referred,
    Result,
    Settled,
    Switched,
)
from heliostat._engines.local.messages import (
    ERROR,
    STORED,
    Call,
    Called,
    Cancel,
    Cancelled,
    Dropped,
    Finished,
    Put,
    Wanted,
)
from heliostat._engines.local.transport.conn import Channel
from heliostat._engines.local.transport.waiting import Waiter

if TYPE_CHECKING:
    from heliostat._engines.local.worker.link import Link

_MOST_ROWS = 256  # ended calls that the hub is told of together
_MOST_DROPPED = 256  # references that a long task may drop before they are looked at


class Line(Channel):
    """One end of a line. `proc` is at the other one."""

    __slots__ = (
        "actor", "came", "cleared", "exposed", "held", "holds", "later", "made", "number", "over",
        "pending", "proc", "queued", "stuck", "switched", "times",
    )  # fmt: skip

    def __init__(self, number: int, sock: socket.socket, proc: int, actor: bytes) -> None:
        super().__init__(sock, select.EPOLLIN)
        self.number, self.proc = number, proc
        self.queued = False  # something is to be sent
        self.stuck = False  # the socket is full
        self.over = False  # nothing comes any more
        self.actor = actor  # what the caller calls
        self.made = 0  # calls by the caller
        self.switched = False  # its last call went by the line
        self.times = 0  # how often it switched to the line
        self.pending: dict[bytes, Called] = {}  # not answered
        self.exposed: set[bytes] = set()  # of these, what the hub knows
        self.came = 0  # calls that have come to the callee
        self.held: deque[Call] = deque()  # by the hub, and to run after others of the line
        self.cleared = 0  # what was called by the hub before so many switches is here
        self.holds = 0  # what comes by the line comes after so many
        self.later: deque[Any] = deque()  # by the line, and to run after others of the hub


class Route:
    """How this process calls an actor."""

    __slots__ = ("by_hub", "dialled", "line")

    def __init__(self) -> None:
        self.by_hub = 0  # calls made by the hub, one after the other
        self.dialled = False
        self.line: Line | None = None


class Direct:
    """The lines of a worker process.

    Args:
        link: Its port to the hub, which reads and sends for the lines too.
        handover: Where the sockets of new lines come.
    """

    def __init__(self, link: Link, handover: socket.socket) -> None:
        self._link = link
        self._handover = handover
        self._routes: dict[bytes, Route] = {}
        self._numbered: dict[int, Line] = {}
        self.lines: dict[int, Line] = {}  # by file descriptor
        self.queued: list[Line] = []  # with something to send
        self.private: dict[bytes, Line | None] = {}  # objects of this process alone; None: known
        self.taken: dict[bytes, tuple[Line, bytes | None]] = {}  # calls that run here; the parent
        self.rows: list[tuple[Any, ...]] = []  # calls that have ended here
        self._postponed: set[bytes] = set()  # actors to drop when nothing is pending
        self._calling = self._missed = self._leaving = False

    def handlers(self) -> dict[type, Callable[[Any], None]]:
        """What the hub says of lines."""
        return {
            LineIn: self._line_in,
            LineOut: self._line_out,
            Clear: self._clear,
            LineDown: self._line_down,
        }

    # The caller's side

    def call(self, called: Called) -> bool:
        """Call an actor, by its line or by the hub; whether it was by the line."""
        link = self._link
        plain = called.num_returns == 1 and not (
            called.call_id is not None or called.needs or called.call[3]
        )
        link.shield.depth += 1
        self._calling = True  # mail may close the line, and has to wait
        try:
            with link.lock:
                route = self._routes.get(called.actor)
                if route is None:
                    route = self._routes[called.actor] = Route()
                line = route.line
                by_line = plain and line is not None and (line.switched or route.by_hub > 1)
                if by_line:
                    assert line is not None
                    self._call_by(line, called)
                else:
                    self._call_by_hub(route, called, plain=plain)
        finally:
            self._calling = False
            link.shield.depth -= 1
        link.flush_soon()
        if self._missed:
            self._missed = False
            link.read_mail()
        if link.cancelled:
            link.interrupt()
        return by_line

    def _call_by(self, line: Line, called: Called) -> None:
        link, task = self._link, called.task
        if not line.switched:
            line.switched = True
            line.times += 1
            link.out.append(Switched(link.proc, line.actor, line.number, line.times))
            self._queue(line, Hold(line.times))
        line.pending[task] = called
        line.made += 1
        self.private[task] = line
        link.held.adopt(task)
        link.wanted.add(task)  # it comes unasked
        _, _, _, method, _, _, retry_on, call, _, _, _, parent, group, _, _ = called
        self._queue(line, DirectCall.of((task, method, retry_on, call, group, parent)))

    def _call_by_hub(self, route: Route, called: Called, *, plain: bool) -> None:
        out, line = self._link.out, route.line
        if line is not None:
            called = Called.of((*called[:-2], line.number, line.made))
            if line.switched:
                line.switched, route.by_hub = False, 0
        route.by_hub += plain  # a second plain call has others behind it, as a rule
        out.append(called)
        if route.by_hub > 1 and not route.dialled:
            route.dialled = True
            out.append(Dialled(called.proc, called.actor))

    def _line_out(self, message: LineOut) -> None:
        number, actor, callee = message
        line = self._open(Line(number, self._take(), callee, actor))
        with self._link.lock:
            self._routes[actor].line = line

    def makes(self, ids: Collection[bytes]) -> bool:
        """Whether all of these are results of direct calls."""
        private = self.private
        return bool(private) and all(id_ in private for id_ in ids)

    def expose(self, ids: Collection[bytes]) -> None:
        """Others are about to hear of these objects: see that the hub knows them."""
        private = self.private
        if not private:
            return
        link = self._link
        for id_ in ids:
            with link.lock:
                if id_ not in private:
                    continue
                line = private.pop(id_)
                link.held.lent(id_)
                if line is None:
                    value = link.value(id_)
                    assert value is not None
                    link.out.append(Put(link.proc, id_, value))
                    continue
                line.exposed.add(id_)
                link.out.append(Exposed(link.proc, line.proc, tuple(line.pending[id_])))
            # Others wait for it, whatever this process does meanwhile.
            link.subscribe((id_,), Waiter(callback=_nothing))

    def _result(self, line: Line, message: Result) -> None:
        task, value = message
        link = self._link
        with link.lock:
            line.pending.pop(task)
            if task in line.exposed:
                line.exposed.remove(task)
                failure = int(value[0] == ERROR)
                fields = link.proc, link.proc, task, (value,), failure, 0.0, ()
                link.out.append(Settled.of(fields))
            elif task in self.private:
                self.private[task] = None
            if link.held.refers(task):
                link.held.known[task] = value
        link.arrived(task)
        self._answered(line)

    def _answered(self, line: Line) -> None:
        if line.pending:
            return
        if line.actor in self._postponed:
            self._postponed.discard(line.actor)
            self._give_back(line.actor)
        if self._leaving:
            self.leave()

    def _give_back(self, id_: bytes) -> None:
        """If nothing here refers to it."""
        link = self._link
        drops = link.held.drops((id_,))
        if drops:
            link.out.append(Dropped(link.proc, drops))

    def _referred(self, line: Line, message: Referred) -> None:
        called = line.pending.pop(message.task)
        new = message.task not in line.exposed
        event = Exposed(self._link.proc, line.proc, tuple(called)) if new else None
        self._leave_to_hub(line, called, event, new=new)
        self._answered(line)

    def _leave_to_hub(self, line: Line, called: Called, event: Any, *, new: bool) -> None:
        """The hub says from now on how a call ends."""
        link, task = self._link, called.task
        with link.lock:
            line.exposed.discard(task)
            self.private.pop(task, None)
            if event is not None:
                link.out.append(event)
            if new:
                link.held.lent(task)
            if link.held.refers(task):
                link.out.append(Wanted(link.proc, (task,)))
            else:
                link.arrived(task)
                self._give_back(task)

    def _line_down(self, message: LineDown) -> None:
        """The callee is gone; the hub has heard the last of it."""
        line = self._numbered.get(message.line)
        if line is None:  # no descriptor was left for it, or its other end was gone before it came
            if message.actor in self._routes:
                self._routes[message.actor].dialled = False
            return
        for answer in line.last_words():
            self._handle(line, answer)
        link = self._link
        with link.lock:
            route = self._routes[line.actor]
            route.line, route.dialled = None, False
            unsent = {sent.task for sent in line.out if type(sent) is DirectCall}
            for called in line.pending.values():
                task = called.task
                known, begun = task in line.exposed, task not in unsent
                lost = Lost(link.proc, line.proc, tuple(called), known, begun)
                self._leave_to_hub(line, called, lost, new=not known)
            line.pending.clear()
            self._close(line)
        self._answered(line)

    def let_go(self, id_: bytes) -> bool:
        """Nothing here refers to it; False if it is an actor with calls on the way."""
        self.private.pop(id_, None)
        route = self._routes.get(id_)
        if route is None or route.line is None or not route.line.pending:
            return True
        self._postponed.add(id_)
        return False

    # The callee's side

    def _line_in(self, message: LineIn) -> None:
        self._open(Line(message.line, self._take(), message.caller, b""))

    def _direct(self, line: Line, message: DirectCall) -> None:
        task, method, retry_on, call, group, parent = message
        self.taken[task] = line, parent
        line.came += 1
        fields = task, method, 1, retry_on, call, None, (), (), group, 0, 0
        self._link.enqueue(Call.of(fields))
        if line.held:
            self._release(line)

    def comes_later(self, message: Call) -> bool:
        """Whether a call by the hub has to wait for others of its caller that come by a line."""
        line = self._numbered.get(message.line)
        if line is None or line.came >= message.after:
            return False
        line.held.append(message)
        return True

    def _release(self, line: Line, *, all_: bool = False) -> None:
        while line.held and (all_ or line.came >= line.held[0].after):
            self._link.enqueue(line.held.popleft())

    def _clear(self, message: Clear) -> None:
        line = self._numbered.get(message.line)
        if line is not None:
            line.cleared = message.times
            self._go_on(line)

    def _go_on(self, line: Line) -> None:
        """Take what was held back on the line, as far as may be."""
        later, line.later = line.later, deque()
        for message in later:
            self._handle(line, message)
        if line.over:
            self._caller_gone(line)

    def _caller_gone(self, line: Line) -> None:
        if not line.later:
            self._release(line, all_=True)
            self._close(line)

    def reply(self, report: Finished, message: Call) -> bool:
        """Report how a call ended to its caller; False if it did not come by a line."""
        origin = self.taken.pop(report.task, None)
        if origin is None:
            return False
        line, parent = origin
        _, task, values, failure, seconds, _ = report
        self.rows.append((task, message.method, parent, seconds, time.monotonic(), failure))
        if len(self.rows) >= _MOST_ROWS:
            self.report()
        link, value = self._link, values[0]
        if failure < 2 and value[0] != STORED and not value[3]:
            link.sweep()
            with link.lock:
                self._queue(line, Result.of((task, value)))
        else:
            drops = link.held.drops()
            fields = link.proc, line.proc, task, values, failure, seconds, drops
            link.out.append(Settled.of(fields))
            with link.lock:
                self._queue(line, Referred(task))
        if self._leaving:
            self.leave()
        return True

    def report(self) -> None:
        """Tell the hub, with the next message, which calls have ended."""
        with self._link.lock:
            rows, self.rows = self.rows, []
            if rows:
                self._link.out.append(Ended(self._link.proc, tuple(rows)))

    def cancel(self, message: Cancel) -> None:
        """Look for what is to be cancelled on the lines, and cancel what it has called."""
        for line in list(self.lines.values()):
            self._read(line)
        if not message.recursive:
            return
        link = self._link
        for line in list(self.lines.values()):
            for called in [c for c in line.pending.values() if c.parent == message.task]:
                self.expose((called.task,))
                link.out.append(Cancelled(link.proc, called.task, False, True))

    # Sockets; a thread that sends or reads is the only one

    def _take(self) -> socket.socket:
        _, fds, _, _ = socket.recv_fds(self._handover, 1, 1)
        return socket.socket(fileno=fds[0])

    def _open(self, line: Line) -> Line:
        fd = line.sock.fileno()
        self._numbered[line.number] = self.lines[fd] = line
        self._link.poll.register(fd, line.watched)
        return line

    def _close(self, line: Line) -> None:
        del self._numbered[line.number]
        self._end(line)
        self._stick(line, stuck=False)
        line.sock.close()

    def _end(self, line: Line) -> None:
        """Nothing comes by it any more."""
        with self._link.lock:
            if not line.over:
                line.over = True
                del self.lines[line.sock.fileno()]
                self._link.poll.unregister(line.sock)
                self._stick(line, stuck=True)  # until the hub says why

    def _queue(self, line: Line, message: Any) -> None:
        """To be sent at the next flush. The lock is held."""
        line.out.append(message)
        if not line.queued:
            line.queued = True
            self.queued.append(line)

    def encode(self) -> list[Line]:
        """The lines to send on, with their messages as bytes."""
        with self._link.lock:
            lines, self.queued = self.queued, []
            for line in lines:
                line.queued = False
                if not line.stuck:  # what never left is known to have never begun
                    line.encode()
        return lines

    def send(self, line: Line) -> None:
        """Send, or see to it that somebody does once the other end reads."""
        with self._link.lock:  # or another thread closes it meanwhile
            if line.over:
                return
            full = not line.send()
            if full and not line.stuck:
                self._link.poll.modify(line.sock, select.EPOLLIN | select.EPOLLOUT)
            elif line.stuck and not full:
                self._link.poll.modify(line.sock, select.EPOLLIN)
                if line.out and not line.broken:  # else it stays, and is known to be unsent
                    self._send_again(line)
            self._stick(line, stuck=full or line.broken)

    def _stick(self, line: Line, *, stuck: bool) -> None:
        """While nothing can be sent, somebody reads to find out when it can, or that it is over."""
        if stuck != line.stuck:
            line.stuck = stuck
            self._link.keep_reading(1 if stuck else -1)

    def _send_again(self, line: Line) -> None:
        with self._link.lock:
            if not line.queued:
                line.queued = True
                self.queued.append(line)

    def read(self, fd: int, events: int) -> None:
        """A socket has something for us, or takes more."""
        line = self.lines.get(fd)
        if line is None:
            return
        if events & select.EPOLLOUT:
            self._send_again(line)
        if events & ~select.EPOLLOUT:
            self._read(line)

    def _read(self, line: Line) -> None:
        messages = line.read()
        if messages is None:
            self._end(line)
            if not line.actor:
                self._caller_gone(line)
            return
        for message in messages:
            self._handle(line, message)
        if self._link.held.backlog() > _MOST_DROPPED:
            self._link.sweep()

    def _handle(self, line: Line, message: Any) -> None:
        kind = type(message)
        if kind is Result:
            self._result(line, message)
        elif kind is Referred:
            self._referred(line, message)
        elif line.cleared < line.holds:
            line.later.append(message)
        elif kind is DirectCall:
            self._direct(line, message)
        else:
            line.holds = message.times

    def deferred(self) -> bool:
        """Whether mail has to wait, because a call is just being made."""
        self._missed = self._missed or self._calling
        return self._calling

    # The end

    def leave(self) -> None:
        """End this process, or its actor, once it owes nobody anything."""
        for line in list(self.lines.values()):
            if not line.actor:
                self._read(line)
        self._leaving = True
        if self.taken or any(line.pending or line.later for line in self._numbered.values()):
            return
        self._link.depart()

    def finish(self) -> None:
        """Send what is to be sent, however long that takes: the process ends."""
        self.report()
        self._link.flush()
        for line in list(self.lines.values()):
            line.sock.setblocking(True)
            while not line.over and (line.out or not line.send()):
                line.encode()


def _nothing() -> None:
    """Somebody else waits."""
