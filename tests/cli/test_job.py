"""`heliostat job`: jobs as people submit and watch them."""

import json

import pytest

from heliostat.cli import main


@pytest.fixture(autouse=True)
def jobs(tmp_path, monkeypatch):
    monkeypatch.setenv("HELIOSTAT_STATE_DIR", str(tmp_path))


def said(capsys, *words):
    code = main(["job", *words])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_a_job_is_submitted_watched_and_looked_up(capsys):
    code, out, _ = said(capsys, "submit", "--submission-id", "one", "--", "echo", "two words")
    assert (code, out.splitlines()[:2]) == (0, ["job one", "two words"])
    assert out.splitlines()[2].startswith("one SUCCEEDED")
    assert said(capsys, "status", "one")[1].startswith("one SUCCEEDED")
    assert (
        json.loads(said(capsys, "status", "--json", "one")[1])["entrypoint"] == "echo 'two words'"
    )
    assert said(capsys, "logs", "one")[1] == "two words\n"
    assert said(capsys, "logs", "-f", "one")[1] == "two words\n"
    assert json.loads(said(capsys, "logs", "--json", "one")[1])["log"] == "two words\n"
    assert "echo 'two words'" in said(capsys, "list")[1]
    assert len(json.loads(said(capsys, "list", "--json")[1])) == 1
    code, _, err = said(capsys, "submit", "--submission-id", "one", "--", "true")
    assert (code, "already exists" in err) == (1, True)


def test_a_job_is_stopped_once(capsys):
    said(capsys, "submit", "--no-wait", "--submission-id", "long", "--", "sleep", "1000")
    assert said(capsys, "stop", "long")[1] == "long has been stopped\n"
    assert json.loads(said(capsys, "stop", "--json", "long")[1])["stopped"] is False


def test_a_failed_job_is_an_exit_code(capsys):
    code, out, _ = said(capsys, "submit", "--json", "--env", "CODE=3", "--", "exit $CODE")
    assert (code, json.loads(out)["driver_exit_code"]) == (1, 3)


def test_what_a_job_runs_in_is_json_as_of_ray_and_what_is_given_by_itself_goes_before(
    capsys, tmp_path
):
    runtime_env = {"working_dir": "/", "env_vars": {"ONE": "1", "TWO": "2"}}
    words = ["submit", "--runtime-env-json", json.dumps(runtime_env), "--env", "TWO=two"]
    _, out, _ = said(capsys, *words, "--", "echo $ONE $TWO $PWD")
    assert out.splitlines()[1] == "1 two /"
    _, out, _ = said(capsys, *words, "--working-dir", str(tmp_path), "--", "echo $PWD")
    assert out.splitlines()[1] == str(tmp_path)
    for wrong, why in (("{bad", "is no JSON"), ("[]", "is a JSON object, got []")):
        code, _, err = said(capsys, "submit", "--runtime-env-json", wrong, "--", "true")
        assert (code, why in err) == (2, True)


def test_a_job_that_has_ended_can_be_forgotten(capsys):
    said(capsys, "submit", "--no-wait", "--submission-id", "long", "--", "sleep", "1000")
    code, _, err = said(capsys, "delete", "long")
    assert (code, "non-terminal state" in err) == (1, True)
    said(capsys, "stop", "long")
    assert said(capsys, "delete", "long") == (0, "long is forgotten\n", "")
    assert said(capsys, "list")[1].startswith("no jobs")


def test_a_command_with_options_that_comes_after_no_dashes_is_told_how_it_is_meant(capsys):
    with pytest.raises(SystemExit):
        said(capsys, "submit", "python", "train.py", "--epochs", "3")
    told = capsys.readouterr().err
    assert told.startswith("usage: heliostat job submit [options] -- COMMAND [ARGS ...]\n")
    assert "unrecognized arguments: --epochs" in told


def test_what_a_job_says_at_its_end_is_a_line(capsys):
    _, out, _ = said(
        capsys, "submit", "--submission-id", "bad", "--", "printf 'one\\ntwo\\n'; false"
    )
    assert out.splitlines()[-1].endswith(": one two")
    assert said(capsys, "list")[1].endswith(": one two\n")


def test_what_is_not_there_is_said_with_what_is(capsys):
    assert said(capsys, "list")[1].startswith("no jobs")
    for verb in ("status", "logs", "stop", "delete"):
        code, _, err = said(capsys, verb, "nope")
        assert (code, "there is no job 'nope', nor any other" in err) == (1, True)
    code, _, err = said(capsys, "submit", "--env", "A", "--", "true")
    assert (code, "NAME=VALUE" in err) == (2, True)
    code, _, err = said(capsys, "submit", "--working-dir", "/no/such", "--", "true")
    assert (code, "is no folder" in err) == (1, True)
