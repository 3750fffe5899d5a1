"""In the driver and on the inline engine a breakpoint is plain pdb; others are in tests/cli.

pdb ends whatever traces the process that it runs in, coverage too: it runs in one of its own.
"""

import socket
import subprocess
import sys
import threading

import pytest

import heliostat as ray
from heliostat.util import rpdb

BREAKPOINT = """
import heliostat as ray
from heliostat.util import rpdb
@ray.remote
def f(n):
    rpdb.set_trace()
    return n
with ray.init(engine="inline"):
    assert ray.get(f.remote(41)) == 41
"""

POST_MORTEM = """
from heliostat.util import rpdb
divisor = 0
try:
    1 / divisor
except ZeroDivisionError:
    rpdb.post_mortem()
"""


@pytest.mark.parametrize(
    ("program", "typed", "shown"),
    [(BREAKPOINT, "p n + 1\nc\n", "42"), (POST_MORTEM, "p 'it is', divisor\nq\n", "('it is', 0)")],
    ids=["breakpoint", "post_mortem"],
)
def test_it_is_plain_pdb_in_the_driver_and_on_the_inline_engine(program, typed, shown):
    done = subprocess.run(
        [sys.executable, "-c", program], input=typed, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert shown in done.stdout


def test_post_mortem_needs_an_error():
    with pytest.raises(ValueError, match="needs an error that was raised"):
        rpdb.post_mortem()


def test_ray_knows_it_by_another_name():
    assert ray.util.pdb is rpdb


def test_visitors_are_told_what_waits_until_one_attaches(monkeypatch):
    name = "\0heliostat-test-{uid}-{pid}-{number}"
    monkeypatch.setattr(rpdb, "_NAME", name)
    monkeypatch.setattr(rpdb, "_numbers", iter([7]))
    found = []
    waiting = threading.Thread(target=lambda: found.extend(rpdb._wait_for_visitor("a breakpoint")))
    waiting.start()
    address = name.format(uid=rpdb.os.getuid(), pid=rpdb.os.getpid(), number=7)

    def visit(word):
        visitor = socket.socket(socket.AF_UNIX)
        while visitor.connect_ex(address):
            pass  # it does not listen yet
        visitor.sendall(word)
        return visitor

    with visit(b"?") as curious:
        assert curious.recv(100) == b"a breakpoint"
        assert curious.recv(1) == b""
    with visit(b"a") as attached:
        waiting.join(20)
        typed, shown = found
        attached.sendall(b"next\n")
        assert typed.readline() == "next\n"
        shown.write("there\n")
        shown.flush()
        assert attached.recv(100) == b"there\n"
        typed.close()
        shown.close()
