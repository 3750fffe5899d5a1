"""Stacks of another process, told on a signal."""

import os
import subprocess
import sys

from heliostat.train._stacks import Ear, stacks_of

CHILD = """
import sys, threading
from heliostat.train._stacks import listen
def hang_here():
    print(*listen(), flush=True)
    threading.Event().wait()
hang_here()
"""


def test_a_process_that_hangs_tells_where_again_and_again():
    child = subprocess.Popen([sys.executable, "-c", CHILD], stdout=subprocess.PIPE, text=True)
    try:
        ear = Ear(*map(int, child.stdout.readline().split()))
        for _ in range(2):
            assert stacks_of(ear).count("in hang_here") == 1
    finally:
        child.kill()
        child.communicate()
    assert "cannot be asked" in stacks_of(ear)


def test_a_descriptor_that_is_none_is_told_so():
    assert "cannot be asked" in stacks_of(Ear(os.getpid(), 9999))
