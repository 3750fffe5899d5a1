"""Plots: what is in them, for values of every kind; ResultGrid writes them as files."""

import xml.etree.ElementTree as xml
from pathlib import Path

import pytest

from heliostat import tune
from heliostat.tune import _plot
from heliostat.tune._plot import Run, Scale

RUNS = [
    Run({"lr": 10.0**-n, "kind": "a" if n % 2 else "<b>", "fixed": 1}, float(n % 4))
    for n in range(1, 9)
]


def elements(text, kind):
    return xml.fromstring(text).findall(f"{{http://www.w3.org/2000/svg}}{kind}")


def test_progress_has_a_point_for_each_trial_and_a_line_that_never_gets_worse():
    for mode, falls in (("min", 1), ("max", -1)):
        drawn = _plot.progress(RUNS, "loss", mode)
        assert len(elements(drawn, "circle")) == len(RUNS)
        [line] = elements(drawn, "polyline")
        heights = [falls * float(point.split(",")[1]) for point in line.get("points").split()]
        assert heights == sorted(heights)


def test_parallel_coordinates_have_a_line_for_each_trial_and_an_axis_for_what_varies():
    drawn = _plot.parallel_coordinates(RUNS, "loss", "min")
    lines = elements(drawn, "polyline")
    assert len(lines) == len(RUNS)
    assert all(len(line.get("points").split()) == 3 for line in lines)
    texts = {text.text for text in elements(drawn, "text")}
    assert {"lr", "kind", "loss", "a", "<b>", "0.1", "1e-08"} <= texts
    assert "fixed" not in texts


def test_what_decides_the_value_is_the_most_important():
    runs = [Run({"lr": n / 40, "seed": n * 7 % 40}, (n / 40) ** 2) for n in range(40)]
    shares = _plot.importances(runs)
    assert list(shares) == ["lr", "seed"]
    assert shares["lr"] > 0.9 > 3 * shares["seed"]
    assert len(elements(_plot.importance(runs, "loss"), "rect")) == 3
    assert _plot.importances([Run({"x": n}, 1.0) for n in range(3)]) == {"x": 0.0}


def test_scales_are_logarithmic_over_orders_of_magnitude_and_in_order_for_words():
    assert Scale([1e-4, 1e-2, 1.0]).place(1e-2) == pytest.approx(0.5)
    assert Scale([0, 5, 10]).place(5) == 0.5
    assert Scale(["small", "large"]).place("large") == 1.0
    assert Scale([True, 3]).ticks() == [(0.0, "True"), (1.0, "3")]
    assert Scale([2]).ticks() == [(0.5, "2")]


def test_a_grid_writes_its_plots_beside_the_study_or_where_it_is_told(run_study, tmp_path):
    def trial(config):
        return {"loss": config["x"] if config["x"] != 2 else float("nan")}

    grid = run_study(trial, {"x": tune.grid_search([1, 2, 3])}, metric="loss", mode="min")
    assert grid.plot_progress() == f"{grid.experiment_path}/progress.svg"
    for plot in (grid.plot_parallel_coordinates, grid.plot_importance):
        path = plot(tmp_path / "plot.svg")
        assert elements(Path(path).read_text(), "text")
    with pytest.raises(ValueError, match=r"ends in \.svg, not 'x\.png'"):
        grid.plot_progress("x.png")
    with pytest.raises(RuntimeError, match="no trial has a number for the metric 'acc'"):
        grid.plot_importance(metric="acc")
