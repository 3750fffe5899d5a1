"""Models of checkpoints: found by the file they are in, asked for rows, and their columns named.

One class a library, and nothing of a library is imported before there is a model of it. It knows
no requests and no replicas; of the libraries above Serve it knows only what they leave on disk.
"""

from __future__ import annotations

import base64
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

FILES = ("model.ubj", "model.json", "model.txt", "model.pt")
_METADATA = ".metadata.json"


class Model(Protocol):
    """A model that answers for a batch."""

    @property
    def columns(self) -> dict[str, type] | None:
        """What it learnt from, and in which order; None if unknown."""

    def predict(self, batch: Any) -> Any:
        """The array of answers for a DataFrame, or an array if that is what it learnt from."""


def model_file(directory: Path) -> Path:
    """The file that holds the model.

    Raises:
        FileNotFoundError: When there is none; says what is there.
    """
    for name in FILES:
        if (directory / name).is_file():
            return directory / name
    there = sorted(file.name for file in directory.iterdir()) if directory.is_dir() else "nothing"
    raise FileNotFoundError(
        f"{directory} holds none of {', '.join(FILES)}, where XGBoost, LightGBM and PyTorch keep "
        f"their models; it holds {there}"
    )


def metadata_of(directory: Path) -> dict[str, Any]:
    """What was noted beside the files of a checkpoint."""
    try:
        found: dict[str, Any] = json.loads((directory / _METADATA).read_text("utf-8"))
    except FileNotFoundError:
        return {}
    return found


def preprocessor_of(directory: Path) -> Any:
    """The preprocessor that was kept beside the model, or None; it is code, as the model may be."""
    text = metadata_of(directory).get("preprocessor")
    return None if text is None else pickle.loads(base64.b64decode(text))


def load(directory: Path, module: Callable[[], Any] | None) -> Model:
    """The model of a checkpoint.

    Args:
        directory: The checkpoint's.
        module: Makes a `torch.nn.Module` for parameters that were kept without one.
    """
    file = model_file(directory)
    if file.suffix in (".ubj", ".json"):
        return _XGBoost(file)
    if file.suffix == ".txt":
        return _LightGBM(file)
    return _Torch(file, module)


class _XGBoost:
    def __init__(self, file: Path) -> None:
        import xgboost  # noqa: PLC0415 - only who has a model of it has it

        self._library = xgboost
        self._booster = xgboost.Booster({"nthread": 1}, model_file=str(file))
        names = self._booster.feature_names or _numbered(self._booster.num_features())
        types = self._booster.feature_types or ["float"] * len(names)
        self.columns = {
            name: {"int": int, "i": bool}.get(kind, float)
            for name, kind in zip(names, types, strict=True)
        }

    def predict(self, batch: Any) -> Any:
        names = self._booster.feature_names  # without names it asks for none
        rows = self._library.DMatrix(
            batch[list(self.columns)] if names else batch.to_numpy(),
            feature_names=names,
            feature_types=self._booster.feature_types,
            enable_categorical=True,
        )
        return self._booster.predict(rows)


class _LightGBM:
    def __init__(self, file: Path) -> None:
        import lightgbm  # noqa: PLC0415 - only who has a model of it has it

        self._booster = lightgbm.Booster(model_file=str(file))
        self.columns: dict[str, type] = dict.fromkeys(self._booster.feature_name(), float)

    def predict(self, batch: Any) -> Any:
        return self._booster.predict(batch[list(self.columns)], num_threads=1)


class _Torch:
    columns: dict[str, type] | None = None

    def __init__(self, file: Path, module: Callable[[], Any] | None) -> None:
        import torch  # noqa: PLC0415 - only who has a model of it has it

        self._library = torch
        self._module: Any
        if _is_script(file):
            read: Any = torch.jit.load  # it has no types
            self._module = read(str(file), map_location="cpu")
        elif module is None:
            self._module = torch.load(file, map_location="cpu", weights_only=False)
        else:
            parameters = torch.load(file, map_location="cpu", weights_only=True)
            plain = {name.removeprefix("module."): value for name, value in parameters.items()}
            self._module = module()
            self._module.load_state_dict(plain)
        if not callable(self._module):
            raise ValueError(
                f"{file} holds parameters and not their model; say model= with a function that "
                "makes the torch.nn.Module"
            )
        self._module.eval()

    def predict(self, batch: Any) -> Any:
        import numpy as np  # noqa: PLC0415 - PyTorch brings it

        if hasattr(batch, "columns"):
            columns = [np.stack(batch[name].to_numpy()) for name in batch.columns]
            batch = columns[0] if len(columns) == 1 else np.stack(columns, axis=1)
        inputs = self._library.as_tensor(batch)
        if inputs.dtype == self._library.float64:  # as models are, unless somebody says otherwise
            inputs = inputs.float()
        with self._library.inference_mode():
            return self._module(inputs).numpy(force=True)


def _numbered(number: int) -> Sequence[str]:
    return [f"f{index}" for index in range(number)]


def _is_script(file: Path) -> bool:
    """Whether it is TorchScript, which has its code with it."""
    if not zipfile.is_zipfile(file):
        return False
    with zipfile.ZipFile(file) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def columns_of(
    model: Model, preprocessor: Any, sample: Mapping[str, Any] | None
) -> dict[str, type] | None:
    """What a row has to have: the model's columns, as they are before the preprocessor.

    Args:
        model: The model.
        preprocessor: What rows go through first, or None.
        sample: A row.

    Returns:
        Types by name; None when nothing tells the names.
    """
    wanted = model.columns
    if wanted is None:
        return None if sample is None else {name: _kind(value) for name, value in sample.items()}
    needed = dict(wanted)
    if preprocessor is not None:
        for made in preprocessor.get_output_columns():
            needed.pop(made, None)
        for used in preprocessor.get_input_columns():
            needed[used] = object  # of any type, before
    if sample is None:
        return needed
    told = {name: _kind(value) for name, value in sample.items() if name in needed}
    return {name: told.get(name, kind) if kind is object else kind for name, kind in needed.items()}


def _kind(value: Any) -> type:
    plain = value.tolist() if hasattr(value, "tolist") else value
    return type(plain) if isinstance(plain, (bool, int, float, str, list)) else object
