"""`heliostat deploy` looks at the program, writes files, and says what is wrong before it does."""

import os
import subprocess
import sys

import pytest
import yaml

from heliostat.cli import main


@pytest.fixture
def program(tmp_path, monkeypatch):
    (tmp_path / "My_Train.py").write_text("print('trained')")
    (tmp_path / "app.yaml").write_text("applications: []")
    (tmp_path / "a; ls.py").write_text("")
    (tmp_path / "pages").mkdir()
    (tmp_path / "main.py").write_text("raise AssertionError('this is run elsewhere')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(capsys, *words):
    try:
        code = main(["deploy", *words])
    except SystemExit as error:  # argparse
        code = error.code
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def test_files_are_written_and_the_next_steps_told(program, capsys):
    (program / "requirements.txt").write_text("scikit-learn\n")
    code, out, _ = said(capsys, "My_Train.py", "--target", "kuberay", "--memory", "1Gi")
    assert code == 0
    assert "deploy/my-train.yaml\n" in out
    assert "kubectl apply -f deploy/my-train.yaml" in out
    (_, job) = yaml.safe_load_all((program / "deploy" / "my-train.yaml").read_text())
    assert job["spec"]["entrypoint"] == "heliostat run /app/My_Train.py"
    (worker,) = job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["template"]["spec"][
        "containers"
    ]
    assert worker["resources"]["limits"]["memory"] == str(1 << 30)
    assert "requirements.txt" in (program / "deploy" / "Dockerfile").read_text()


def test_a_virtual_environment_of_any_name_stays_out_of_the_image(program, capsys):
    for name in ("env13", "tools/venv", ".venv"):
        (program / name).mkdir(parents=True)
        (program / name / "pyvenv.cfg").touch()
    assert main(["deploy", "My_Train.py", "--target", "docker"]) == 0
    ignored = (program / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert {"env13", "tools/venv"} <= set(ignored)
    assert ignored.count(".venv") == 1


@pytest.mark.parametrize("app", ["app.yaml", "pages.main:app"])
def test_an_application_listens_for_others_in_a_container_and_for_this_machine_else(
    program, app, capsys
):
    assert said(capsys, app, "--target", "compose", "-o", "there")[0] == 0
    assert '"--http-host", "0.0.0.0"' in (program / "there" / "Dockerfile").read_text()
    assert said(capsys, app, "--target", "systemd", "-o", "there")[0] == 0
    unit = (program / "there" / f"{'app' if app == 'app.yaml' else 'main'}.service").read_text()
    assert f"serve run {app} --http-port 8000" in unit
    assert f"WorkingDirectory={program}" in unit


@pytest.mark.parametrize("app", ["main:app", "pages.main:app", "heliostat.serve:app"])
def test_the_module_of_an_application_is_here_or_installed(program, app, capsys):
    assert said(capsys, app, "--target", "docker")[0] == 0


def test_files_that_are_there_are_kept_unless_forced(program, capsys):
    assert said(capsys, "My_Train.py", "--target", "docker")[0] == 0
    (program / "deploy" / "Dockerfile").write_text("mine")
    code, _, err = said(capsys, "My_Train.py", "--target", "docker")
    assert code == 1
    assert "--force" in err
    assert (program / "deploy" / "Dockerfile").read_text() == "mine"
    assert said(capsys, "My_Train.py", "--target", "docker", "--force")[0] == 0
    assert (program / "deploy" / "Dockerfile").read_text() != "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["nothing.py", "--target", "docker"], "there is no file 'nothing.py'"),
        (["../My_Train.py", "--target", "docker"], "there is no file|outside of this folder"),
        (["what is this", "--target", "docker"], "neither a script"),
        (["My_Train.py", "--target", "heroku"], "invalid choice"),
        (["My_Train.py", "--target", "docker", "--name", "-x-"], "--name|expected one"),
        (["My_Train.py", "--target", "docker", "--name", "X"], "lower-case"),
        (["My_Train.py", "--target", "docker", "--memory", "4GB"], "such as 4Gi"),
        (["My_Train.py", "--target", "docker", "--cpus", "0"], "more than 0"),
        (
            ["My_Train.py", "--target", "docker", "--cpus", "abc"],
            "more than 0 is needed, got 'abc'",
        ),
        (["My_Train.py", "--target", "docker", "--gpus", "-1"], "0 or more"),
        (["My_Train.py", "--target", "docker", "--gpus", "one"], "0 or more is needed, got 'one'"),
        (["a; ls.py", "--target", "docker"], "rename it"),
        (["My_Train.py", "--target", "docker", "--image", "a b"], "--image 'a b'"),
        (["My_Train.py", "--target", "kuberay", "--secret", "My Key"], "--secret 'My Key'"),
        (["My_Train.py", "--target", "docker", "--storage", "s3://b/$HOME"], "no spaces, quotes"),
        (["My_Train.py", "--target", "docker", "--storage", "s3://b/a b"], "no spaces, quotes"),
        (["My_Train.py", "--target", "docker", "--storage", "/mnt/a:b"], "':'"),
        (["My_Train.py", "--target", "compose", "--storage", "/mnt/$a"], "'$'"),
        (["My_Train.py", "--target", "systemd", "--storage", "/mnt/a\nb"], "no control characters"),
        (["My_Train.py", "--target", "kuberay", "--nodes", "3", "--max-nodes", "2"], "less than"),
        (["My_Train.py", "--target", "kuberay", "--storage", "/mnt"], "PersistentVolumeClaim"),
        (["My_Train.py", "--target", "kuberay", "--nodes", "0"], "at least 1"),
        (["My_Train.py", "--target", "docker", "--nodes", "3"], "--nodes has no meaning"),
        (["My_Train.py", "--target", "compose", "--secret", "keys"], "--secret has no meaning"),
        (["My_Train.py", "--target", "systemd", "--image", "me/it"], "--image has no meaning"),
        (["nowhere:app", "--target", "kuberay"], "there is no module 'nowhere'"),
        (["My_Train.py", "--target", "compose", "--storage", "runs"], "absolute path"),
        (["My_Train.py", "--target", "docker", "--kind", "RayJob"], "--kind has no meaning"),
        (["main:app", "--target", "kuberay", "--kind", "RayJob"], "RayService or a RayCluster"),
        (["My_Train.py", "--target", "kuberay", "--kind", "RayService"], "which is a RayJob"),
    ],
)
def test_what_makes_no_sense_is_told_and_nothing_is_written(program, words, told, capsys):
    code, _, err = said(capsys, *words)
    assert code == 2
    assert any(part in err.replace("\n", " ") for part in told.split("|"))
    assert not (program / "deploy").exists()


def test_a_folder_that_no_file_can_name_is_refused(program, capsys, monkeypatch):
    (program / "a\nUser=root").mkdir()
    monkeypatch.chdir(program / "a\nUser=root")
    (program / "a\nUser=root" / "train.py").write_text("")
    code, _, err = said(capsys, "train.py", "--target", "systemd")
    assert (code, "rename it" in err) == (2, True)


def test_where_nothing_can_be_written_is_named(program, capsys):
    for place in ("app.yaml", "app.yaml/there", "/proc/nowhere"):
        code, _, err = said(capsys, "My_Train.py", "--target", "docker", "-o", place)
        assert code == 1
        assert place in err
        assert "Traceback" not in err


@pytest.mark.skipif(os.geteuid() != 0, reason="to be somebody else takes root")
@pytest.mark.parametrize("target", ["docker", "systemd"])
def test_a_user_without_a_name_runs_containers_and_is_a_number_for_systemd(program, target):
    code = (
        "import os, sys; from heliostat.cli import main; os.setreuid(54321, 0)\n"
        f"sys.exit(main(['deploy', 'My_Train.py', '--target', {target!r}]))"
    )
    named = {"LOGNAME", "USER", "LNAME", "USERNAME"}
    environment = {name: value for name, value in os.environ.items() if name not in named}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    if target == "systemd":
        assert "User=54321\n" in (program / "deploy" / "my-train.service").read_text()
