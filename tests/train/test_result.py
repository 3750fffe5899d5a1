"""What comes out, and what can be read back."""

from pathlib import Path

import pytest

from heliostat.train import (
    CheckpointConfig,
    Result,
)

pytestmark = pytest.mark.usefixtures("inline")

# One rank in the caller's process; one and two ranks as actors.
SIZES = [0, 1, 2]


@pytest.mark.parametrize("size", SIZES)
def test_a_result_holds_metrics_checkpoint_and_history(trainer, size):
    result = trainer(size).fit()
    assert result.metrics == {"step": 2, "loss": 1 / 3}
    assert Path(result.checkpoint.path, "step").read_text() == "2"
    assert list(result.metrics_dataframe["step"]) == [0, 1, 2]
    assert [m["step"] for _, m in result.best_checkpoints] == [0, 1, 2]
    assert result.get_best_checkpoint("loss", "max") == result.best_checkpoints[0][0]
    assert result.error is None
    assert result.return_value == 0
    assert result.config == {"n": 3}
    assert Path(result.path).parent.name in result.path


def test_a_metric_that_no_checkpoint_has_is_told(trainer):
    with pytest.raises(RuntimeError, match="no kept checkpoint has a number for the metric 'nil'"):
        trainer(0).fit().get_best_checkpoint("nil", "max")


@pytest.mark.parametrize("size", SIZES)
def test_a_result_read_from_its_path_is_the_same(trainer, size):
    result = trainer(size, checkpoint_config=CheckpointConfig(num_to_keep=1)).fit()
    read = Result.from_path(result.path)
    assert read.metrics == result.metrics
    assert read.checkpoint == result.checkpoint
    assert read.best_checkpoints == result.best_checkpoints
    assert read.config == result.config
    assert read.metrics_dataframe.equals(result.metrics_dataframe)


def test_a_notebook_shows_a_result_as_a_table():
    page = Result({"loss": 1}, None, ValueError("<no>"), "/tmp/run", config={"n": 3})._repr_html_()
    for row in (("loss", 1), ("config/n", 3), ("path", "/tmp/run")):
        assert f"<td>{row[0]}</td><td>{row[1]}</td>" in page
    assert "&lt;no&gt;" in page


def test_a_frame_of_reports_has_a_column_for_each_value_of_a_dict_in_them():
    result = Result(
        None, None, None, "/tmp/run", history=[{"a": 1, "n": {"b": 2, "c": [3]}}, {"a": 4}]
    )
    assert list(result.metrics_dataframe) == ["a", "n/b", "n/c"]
    assert list(result.metrics_dataframe["a"]) == [1, 4]
    assert list(Result(None, None, None, "/tmp/run").metrics_dataframe) == []
