"""joblib on actors: `register_ray()`, then `joblib.parallel_config(backend="ray")`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import joblib  # type: ignore[import-untyped]  # ships no types; this file is about it
from joblib.parallel import (  # type: ignore[import-untyped]
    AutoBatchingMixin,
    ParallelBackendBase,
    register_parallel_backend,
)

import heliostat as ray
from heliostat.util.multiprocessing import Pool

__all__ = ["register_ray"]


def register_ray() -> None:
    """Make the backends "ray" and "heliostat" known to joblib, and so to scikit-learn.

    Options of the actors are given as `joblib.parallel_config(backend="ray",
    ray_remote_args={"num_cpus": 1})`.

    Example:
        >>> import joblib
        >>> from heliostat.util.joblib import register_ray
        >>> register_ray()
        >>> with joblib.parallel_config(backend="ray", n_jobs=2):
        ...     joblib.Parallel()(joblib.delayed(abs)(n) for n in [-1, -2])
        [1, 2]
    """
    for name in ("ray", "heliostat"):
        register_parallel_backend(name, _Backend)


class _Backend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # no types
    """What joblib asks of a backend."""

    supports_retrieve_callback = True
    supports_return_generator = True
    default_n_jobs = -1

    def __init__(
        self, *args: Any, ray_remote_args: dict[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._options = ray_remote_args
        self._pool: Pool | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many actors `n_jobs` means: negative ones count back from the CPUs there are."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        cpus = max(1, int(ray.cluster_resources().get("CPU", 1)))
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, cpus + 1 + n_jobs)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **kwargs: Any) -> int:
        """Start the actors; how many there are."""
        count = self.effective_n_jobs(n_jobs)
        self.parallel = parallel
        self._pool = Pool(count, ray_remote_args=self._options)
        return count

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], object]) -> Any:
        """Run a batch; the callback gets its outcome."""
        assert self._pool is not None
        return self._pool.apply_async(_Batch(func), callback=callback, error_callback=callback)

    def retrieve_result_callback(self, out: Any) -> Any:
        """The result of a batch; raises what it raised."""
        if isinstance(out, BaseException):
            raise out
        return out

    def terminate(self) -> None:
        """End the actors."""
        if self._pool is not None:
            self._pool.terminate()
            self._pool = None

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """End at once; with fresh actors if more is to come."""
        self.terminate()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)


class _Batch:
    """joblib's batch, which runs serially inside the actor."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function

    def __call__(self) -> Any:
        with joblib.parallel_config(backend="sequential"):
            return self._function()
