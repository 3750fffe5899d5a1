"""`import ray` finds Heliostat: in fresh interpreters, since the hook is for a whole process."""

import importlib.util
import subprocess
import sys
import textwrap

import pytest

from heliostat._inner_modules import HOMES


def run(program, *, check=True, cwd=None):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=cwd,
        check=False,
    )
    assert not check or done.returncode == 0, done.stderr
    return done


def last_line(program):
    return run(
        "from heliostat import _alias\n_alias.install()\n" + program, check=False
    ).stderr.splitlines()[-1]


def test_ray_and_its_modules_are_heliostat_s_own_objects():
    run("""
        import heliostat.alias
        heliostat.alias.install()
        import ray
        import ray.exceptions
        import ray.util.progress as theirs
        import heliostat.util.progress as ours
        from ray.util import progress
        from ray.exceptions import RayTaskError
        assert ray is heliostat
        assert theirs is ours is progress is ray.util.progress
        assert RayTaskError is heliostat.exceptions.RayTaskError
    """)


def test_modules_keep_their_own_name_and_spec():
    run("""
        from heliostat import _alias
        _alias.install()
        import importlib, sys
        import ray.exceptions
        for name in ("heliostat", "heliostat.exceptions"):
            module = sys.modules[name]
            assert module.__name__ == module.__spec__.name == name
        assert importlib.reload(sys.modules["heliostat.exceptions"]) is ray.exceptions
    """)


def test_installing_twice_installs_once_and_is_passed_on_to_children():
    run("""
        import os, sys
        from heliostat import _alias
        _alias.install()
        finders = list(sys.meta_path)
        _alias.install()
        assert sys.meta_path == finders
        assert os.environ["HELIOSTAT_ALIAS_RAY"] == "1"
    """)


def test_a_real_ray_beside_it_makes_no_difference(tmp_path):
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "__init__.py").write_text("raise SystemExit('the real one')\n")
    (tmp_path / "ray" / "rllib.py").write_text("raise SystemExit('the real one')\n")
    run(
        """
        from heliostat import _alias
        _alias.install()
        import ray
        assert ray.__name__ == "heliostat"
        try:
            import ray.rllib
        except ImportError as error:
            assert "Heliostat has no ray.rllib" in str(error)
        else:
            raise AssertionError("found the other one")
        """,
        cwd=tmp_path,
    )


def test_a_real_ray_that_is_imported_already_is_an_error(tmp_path):
    (tmp_path / "ray.py").write_text("")
    done = run(
        "import ray\nimport heliostat.alias\nheliostat.alias.install()\n",
        check=False,
        cwd=tmp_path,
    )
    assert "RuntimeError: ray is imported already, from " in done.stderr
    assert "ray.py" in done.stderr


def test_installing_after_the_workers_have_started_is_an_error():
    done = run(
        """
        import heliostat.alias
        heliostat.init(engine="inline")
        heliostat.alias.install()
        """,
        check=False,
    )
    assert "call heliostat.alias.install() before heliostat.init()" in done.stderr


@pytest.mark.parametrize(
    ("statement", "error", "words"),
    [
        ("import ray.rllib", "ModuleNotFoundError", "no ray.rllib: there is no reinforcement"),
        ("from ray import rllib", "ImportError", "no ray.rllib: there is no reinforcement"),
        ("from ray.air import session", "ImportError", "no ray.air.session: use `ray.train`"),
        ("from ray.air.config import RunConf", "ImportError", "no ray.air.config.RunConf: did you"),
        ("import ray.air.config as c; c.RunConf", "AttributeError", "ray.air.config.RunConf: did"),
        ("from ray import Remote", "ImportError", "no ray.Remote: did you mean remote?"),
        ("import ray; ray.remot", "AttributeError", "no ray.remot: did you mean remote?"),
        ("import ray; ray.util.zip", "AttributeError", "no ray.util.zip: `dir(heliostat.util)`"),
        ("from ray.util import zip", "ImportError", "no ray.util.zip: `dir(heliostat.util)`"),
        ("import ray._private.worker", "ModuleNotFoundError", "no ray._private: it is private"),
        (
            "from ray.exceptions import GetTimeout",
            "ImportError",
            "no ray.exceptions.GetTimeout: did you mean GetTimeoutError",
        ),
    ],
)
def test_what_heliostat_lacks_is_said_with_what_to_do(statement, error, words):
    line = last_line(statement)
    assert line.startswith(f"{error}: Heliostat has ")
    assert words in line


def test_modules_inside_ray_s_packages_have_the_names_of_the_packages():
    run("""
        from heliostat import _alias
        _alias.install()
        import pickle, sys
        from ray.air.config import RunConfig, ScalingConfig
        from ray.tune.stopper.maximum_iteration import MaximumIterationStopper
        from ray.tune.trainable.trainable import Trainable
        from ray.tune.experiment.experiment import Experiment
        import ray.util.state.api
        import ray.cloudpickle as pickles
        import heliostat.tune, heliostat.train, heliostat.util.state
        assert RunConfig is heliostat.train.RunConfig
        assert MaximumIterationStopper is heliostat.tune.stopper.MaximumIterationStopper
        assert Trainable is heliostat.tune.Trainable
        assert Experiment is heliostat.tune.Experiment
        assert ray.util.state.api.list_actors is heliostat.util.state.list_actors
        assert pickles.loads(pickles.dumps(lambda: 5))() == 5
        # As Ray writes it into a pickle.
        assert pickle.loads(b"cray.air.config\\nRunConfig\\n.") is RunConfig
        names = {}
        exec("from ray.air.config import *", names)
        assert names["RunConfig"] is RunConfig
    """)


def is_there(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # within a module that is no package
        return False


def test_inner_modules_are_those_that_are_not_there_and_their_homes_are():
    assert [home for home in set(HOMES.values()) if not is_there(home)] == []
    ours = [f"heliostat{module.removeprefix('ray')}" for module in HOMES]
    assert [module for module in ours if is_there(module)] == []


def test_probing_for_a_name_is_still_possible():
    run("""
        from heliostat import _alias
        _alias.install()
        import ray
        assert getattr(ray, "nothing", 3) == 3
        assert not hasattr(ray.util, "__wrapped__")
        try:
            from ray import nothing
        except ImportError:
            pass
    """)


def test_a_missing_dependency_is_not_reported_as_a_missing_part(tmp_path):
    run("""
        from heliostat import _alias
        _alias.install()
        import sys
        sys.modules["unicodedata"] = None
        try:
            import ray.util.progress
        except ImportError as error:
            assert "unicodedata" in str(error), error
            assert "Heliostat has no" not in str(error), error
        else:
            raise AssertionError("imported without unicodedata")
    """)


def test_functions_that_say_import_ray_work_in_workers(tmp_path):
    (tmp_path / "theirs.py").write_text("import ray\ndef where(): return ray.__name__\n")
    run(
        """
        from heliostat import _alias
        _alias.install()
        import ray, theirs
        ray.init(num_cpus=1)

        @ray.remote
        def task():
            import ray.exceptions
            return ray.__name__, theirs.where(), ray.exceptions.__name__

        assert ray.get(task.remote()) == ("heliostat", "heliostat", "heliostat.exceptions")
        ray.shutdown()
        """,
        cwd=tmp_path,
    )


def test_the_real_ray_and_programs_that_say_ray_share_a_process(tmp_path):
    real = tmp_path / "ray"
    (real / "inner").mkdir(parents=True)
    (real / "__init__.py").write_text("import ray.inner as first\nNAME = 'the real one'\n")
    (real / "inner" / "__init__.py").write_text(
        "import ray, ray.cloudpickle\ndef name():\n    import ray.late\n    from ray import late\n"
        "    return ray.NAME, late.WORD, ray.cloudpickle.KIND\n"
    )
    (real / "cloudpickle.py").write_text("KIND = 'theirs'\n")
    (real / "late.py").write_text("WORD = 'late'\n")
    run(
        """
        import importlib
        from heliostat import _alias
        _alias.install()
        import ray
        assert ray.__name__ == "heliostat"
        _alias.share()
        real = importlib.import_module("ray")
        assert real.NAME == "the real one"
        assert real.first.name() == ("the real one", "late", "theirs")
        import ray, ray.exceptions
        from ray.util import state
        assert ray.__name__ == "heliostat" and state.__name__ == "heliostat.util.state"
        _alias.install()
        _alias.share()
        assert importlib.import_module("ray") is real
        for missing in ("import ray.rllib", "from ray import rllib", "import ray._private"):
            try:
                exec(missing)
            except ImportError as error:
                assert "Heliostat has no" in str(error), error
            else:
                raise AssertionError(missing)
        """,
        cwd=tmp_path,
    )
