"""Studies on real processes: in parallel, on warm workers, through crashes and stops."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

import heliostat
from heliostat import train, tune
from heliostat.exceptions import RayActorError, WorkerCrashedError
from heliostat.testing.clock import until

ENGINE = "local"


def pid(config):
    return {"pid_of_trial": os.getpid()}


def test_trials_share_warm_processes(run_study):
    grid = run_study(pid, num_samples=12)
    assert len({result.metrics["pid_of_trial"] for result in grid}) <= 2
    assert os.getpid() not in {result.metrics["pid_of_trial"] for result in grid}


def meet(config):
    here = Path(config["dir"], config["me"])
    here.touch()
    until(Path(config["dir"], config["other"]).exists, "the other is here", 30)


def test_trials_run_at_the_same_time(run_study, tmp_path):
    pairs = tune.grid_search([{"me": "a", "other": "b"}, {"me": "b", "other": "a"}])

    def trial(config):
        meet({**config["pair"], "dir": config["dir"]})
        return {"met": 1}

    assert run_study(trial, {"pair": pairs, "dir": str(tmp_path)}).num_terminated == 2


ANSWERED = {"stop": {"training_iteration": 100}}  # a study whose trials wait for answers: in actors


def test_a_trial_knows_its_task_or_actor_as_core_does(run_study):
    def trial(config):
        context = heliostat.get_runtime_context()
        return {"task": context.get_task_id(), "actor": context.get_actor_id()}

    [result] = run_study(trial)
    assert (bool(result.metrics["task"]), result.metrics["actor"]) == (True, None)
    [result] = run_study(trial, run=ANSWERED)
    assert result.metrics["actor"]


def test_the_workers_of_a_study_stay_warm_for_the_next(run_study):
    first, second = (run_study(pid, num_samples=8).get_dataframe() for _ in range(2))
    assert {*first["pid_of_trial"]} & {*second["pid_of_trial"]}


def test_a_worker_works_where_it_did_after_trials_in_directories_of_their_own(run_study):
    where = heliostat.remote(os.getcwd)
    before = heliostat.get(where.remote())
    run_study(lambda config: {"at": os.getcwd()}, num_samples=8)
    assert {*heliostat.get([where.remote() for _ in range(8)])} == {before}


@pytest.mark.parametrize("run", [{}, ANSWERED], ids=["tasks", "actors"])
def test_reports_come_while_a_trial_runs(run_study, tmp_path, run):
    go = tmp_path / "go"

    class Go(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            go.touch()

    def trial(config):
        tune.report({"n": 1})
        until(go.exists, "the study has heard", 30)
        return {"n": 2}

    [result] = run_study(trial, run={**run, "callbacks": [Go()]})
    assert result.metrics["n"] == 2


def test_what_a_cancelled_task_has_begun_ends_with_it(run_study, tmp_path):
    began = tmp_path / "began"

    def trial(config):
        began.write_text(str(os.getpid()))
        while True:
            time.sleep(0.01)

    @heliostat.remote(num_cpus=0)
    def tunes():
        run_study(trial)

    ref = tunes.remote()
    until(lambda: began.exists() and began.read_text() != "", "the trial runs", 30)
    heliostat.cancel(ref)
    with pytest.raises(heliostat.exceptions.TaskCancelledError):
        heliostat.get(ref, timeout=30)
    gone = Path("/proc", began.read_text())
    until(lambda: not gone.exists() or "Z" in gone.joinpath("stat").read_text(), "it is gone", 30)


def test_the_cpus_are_free_again_after_a_study(run_study):
    run_study(pid, num_samples=3)
    until(lambda: heliostat.available_resources().get("CPU") == 2, "the CPUs are free")


@pytest.mark.parametrize(
    ("run", "kind"), [({}, WorkerCrashedError), (ANSWERED, RayActorError)], ids=["tasks", "actors"]
)
def test_a_trial_whose_process_is_killed_fails_and_the_others_go_on(run_study, run, kind):
    def trial(config):
        if config["x"] == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return {"x": config["x"]}

    grid = run_study(trial, {"x": tune.grid_search([0, 1, 2])}, run=run)
    assert (grid.num_errors, grid.num_terminated) == (1, 2)
    [error] = grid.errors
    assert isinstance(error, kind)
    assert "SIGKILL" in str(error)


@pytest.mark.parametrize("more", [{}, ANSWERED], ids=["tasks", "actors"])
def test_a_trial_whose_process_is_killed_goes_on_from_its_checkpoint(run_study, tmp_path, more):
    def trial(config):
        checkpoint = tune.get_checkpoint()
        begin = int(Path(checkpoint.path, "step").read_text()) + 1 if checkpoint else 0
        for step in range(begin, 4):
            saved = Path(config["dir"], "saved")
            saved.mkdir(exist_ok=True)
            (saved / "step").write_text(str(step))
            tune.report({"step": step}, checkpoint=tune.Checkpoint(saved))
            if step == 1 and begin == 0:
                time.sleep(0.2)  # until the study has heard of it
                os.kill(os.getpid(), signal.SIGKILL)

    run = {"failure_config": tune.FailureConfig(max_failures=1), **more}
    [result] = run_study(trial, {"dir": str(tmp_path)}, run=run)
    assert [report["step"] for report in result.history] == [0, 1, 2, 3]
    assert result.error is None


def sleeper(config):
    tune.report({"x": 1})
    time.sleep(1000)


@pytest.mark.parametrize("run", [{}, ANSWERED], ids=["tasks", "actors"])
def test_the_time_budget_ends_trials_in_the_middle_of_their_work(run_study, run):
    started = time.monotonic()
    grid = run_study(sleeper, num_samples=4, time_budget_s=0.5, run=run)
    assert time.monotonic() - started < 20
    assert grid.num_errors == 0
    assert len(grid) < 4 or grid.num_terminated == 4


@pytest.mark.parametrize("more", [{}, ANSWERED], ids=["tasks", "actors"])
def test_fail_fast_ends_trials_in_the_middle_of_their_work(run_study, more):
    def trial(config):
        if config["x"]:
            raise ValueError("no")
        sleeper(config)

    run = {"failure_config": tune.FailureConfig(fail_fast=True), **more}
    grid = run_study(trial, {"x": tune.grid_search([0, 1])}, run=run)
    assert (grid.num_errors, grid.num_terminated) == (1, 1)


def test_ctrl_c_ends_the_study_with_what_there_is(run_study):
    class Interrupt(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()

    grid = run_study(sleeper, run={"callbacks": [Interrupt()]}, max_concurrent_trials=1)
    assert grid[0].metrics["x"] == 1
    assert grid.num_terminated == 1


def test_a_study_that_ctrl_c_ended_goes_on_with_the_trials_that_it_cut_short(run_study, tmp_path):
    once, go = tmp_path / "once", tmp_path / "go"  # the callback goes on with the study, too

    class Interrupt(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            if not once.exists():
                once.touch()
                os.kill(os.getpid(), signal.SIGINT)

    def endless_at_first(config):
        while not go.exists():
            tune.report({"x": config["x"], "step": 0})
        tune.report({"x": config["x"], "step": 1})

    space = {"x": tune.grid_search([1, 2, 3])}
    run = {"callbacks": [Interrupt()]}
    grid = run_study(endless_at_first, space, run=run, max_concurrent_trials=1)
    go.touch()
    again = tune.Tuner.restore(grid.experiment_path, endless_at_first).fit()
    assert [(one.metrics["x"], one.metrics["step"]) for one in again] == [(1, 1), (2, 1), (3, 1)]


def test_ctrl_c_in_the_middle_of_a_step_waits_for_its_end(run_study):
    class Interrupt(tune.Callback):
        seen = 0

        def on_trial_result(self, iteration, trials, trial, result, **info):
            os.kill(os.getpid(), signal.SIGINT)
            self.seen += 1  # not reached if the signal came through here

    callback, before = Interrupt(), signal.getsignal(signal.SIGINT)
    grid = run_study(sleeper, run={"callbacks": [callback]}, max_concurrent_trials=1)
    assert callback.seen == 1
    assert grid.num_terminated == 1
    assert signal.getsignal(signal.SIGINT) == before


def test_a_second_ctrl_c_ends_it_at_once(run_study):
    class Twice(tune.Callback):
        def on_trial_result(self, iteration, trials, trial, result, **info):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_study(sleeper, run={"callbacks": [Twice()]}, max_concurrent_trials=1)


def test_a_stopped_trial_leaves_its_process_for_the_next(run_study):
    def trial(config):
        while True:
            tune.report({"p": os.getpid()})

    grid = run_study(trial, num_samples=6, run={"stop": {"training_iteration": 2}})
    assert len({result.metrics["p"] for result in grid}) <= 2
    assert {result.metrics["training_iteration"] for result in grid} == {2}


def test_trials_work_in_their_own_directories(run_study, monkeypatch):
    def trial(config):
        Path("note").write_text("mine")
        return {"at": os.getcwd(), "own": tune.get_context().get_trial_dir()}

    for result in run_study(trial, num_samples=3):
        assert result.metrics["at"] == result.metrics["own"]
        assert Path(result.path, "note").read_text() == "mine"
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    [result] = run_study(lambda config: {"at": os.getcwd()})
    assert result.metrics["at"] == os.getcwd()


def test_a_trial_that_ends_its_process_is_found_among_those_it_ran_with(run_study):
    def trial(config):
        if config["x"] == 60:
            os._exit(3)
        return {"x": config["x"]}

    grid = run_study(trial, {"x": tune.grid_search(list(range(100)))})
    assert (grid.num_errors, grid.num_terminated) == (1, 99)
    [lost] = [result for result in grid if result.error]
    assert lost.config == {"x": 60}


def test_a_long_trial_holds_up_none_that_were_to_run_after_it(run_study, tmp_path):
    def trial(config):
        here = Path(config["dir"], str(config["x"]))
        here.touch()
        if config["x"] == 60:  # until all others have run
            until(lambda: len(os.listdir(config["dir"])) == 100, "all others ran", 30)
        return {"x": config["x"]}

    seen = tmp_path / "seen"
    seen.mkdir()
    grid = run_study(trial, {"x": tune.grid_search(list(range(100))), "dir": str(seen)})
    assert grid.errors == []


@pytest.mark.parametrize("run", [{}, ANSWERED], ids=["tasks", "actors"])
def test_trials_of_other_sizes_get_what_they_ask_for(run_study, run):
    sized = tune.with_resources(pid, lambda config: {"cpu": config["n"]})
    grid = run_study(sized, {"n": tune.grid_search([1, 2, 1, 2])}, run=run)
    assert grid.num_terminated == 4


@pytest.mark.parametrize("run", [{}, ANSWERED], ids=["tasks", "actors"])
def test_trials_end_though_somebody_else_holds_a_part_of_the_cpus(run_study, run):
    group = heliostat.util.placement_group([{"CPU": 0.5}])
    heliostat.get(group.ready())
    try:
        assert len(run_study(pid, num_samples=4, run=run)) == 4
    finally:
        heliostat.util.remove_placement_group(group)


def test_idle_processes_give_way_also_while_another_trial_reports_often(run_study, tmp_path):
    began = tmp_path / "began"

    def trial(config):
        if config["kind"] == "short":
            return  # its process idles, and has the CPU that the last one waits for
        if config["kind"] == "waits":
            began.touch()
            return
        deadline = time.monotonic() + 20
        while not began.exists():
            assert time.monotonic() < deadline, "the other never began"
            tune.report({"n": 1})
            threading.Event().wait(0.05)

    def size(config):
        return {"cpu": 0.4 if config["kind"] == "chatty" else 0.5}

    group = heliostat.util.placement_group([{"CPU": 1}])
    heliostat.get(group.ready())
    try:
        kinds = tune.grid_search(["chatty", "short", "waits"])
        trial = tune.with_resources(trial, size)
        grid = run_study(trial, {"kind": kinds}, run={"stop": {"training_iteration": 10_000}})
        assert grid.num_errors == 0, grid.errors
    finally:
        heliostat.util.remove_placement_group(group)


def test_trials_run_in_the_environment_that_the_study_names(run_study):
    def trial(config):
        return {"color": os.environ.get("COLOR_OF_TRIALS")}

    run = {"worker_runtime_env": {"env_vars": {"COLOR_OF_TRIALS": "green"}}}
    assert run_study(trial, run=run)[0].metrics["color"] == "green"


def test_ranks_of_a_trial_are_in_the_environment_of_the_study_too(run_study):
    def loop():
        train.report({"color": os.environ.get("COLOR_OF_TRIALS")})

    run = {"worker_runtime_env": {"env_vars": {"COLOR_OF_TRIALS": "green"}}}
    assert run_study(train.DataParallelTrainer(loop), run=run)[0].metrics["color"] == "green"


@pytest.mark.parametrize("samples", [2000])
def test_memory_of_the_driver_does_not_hold_reports(run_study, samples):
    def trial(config):
        for n in range(samples):
            tune.report({"n": n})

    [result] = run_study(trial)
    assert result.metrics["n"] == samples - 1
    assert len(result.history) == samples


def test_a_scheduler_stops_a_trainers_ranks_and_their_cpus_are_free_for_the_next(run_study):
    def endless(config):
        step = 0
        while True:
            step += 1
            train.report({"loss": config["lr"] / step})

    trainer = train.DataParallelTrainer(
        endless, train_loop_config={}, scaling_config=train.ScalingConfig(num_workers=2)
    )
    grid = run_study(
        trainer,
        {"train_loop_config": {"lr": tune.grid_search([1.0, 2.0])}},
        metric="loss",
        mode="min",
        scheduler=tune.schedulers.ASHAScheduler(max_t=4, reduction_factor=2),
    )
    assert grid.errors == []
    assert [result.metrics["training_iteration"] for result in grid] == [4, 1]


def test_a_trial_that_is_paused_before_it_saved_anything_is_no_secret(run_study, caplog):
    class PauseOnce(tune.schedulers.FIFOScheduler):
        def on_trial_result(self, tune_controller, trial, result):
            return self.PAUSE if trial.attempt == 1 else self.CONTINUE

    def trial(config):
        for step in range(3):
            tune.report({"step": step})

    grid = run_study(trial, num_samples=3, scheduler=PauseOnce())
    assert {result.metrics["step"] for result in grid} == {2}
    (said,) = caplog.messages
    assert "has saved nothing, so it will begin anew: give tune.report" in said
