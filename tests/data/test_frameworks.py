"""Batches for JAX and TensorFlow, and datasets of torch's and TensorFlow's kind."""

import subprocess
import sys
import types

import numpy as np
import pyarrow as pa
import pytest

import heliostat as ray
from heliostat.data._tensorflow import tf_columns

pytestmark = pytest.mark.usefixtures("inline")

ROWS = {"a": np.arange(5), "b": np.arange(5) / 2, "s": list("vwxyz")}


@pytest.fixture
def ds():
    return ray.data.from_arrow(pa.table(ROWS))


# -- torch


def test_one_tensor_of_all_columns_but_the_label(ds):
    torch = pytest.importorskip("torch")
    made = ds.drop_columns(["s"]).to_torch(label_column="b", batch_size=2)
    assert isinstance(made, torch.utils.data.IterableDataset)
    first, label = next(iter(made))
    assert first.tolist() == [[0], [1]]
    assert label.tolist() == [[0.0], [0.5]]
    # Each pass runs the dataset.
    assert len(list(made)) == len(list(made)) == 3


def test_columns_side_by_side_in_lists_or_by_name(ds):
    torch = pytest.importorskip("torch")
    (whole, none), *_ = ds.iterator().to_torch(feature_columns=["a", "b"], batch_size=5)
    assert whole.shape == (5, 2)
    assert none is None
    (parts, _), *_ = ds.to_torch(
        feature_columns=[["a"], ["a", "b"]],
        feature_column_dtypes=[torch.float32, torch.float64],
        batch_size=5,
    )
    assert [(one.shape, one.dtype) for one in parts] == [
        ((5, 1), torch.float32),
        ((5, 2), torch.float64),
    ]
    (named, label), *_ = ds.to_torch(
        label_column="a",
        label_column_dtype=torch.float32,
        unsqueeze_label_tensor=False,
        feature_columns={"x": ["b"]},
        feature_column_dtypes={"x": torch.float16},
        unsqueeze_feature_tensors=False,
        batch_size=5,
    )
    assert (named["x"].shape, named["x"].dtype) == ((5,), torch.float16)
    assert (label.shape, label.dtype) == ((5,), torch.float32)


def test_columns_and_dtypes_of_several_forms_are_refused(ds):
    pytest.importorskip("torch")
    with pytest.raises(TypeError, match="dict of dtypes by the same keys"):
        ds.to_torch(feature_columns={"x": ["a"]}, feature_column_dtypes=[1])
    with pytest.raises(TypeError, match="list of as many dtypes"):
        ds.to_torch(feature_columns=[["a"]], feature_column_dtypes={"x": 1})
    with pytest.raises(ValueError, match=r"has \[0\], but feature_columns \[0, 1\]"):
        ds.to_torch(feature_columns=[["a"], ["b"]], feature_column_dtypes=[1])
    with pytest.raises(ValueError, match="needs a column at least"):
        ds.to_torch(feature_columns=[["a"], []])
    with pytest.raises(KeyError, match="nope"):
        list(ds.to_torch(feature_columns=["nope"]))
    with pytest.raises(TypeError, match="column 's' holds"):
        list(ds.to_torch(feature_columns=["s"]))


# -- JAX, in a process of its own: it keeps threads, and devices are counted once

JAX = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
import jax, numpy as np
import heliostat as ray
from heliostat.data.collate_fn import NumpyBatchCollateFn, PandasBatchCollateFn

ray.init(engine="inline")
ds = ray.data.range(10).map_batches(lambda b: {"id": b["id"], "x": np.ones((len(b["id"]), 3))})
batches = list(ds.iter_jax_batches(batch_size=4, drop_last=True))
print(len(batches), batches[0]["x"].shape, batches[0]["id"].dtype, len(batches[0]["x"].devices()))
print(np.asarray(batches[1]["id"]).tolist())
last = list(ds.iterator().iter_jax_batches(batch_size=4, paddings={"id": -1, "x": 0}))[-1]
print(np.asarray(last["id"]).tolist(), float(last["x"].sum()))
print(next(iter(ds.iter_jax_batches(batch_size=2, dtypes={"id": "float32", "x": "int8"})))["id"].dtype)


class Sum(PandasBatchCollateFn):
    def __call__(self, batch):
        return batch["id"].to_numpy() * 2


print(np.asarray(next(iter(ds.iter_jax_batches(batch_size=2, collate_fn=Sum())))).tolist())


def refused(error, call):
    try:
        list(call())
    except error as told:
        print(type(told).__name__, str(told)[:55])


refused(ValueError, lambda: ds.iter_jax_batches(batch_size=3))
refused(ValueError, lambda: ds.limit(9).iter_jax_batches(batch_size=4))
refused(ValueError, lambda: ds.iter_jax_batches(batch_size=4, dtypes={"id": "int8"}))
refused(TypeError, lambda: ds.iter_jax_batches(batch_size=2, collate_fn=print))
refused(TypeError, lambda: ray.data.from_items(["a", "b"]).iter_jax_batches(batch_size=2))
print(len(list(ds.iter_jax_batches(batch_size=5 * 2, synchronize_batches=True))))
os._exit(0)
"""


def test_jax_gets_its_arrays_shared_out_among_its_devices():
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", JAX],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "2 (4, 3) int32 2",
        "[4, 5, 6, 7]",
        "[8, 9, -1, -1] 6.0",
        "float32",
        "[0, 2]",
        "ValueError batch_size=3 cannot be shared out among 2 devices of JA",
        "ValueError the last batch has 1 rows, which cannot be shared out a",
        "ValueError nothing is said about column 'x', only about ['id']",
        "TypeError collate_fn must be an instance of a subclass of ArrowBa",
        "TypeError column 'item' holds object values, which JAX has no arr",
        "1",
    ]


@pytest.mark.parametrize(
    ("call", "package"),
    [
        (lambda ds: ds.iter_jax_batches(), "jax"),
        (lambda ds: ds.iter_tf_batches(), "tensorflow"),
        (lambda ds: ds.to_tf("a", "b"), "tensorflow"),
        (lambda ds: ds.to_torch(), "torch"),
    ],
)
def test_a_missing_package_is_named_with_what_to_use_instead(ds, call, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=f"pip install {package}"):
        call(ds)


# -- TensorFlow: what we tell it, to a stand-in that checks it as TensorFlow would


class Spec:
    def __init__(self, shape, dtype, name=None):
        self.shape, self.dtype, self.name = shape, dtype, name

    def __eq__(self, other):
        return (self.shape, self.dtype) == (other.shape, other.dtype)

    def accepts(self, array):
        fits = len(self.shape) == array.ndim
        fits = fits and all(a in (None, b) for a, b in zip(self.shape, array.shape, strict=True))
        return fits and (
            array.dtype.kind in "US" if self.dtype is str else array.dtype == self.dtype
        )


@pytest.fixture
def tf(monkeypatch):
    made = types.ModuleType("tensorflow")
    made.string = str
    made.as_dtype = np.dtype
    made.TensorSpec = Spec
    made.convert_to_tensor = np.asarray
    made.cast = lambda array, dtype: array if dtype is str else array.astype(dtype)

    class Dataset:
        def __init__(self, generator, signature):
            self.generator, self.element_spec = generator, signature

        @classmethod
        def from_generator(cls, generator, output_signature):
            return cls(generator, output_signature)

        def with_options(self, options):
            assert options.experimental_distribute.auto_shard_policy == "off"
            return self

        def __iter__(self):
            for element in self.generator():
                for one, spec in zip(element, self.element_spec, strict=True):
                    ones = one if isinstance(one, dict) else {None: one}
                    specs = spec if isinstance(spec, dict) else {None: spec}
                    assert ones.keys() == specs.keys()
                    assert all(specs[name].accepts(ones[name]) for name in ones)
                yield element

    class Options:
        experimental_distribute = types.SimpleNamespace(auto_shard_policy=None)

    policy = types.SimpleNamespace(AutoShardPolicy=types.SimpleNamespace(OFF="off"))
    made.data = types.SimpleNamespace(Dataset=Dataset, Options=Options, experimental=policy)
    monkeypatch.setitem(sys.modules, "tensorflow", made)
    return made


def test_tensorflow_gets_dicts_of_tensors(ds, tf):
    batches = list(ds.iter_tf_batches(batch_size=2, dtypes={"a": np.float32}))
    assert [len(batch["a"]) for batch in batches] == [2, 2, 1]
    assert batches[0]["a"].dtype == np.float32
    assert batches[0]["s"].tolist() == ["v", "w"]


def test_a_dataset_of_tensorflow_is_told_its_types(ds, tf):
    made = ds.to_tf("a", ["b", "s"], additional_columns="b", batch_size=2)
    assert made.element_spec[0] == Spec((None,), np.dtype("int64"))
    assert made.element_spec[1] == {
        "b": Spec((None,), np.dtype("float64")),
        "s": Spec((None,), str),
    }
    assert len(list(made)) == len(list(made)) == 3
    tensors = ray.data.from_numpy(np.zeros((4, 2, 3), np.float32))
    assert tensors.to_tf("data", "data").element_spec[0] == Spec((None, 2, 3), np.dtype("float32"))
    given = ds.to_tf("a", "b", feature_type_spec=Spec((None,), np.dtype("float32")))
    assert next(iter(given))[0].dtype == np.float32


def test_columns_that_tensorflow_cannot_have_are_refused(ds, tf):
    with pytest.raises(KeyError, match="nope"):
        ds.to_tf("nope", "a")
    ragged = ray.data.from_items([{"x": [1]}, {"x": [1, 2]}])
    with pytest.raises(ValueError, match="may differ in shape"):
        ragged.to_tf("x", "x")
    with pytest.raises(
        TypeError, match="column 'x' holds values that TensorFlow has no tensor for"
    ):
        list(ragged.iter_tf_batches())
    with pytest.raises(ValueError, match="no rows"):
        tf_columns(tf, None, [("a", None)])


def test_an_iterator_tells_the_context(ds):
    assert ds.iterator().get_context() is ds.context
