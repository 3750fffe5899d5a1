"""Where chance comes from: numpy's where it is asked for, and no import of it where it is not."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from heliostat import tune
from heliostat.tune.search.randomness import as_rng


def fresh(program: str) -> Any:
    """What a program prints as JSON in a new interpreter."""
    done = subprocess.run([sys.executable, "-c", program], check=True, stdout=-1, timeout=60)
    return json.loads(done.stdout)


def test_a_seed_stands_for_numpys_generator_of_that_seed() -> None:
    ours, theirs = as_rng(5), np.random.default_rng(5)
    for _ in range(5):
        assert ours.uniform(0, 1) == theirs.uniform(0, 1)
        assert ours.integers(0, 9) == theirs.integers(0, 9)
        assert ours.normal(0, 1) == theirs.normal(0, 1)


def test_the_older_generator_draws_what_it_draws_for_others() -> None:
    ours, theirs = as_rng(np.random.RandomState(5)), np.random.RandomState(5)
    assert ours.normal(0, 2) == theirs.normal(0, 2)
    assert ours.integers(0, 9) == theirs.randint(0, 9)


def test_without_a_seed_numpy_is_left_alone_and_no_two_processes_draw_the_same() -> None:
    program = (
        "import sys, json\n"
        "from heliostat import tune\n"
        "from heliostat.tune.search import BasicVariantGenerator\n"
        "space = {'x': tune.uniform(0, 1), 'n': tune.randint(0, 2**40), 'z': tune.randn()}\n"
        "searcher = BasicVariantGenerator()\n"
        "searcher.set_search_properties('loss', 'min', space, num_samples=1)\n"
        "config = searcher.suggest('1')\n"
        "assert 0 <= config['x'] < 1 and tune.randint(0, 3).sample() in (0, 1, 2)\n"
        "print(json.dumps([config, 'numpy' in sys.modules]))\n"
    )
    (first, loaded), (second, _) = fresh(program), fresh(program)
    assert not loaded
    assert all(first[name] != second[name] for name in first)


def test_a_seed_of_numpys_counts_even_when_it_was_loaded_later_than_tune() -> None:
    program = (
        "import json\n"
        "from heliostat import tune\n"
        "import numpy as np\n"
        "np.random.seed(3)\n"
        "print(json.dumps(tune.uniform(0, 1).sample()))\n"
    )
    assert fresh(program) == np.random.RandomState(3).uniform(0, 1)


def test_a_seed_without_numpy_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match="pip install numpy"):
        tune.uniform(0, 1).sample(random_state=1)
