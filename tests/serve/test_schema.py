"""Names of Ray's `serve.schema`."""

from __future__ import annotations

import pytest

from heliostat.serve import schema, task_processor


def test_what_few_need_is_there_too_and_loads_with_the_first_touch():
    assert schema.TaskProcessorConfig is task_processor.TaskProcessorConfig
    assert {"TaskResult", "ServeStatus"} <= set(schema.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = schema.Nothing
