"""The id of this start of the machine."""

import subprocess
import sys

from heliostat._boot import boot_id


def test_every_process_names_the_same_start_of_the_machine():
    code = "from heliostat._boot import boot_id; print(boot_id())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert other.stdout.strip() == boot_id() != ""
