"""A real browser opens /docs of the FastAPI lesson, offline, and gets a prediction from the page."""

from __future__ import annotations

import json

import pytest

from tests.browser import page, program

FILL = """
(() => {
  const area = document.querySelector("textarea.body-param__text");
  const set = Object.getOwnPropertyDescriptor(HTMLTextAreaElement.prototype, "value").set;
  set.call(area, %s);
  area.dispatchEvent(new Event("input", {bubbles: true}));
  area.dispatchEvent(new Event("change", {bubbles: true}));
})()
"""
ANSWER = """
[...document.querySelectorAll(".live-responses-table .response-col_description")]
  .map((cell) => cell.innerText).find((text) => text.includes("predicted_label"))
"""


@pytest.mark.soak
@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.skipif(program() is None, reason="needs Chromium")
def test_a_prediction_from_the_page_at_docs(lesson_url, tmp_path):
    pytest.importorskip("fastapi_offline")
    datasets = pytest.importorskip("sklearn.datasets")
    images = datasets.load_digits().images[:3].reshape(3, 1, 8, 8).tolist()
    with page(f"{lesson_url}/docs", tmp_path / "chromium") as shown:
        shown.click(".opblock-post .opblock-summary-control")
        shown.click(".try-out__btn")
        shown.until('!!document.querySelector("textarea.body-param__text")')
        shown.run(FILL % json.dumps(json.dumps(images)))
        shown.click("button.execute")
        text = shown.until(ANSWER)
    assert "predicted_label" in text, text
    assert [int(word) for word in text.split("[")[1].split("]")[0].split(",")] == [0, 1, 2]
