"""log_once says yes once for each key in a process."""

import subprocess
import sys

from heliostat.util import once


def test_a_key_is_new_once_until_it_is_reset():
    once.reset_log_once()
    assert [once.log_once("a"), once.log_once("a"), once.log_once("b")] == [True, False, True]
    once.reset_log_once("a")
    assert [once.log_once("a"), once.log_once("b")] == [True, False]


def test_it_can_be_silenced_and_made_to_repeat():
    program = (
        "from heliostat.util import *\n"
        "disable_log_once_globally(); assert not log_once('a')\n"
        "enable_periodic_logging(); assert log_once('a') and not log_once('a')\n"
        "assert get_node_ip_address() == '127.0.0.1'\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
