"""The suite's tests of sessions: how they begin, what they are told, how they end."""

# These tests misuse the API on purpose, and mypy does not see what a class decorator returns.
# mypy: disable-error-code="attr-defined, arg-type, call-overload, call-arg"

from __future__ import annotations

import os
import pickle

import pytest

import heliostat as ray
from heliostat._core import session
from heliostat.testing._session import SharedSession, with_session, without_session


class LifecycleTests(SharedSession):
    """init, shutdown, is_initialized, and the facts of a session."""

    @without_session
    def test_a_session_lives_from_init_to_shutdown(self) -> None:
        assert not ray.is_initialized()
        ray.init(engine=self.engine, num_cpus=1)
        assert ray.is_initialized()
        ray.shutdown()
        assert not ray.is_initialized()

    @without_session
    def test_shutdown_without_a_session_does_nothing(self) -> None:
        ray.shutdown()
        ray.shutdown()

    @without_session
    def test_sessions_can_follow_each_other(self) -> None:
        @ray.remote
        def double(x: int) -> int:
            return 2 * x

        for number in range(3):
            ray.init(engine=self.engine, num_cpus=1)
            assert ray.get(double.remote(number)) == 2 * number
            ray.shutdown()

    @without_session
    def test_init_is_a_context_manager(self) -> None:
        with ray.init(engine=self.engine, num_cpus=1) as context:
            assert ray.is_initialized()
            assert context.address_info["node_id"]
        assert not ray.is_initialized()

    @without_session
    def test_a_second_init_is_an_error_that_says_how_to_go_on(self) -> None:
        ray.init(engine=self.engine, num_cpus=1)
        with pytest.raises(RuntimeError, match="ignore_reinit_error"):
            ray.init(engine=self.engine)
        assert ray.is_initialized()

    @without_session
    def test_ignore_reinit_error_keeps_the_running_session(self) -> None:
        ray.init(engine=self.engine, num_cpus=3)
        ref = ray.put("kept")
        ray.init(engine=self.engine, num_cpus=1, ignore_reinit_error=True)
        assert ray.cluster_resources()["CPU"] == 3
        assert ray.get(ref) == "kept"

    @without_session
    @pytest.mark.parametrize("first_use", ["remote", "actor", "put", "get_actor", "wait"])
    def test_first_use_starts_a_session(self, first_use: str) -> None:
        @ray.remote
        def one() -> int:
            return 1

        @ray.remote
        class One:
            def one(self) -> int:
                return 1

        if first_use == "remote":
            assert ray.get(one.remote()) == 1
        elif first_use == "actor":
            assert ray.get(One.remote().one.remote()) == 1
        elif first_use == "put":
            assert ray.get(ray.put(1)) == 1
        elif first_use == "wait":
            assert ray.wait([]) == ([], [])
        else:
            with pytest.raises(ValueError, match="nobody"):
                ray.get_actor("nobody")
        assert ray.is_initialized()

    @without_session
    def test_asking_and_ending_start_no_session(self) -> None:
        assert not ray.is_initialized()
        ray.shutdown()
        assert not ray.is_initialized()

    @without_session
    def test_decorating_starts_no_session(self) -> None:
        @ray.remote
        def one() -> int:
            return 1

        @ray.remote(num_cpus=2)
        class One:
            pass

        one.options(num_cpus=2)
        One.options(name="x")
        assert not ray.is_initialized()

    @without_session
    def test_a_reference_of_an_ended_session_is_an_error_and_no_wait(self) -> None:
        ray.init(engine=self.engine, num_cpus=1)
        ref = ray.put(1)
        ray.shutdown()
        ray.init(engine=self.engine, num_cpus=1)
        with pytest.raises(ray.exceptions.RayError):
            ray.get(ref, timeout=5)

    @without_session
    def test_a_pickled_reference_of_an_ended_session_is_an_error_and_no_wait(self) -> None:
        @ray.remote
        def load_and_get(pickled: bytes) -> object:
            return ray.get(pickle.loads(pickled), timeout=5)

        ray.init(engine=self.engine, num_cpus=1)
        pickled = pickle.dumps(ray.put(1))
        ray.shutdown()
        ray.init(engine=self.engine, num_cpus=1)
        for _ in range(2):
            with pytest.raises(ray.exceptions.ObjectLostError):
                ray.get(pickle.loads(pickled), timeout=5)
            with pytest.raises(ray.exceptions.ObjectLostError):
                ray.get(load_and_get.remote(pickled), timeout=20)

    @with_session(num_cpus=2)
    def test_a_session_that_was_reset_is_as_good_as_new(self) -> None:
        @ray.remote(num_cpus=1)
        class One:
            def one(self) -> int:
                return 1

        one, kept = One.options(name="one").remote(), ray.put(bytes(1_000_000))
        assert ray.get(one.one.remote()) == 1
        session.current_engine().reset()
        assert ray.available_resources()["CPU"] == 2
        with pytest.raises(ValueError, match="one"):
            ray.get_actor("one")
        with pytest.raises(ray.exceptions.ActorDiedError):
            ray.get(one.one.remote(), timeout=20)
        with pytest.raises(ray.exceptions.ObjectLostError):
            ray.get(kept, timeout=20)
        assert ray.get(One.options(name="one").remote().one.remote(), timeout=20) == 1

    @without_session
    def test_a_handle_of_an_ended_session_is_an_error_and_no_wait(self) -> None:
        @ray.remote
        class One:
            def one(self) -> int:
                return 1

        ray.init(engine=self.engine, num_cpus=1)
        actor = One.remote()
        assert ray.get(actor.one.remote()) == 1
        ray.shutdown()
        ray.init(engine=self.engine, num_cpus=1)
        with pytest.raises(ray.exceptions.RayError):
            ray.get(actor.one.remote(), timeout=5)

    @without_session
    @pytest.mark.parametrize(
        ("options", "error", "named"),
        [
            ({"num_cpus": -1}, ValueError, "num_cpus"),
            ({"num_gpus": -1}, ValueError, "num_gpus"),
            ({"num_cpus": "two"}, TypeError, "num_cpus"),
            ({"resources": {"spoon": -1}}, ValueError, "spoon"),
            ({"resources": {"CPU": 1}}, ValueError, "num_cpus"),
            ({"resources": {"GPU": 1}}, ValueError, "num_gpus"),
            ({"object_store_memory": 10}, ValueError, "object_store_memory"),
        ],
    )
    def test_a_bad_option_of_init_is_named_and_starts_nothing(
        self, options: dict[str, object], error: type[Exception], named: str
    ) -> None:
        with pytest.raises(error, match=named):
            ray.init(engine=self.engine, **options)
        assert not ray.is_initialized()

    @without_session
    def test_an_unknown_option_of_init_is_named(self) -> None:
        with pytest.raises((TypeError, RuntimeError), match="number_of_cpus"):
            ray.init(engine=self.engine, number_of_cpus=2)
        assert not ray.is_initialized()

    @without_session
    def test_an_unknown_engine_is_named_with_the_known_ones(self) -> None:
        with pytest.raises(ValueError, match=r"steam.*inline"):
            ray.init(engine="steam")
        assert not ray.is_initialized()

    @with_session(num_cpus=3, num_gpus=1, resources={"spoon": 2.5}, namespace="kitchen")
    def test_what_init_was_told_is_what_there_is(self) -> None:
        total = ray.cluster_resources()
        assert {name: total[name] for name in ("CPU", "GPU", "spoon")} == {
            "CPU": 3.0,
            "GPU": 1.0,
            "spoon": 2.5,
        }
        assert ray.get_runtime_context().namespace == "kitchen"
        (node,) = ray.nodes()
        assert node["Alive"]
        assert node["Resources"]["spoon"] == 2.5
        assert node["NodeID"] == ray.get_runtime_context().get_node_id()

    @without_session
    def test_the_environment_gives_cpus_and_gpus_when_init_does_not(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HELIOSTAT_NUM_CPUS", "7")
        monkeypatch.setenv("HELIOSTAT_NUM_GPUS", "3")
        ray.init(engine=self.engine)
        assert (ray.cluster_resources()["CPU"], ray.cluster_resources()["GPU"]) == (7.0, 3.0)
        ray.shutdown()
        ray.init(engine=self.engine, num_cpus=2, num_gpus=0)
        assert ray.cluster_resources()["CPU"] == 2.0
        assert ray.cluster_resources().get("GPU", 0.0) == 0.0

    @without_session
    def test_without_options_there_are_as_many_cpus_as_this_process_may_use(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("HELIOSTAT_NUM_CPUS", raising=False)
        ray.init(engine=self.engine)
        assert 1 <= ray.cluster_resources()["CPU"] <= len(os.sched_getaffinity(0))
