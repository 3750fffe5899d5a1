"""A function of the config as a Trainable class. A study runs the function itself; by hand a step
goes from one of its reports to the next."""

import shutil
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heliostat.tune._messages import Order
from heliostat.tune._runnable import FunctionRunnable
from heliostat.tune.session import Session
from heliostat.tune.trainable import Trainable


class FunctionTrainable(Trainable):
    """A Trainable that runs a function; `wrap_function` makes its classes.

    Raises:
        TypeError: It is made itself, so that it has no function.
    """

    _function: Callable[..., Any] | None = None

    def setup(self, config: dict[str, Any]) -> None:
        """Get ready; the function begins with the first step."""
        if type(self)._function is None:
            raise TypeError(
                "FunctionTrainable has no function: wrap_function(f) makes a class of f"
            )
        self._folder = Path(tempfile.mkdtemp(prefix="heliostat-function-"))
        self._begun: Session | None = None
        self._attempts = 0
        self._result: dict[str, Any] = {}
        self._saved: str | None = None

    def step(self) -> dict[str, Any]:
        """Run the function up to its next report, or its end.

        Returns:
            What it reported; at its end its last report once more, with `done=True`.
        """
        if self._begun is None:
            self._begun = self._start()
        else:
            self._begun.go_on(hold_at=1)
        update = self._begun.wait()
        for report in update.reports:
            self._result = report.metrics
            self._saved = report.checkpoint or self._saved
        return {**self._result, "done": True} if update.done else self._result

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Copy what the function has saved last.

        Args:
            checkpoint_dir: Where to.

        Raises:
            ValueError: It has saved nothing.
        """
        if self._saved is None:
            raise ValueError(
                f"{type(self).__name__} has saved nothing yet: it does so by "
                "tune.report(metrics, checkpoint=...)"
            )
        shutil.copytree(self._saved, checkpoint_dir, dirs_exist_ok=True)

    def load_checkpoint(self, checkpoint: str) -> None:
        """Let the function begin anew, with this as its `tune.get_checkpoint()`.

        Args:
            checkpoint: A directory; it is copied.
        """
        self._end()
        self._saved = str(self._folder / f"restored-{self._attempts}")
        shutil.copytree(checkpoint, self._saved)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin anew with another configuration."""
        self._end()
        self._saved, self.config = None, new_config
        return True

    def cleanup(self) -> None:
        """End the function."""
        self._end()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _start(self) -> Session:
        self._attempts += 1
        name, last = self.trial_name, {"training_iteration": self.iteration}
        here = str(self._folder / f"attempt-{self._attempts}")
        order = Order(
            self.trial_id, self._attempts, name, "default", "", self.config, here, {},
            self._saved, 0, last, hold_at=1,
        )  # fmt: skip
        begun = Session(order)
        run = FunctionRunnable(_function_of(type(self))).run
        threading.Thread(target=begun.run, args=(run,), daemon=True).start()
        return begun

    def _end(self) -> None:
        if self._begun is not None:
            self._begun.stop(save=False)
            self._begun = None


def _function_of(cls: type[FunctionTrainable]) -> Callable[..., Any]:
    assert cls._function is not None
    return cls._function


def wrap_function(train_func: Callable[[Any], Any], name: str | None = None) -> type[Trainable]:
    """A function of the config as a Trainable class.

    Args:
        train_func: What `Tuner` takes: it reports by `tune.report`, or returns or yields metrics.
        name: The name of the class; the function's if None.

    Returns:
        A class. A study that is given it runs the function.

    Raises:
        TypeError: It is no function.

    Example:
        >>> from heliostat import tune
        >>> def two(config):
        ...     for step in range(2):
        ...         tune.report({"loss": config["x"] - step})
        >>> trial = wrap_function(two)({"x": 3})
        >>> [trial.train()["loss"] for _ in range(2)]
        [3, 2]
        >>> trial.train()["done"]
        True
        >>> trial.stop()
    """
    if not callable(train_func) or isinstance(train_func, type):
        raise TypeError(f"wrap_function() takes a function of the config, got {train_func!r}")
    called = name or FunctionRunnable(train_func).name
    return type(called, (FunctionTrainable,), {"_function": staticmethod(train_func)})
