"""Texts become numbers as Ray's do."""

import pandas as pd
import pytest

import heliostat as ray
from heliostat.data.preprocessors import (
    CountVectorizer,
    FeatureHasher,
    HashingVectorizer,
    Tokenizer,
)

pytestmark = pytest.mark.usefixtures("inline")
FRAME = pd.DataFrame(
    {"t": ["hello world", "hello", "a b a", "world a"], "a": [1, 0, 2, 3], "i": [3, 1, 2, 3]}
)


def column(preprocessor, name, frame=FRAME):
    out = preprocessor.fit_transform(ray.data.from_pandas(frame)).to_pandas()[name]
    return [None if value is None else list(value) for value in out]


# All of these are what Ray 2.60 gives.
@pytest.mark.parametrize(
    ("preprocessor", "values"),
    [
        (Tokenizer(["t"]), [["hello", "world"], ["hello"], ["a", "b", "a"], ["world", "a"]]),
        (CountVectorizer(["t"]), [[0, 1, 1, 0], [0, 1, 0, 0], [2, 0, 0, 1], [1, 0, 1, 0]]),
        (CountVectorizer(["t"], max_features=2), [[0, 1], [0, 1], [2, 0], [1, 0]]),
        (
            HashingVectorizer(["t"], num_features=4),
            [[1, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 2], [0, 0, 0, 2]],
        ),
    ],
)
def test_values_are_rays(preprocessor, values):
    assert column(preprocessor, "t") == values


def test_hashed_features_are_rays():
    assert column(FeatureHasher(["a", "i"], 4, "h"), "h") == [
        [0, 0, 0, 4],
        [0, 0, 0, 1],
        [0, 0, 0, 4],
        [0, 0, 0, 6],
    ]
    for make in (lambda: FeatureHasher(["a"], 0, "h"), lambda: HashingVectorizer(["t"], 0)):
        with pytest.raises(ValueError, match="num_features"):
            make()


def test_missing_texts_stay_missing_and_words_can_be_told_otherwise():
    frame = pd.DataFrame({"t": ["a,b", None]})
    assert column(Tokenizer(["t"], lambda text: text.split(",")), "t", frame) == [["a", "b"], None]
    assert column(CountVectorizer(["t"]), "t", frame) == [[1], None]


def test_its_text_names_functions():
    by_letters = Tokenizer(["t"], tokenization_fn=list)
    assert (
        repr(by_letters) == "Tokenizer(columns=['t'], tokenization_fn=list, output_columns=['t'])"
    )
