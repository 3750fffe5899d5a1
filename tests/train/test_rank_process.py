import os
import subprocess
import sys

import heliostat
from heliostat.train import DataParallelTrainer, ScalingConfig, get_context, report

FAULTS = """
import resource

def faults_of_a_step():
    def step():
        blocks = [bytes(bytearray(4 << 20)) for _ in range(8)]
        return len(blocks)

    for _ in range(3):
        step()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        step()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10
"""
PAGES_OF_A_STEP = 8 * (4 << 20) // 4096


def test_each_rank_leads_a_session_as_torchruns_do_and_keeps_what_it_frees(run_config):
    def loop():
        scope = {}
        exec(FAULTS, scope)
        pid = os.getpid()
        report({
            "session": os.getsid(0) == pid,
            "group": os.getpgid(0) == pid,
            "faults": scope["faults_of_a_step"](),
            "threads": os.environ["OMP_NUM_THREADS"],
        })  # fmt: skip
        return get_context().get_world_size()

    heliostat.init(num_cpus=2)
    try:
        result = DataParallelTrainer(
            loop, scaling_config=ScalingConfig(num_workers=2), run_config=run_config()
        ).fit()
    finally:
        heliostat.shutdown()
    assert result.metrics is not None
    faults = result.metrics.pop("faults")
    assert result.metrics == {"session": True, "group": True, "threads": "1"}
    assert faults < PAGES_OF_A_STEP / 20
    assert result.return_value == 2


def prepared(script, **environment):
    """What a process prints that runs the script after `prepare`."""
    run = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout.strip()


def test_who_has_started_processes_stays_in_its_group_with_them():
    script = """
import os, signal
from heliostat.train._rank_process import prepare
if os.fork() == 0:
    os.setpgid(0, 0)
    child = os.fork()
    if child == 0:
        signal.pause()
    prepare()
    print(os.getpgid(0) == os.getpgid(child) == os.getpid(), os.getsid(0) == os.getpid())
    os.kill(child, signal.SIGKILL)
os.wait()
"""
    assert prepared(script) == "True False"


def test_what_somebody_has_chosen_of_malloc_stays():
    script = (
        "from heliostat.train._rank_process import prepare; prepare()\n"
        f"{FAULTS}\nprint(faults_of_a_step() > {PAGES_OF_A_STEP / 2})"
    )
    assert prepared(script, MALLOC_MMAP_THRESHOLD_="100000") == "True"
    assert prepared(script) == "False"
