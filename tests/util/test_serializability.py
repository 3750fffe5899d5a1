"""inspect_serializability prints the path to what cannot be pickled."""

import io
import threading

from heliostat.util import inspect_serializability

LOCK = threading.Lock()


def inspect(value, **options):
    out = io.StringIO()
    ok, failures = inspect_serializability(value, print_file=out, **options)
    return ok, failures, out.getvalue()


def test_a_value_that_pickles_is_fine():
    assert inspect({"a": [1, lambda: 2]}) == (True, set(), "")


def test_the_culprit_is_found_in_containers_attributes_and_closures():
    class Model:
        def __init__(self):
            self.layers = [{"lock": LOCK}]

    model = Model()
    ok, failures, text = inspect(model, name="model", depth=5)
    (failure,) = failures
    assert not ok
    assert failure.obj is LOCK
    assert (failure.name, failure.parent) == ("['lock']", {"lock": LOCK})
    assert "model.layers[0]['lock']  <-- the culprit, a lock" in text

    ok, failures, text = inspect(lambda: model, name="f", depth=5)
    assert [failure.obj for failure in failures] == [LOCK]
    assert "f -> model.layers[0]['lock']" in text


def test_depth_bounds_how_far_it_looks():
    _, failures, text = inspect([[[[LOCK]]]], name="x", depth=2)
    assert [failure.path for failure in failures] == [("x", "[0]", "[0]")]
    assert "x[0][0]  <-- the culprit, a list" in text


def test_what_has_no_parts_is_its_own_culprit():
    _, failures, text = inspect(LOCK, name="lock")
    assert [failure.obj for failure in failures] == [LOCK]
    assert text.startswith("lock cannot be pickled: cannot pickle")
