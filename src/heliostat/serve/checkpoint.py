"""from_checkpoint: a trained model as a typed endpoint, without a line of code.

It makes types, a page and an answer of what `_models.py` knows of a checkpoint.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from starlette.responses import Response

from heliostat.serve._http import to_json
from heliostat.serve._models import (
    FILES,
    columns_of,
    load,
    metadata_of,
    model_file,
    preprocessor_of,
)
from heliostat.serve._views import ingress
from heliostat.serve.deployment import Application, deployment

__all__ = ["from_checkpoint"]

_NEEDS_SAMPLE = (
    "the model in {} does not say what it takes; give from_checkpoint(sample=...) one row, or note "
    'it when you save: checkpoint.update_metadata({{"sample": row}})'
)


def from_checkpoint(
    checkpoint: str | os.PathLike[str],
    *,
    sample: Any = None,
    model: Callable[[], Any] | None = None,
    name: str = "Predictor",
    options: Mapping[str, Any] | None = None,
) -> Application:
    """An application that predicts with the model of a checkpoint.

    It answers `POST /predict` with a list of rows by `{"predictions": [...]}`, one for each. What
    a row has to have is read from the model and from the preprocessor that was kept beside it;
    `/docs` shows it with a sample, and other rows get status 422. By handle the same is
    `handle.predict.remote(rows)`.

    Args:
        checkpoint: What Train or Tune saved (`result.checkpoint`), or a directory with a model of
            XGBoost (model.ubj, model.json), LightGBM (model.txt) or PyTorch (model.pt). Only one
            that you trust: a preprocessor and a whole PyTorch model are code.
        sample: One row, as `dataset.take(1)[0]` gives it, or for PyTorch one array. Where None,
            what `checkpoint.update_metadata({"sample": row})` noted. PyTorch cannot do without.
        model: Makes the `torch.nn.Module`, where the checkpoint has only its parameters.
        name: The deployment's.
        options: Options of the deployment, such as `{"num_replicas": 2}`.

    Returns:
        An application for `serve.run`.

    Raises:
        FileNotFoundError: When the directory holds no model; says what it holds.
        TypeError: When `checkpoint` is neither a checkpoint nor a path.
        ValueError: When nothing says what a row of a PyTorch model has.

    Example:
        >>> import numpy as np, tempfile, xgboost
        >>> from heliostat import serve
        >>> data = xgboost.DMatrix(np.arange(8.0).reshape(8, 1), np.arange(8), feature_names=["x"])
        >>> directory = tempfile.mkdtemp()
        >>> xgboost.train({"eta": 1.0}, data, 5).save_model(f"{directory}/model.ubj")
        >>> client = serve.test_client(serve.from_checkpoint(directory, sample={"x": 3.0}))
        >>> answer = client.post("/predict", json=[{"x": 0}, {"x": 7}]).json()
        >>> [round(value) for value in answer["predictions"]]
        [0, 7]
        >>> client.post("/predict", json=[{"y": 0}]).status_code
        422
    """
    if not isinstance(checkpoint, (str, os.PathLike)):
        raise TypeError(
            f"from_checkpoint takes a Checkpoint or a path, got {checkpoint!r}; of a Result it is "
            "result.checkpoint"
        )
    directory = Path(checkpoint)
    file = model_file(directory)
    if sample is None:
        sample = metadata_of(directory).get("sample")
    if sample is None and file.name == FILES[-1]:
        raise ValueError(_NEEDS_SAMPLE.format(file))
    chosen = deployment(_Predictor).options(name=name, **(options or {}))
    return chosen.bind(str(directory), _plain(sample), model)


@ingress()
class _Predictor:
    """The model, the types of its rows, and the app that serves both."""

    def __init__(self, directory: str, sample: Any, module: Callable[[], Any] | None) -> None:
        path = Path(directory)
        self._model = load(path, module)
        self._preprocessor = preprocessor_of(path)
        row = sample if isinstance(sample, dict) else None
        self._columns = columns_of(self._model, self._preprocessor, row)
        self._sample = sample
        if self._columns is not None:
            given = row or {}
            self._sample = {
                name: given.get(name, _zero(kind)) for name, kind in self._columns.items()
            }
        # Whether model and sample fit shows now, and not with the first request.
        self._example = self.predict([self._sample]) if sample is not None else None

    def predict(self, rows: list[Any]) -> list[Any]:
        """An answer for each row."""
        if not rows:
            return []
        batch: Any
        if self._columns is None:
            import numpy as np  # noqa: PLC0415 - whoever has a model has it

            batch = np.asarray(rows)
        else:
            import pandas as pd  # noqa: PLC0415 - what preprocessors and boosters take

            batch = pd.DataFrame(rows, columns=list(self._columns))
            for name, kind in self._columns.items():
                if kind in (int, float, bool):  # a column of nothing but None has no type else
                    batch[name] = pd.to_numeric(batch[name])
        if self._preprocessor is not None:
            batch = self._preprocessor.transform_batch(batch)
        return [_finite(answer) for answer in self._model.predict(batch).tolist()]

    def __serve_build_asgi_app__(self) -> Any:
        """A FastAPI app whose page knows the columns."""
        from fastapi import Body, FastAPI  # noqa: PLC0415 - slow to load, and few need it

        app = FastAPI(title=type(self._model).__name__.strip("_"), description="A trained model.")
        row = self._row_type()
        body = Body(examples=[[self._sample]], description="One or more rows.")
        example = None if self._example is None else {"predictions": self._example}
        content = {"application/json": {"example": example}}

        def predict(rows: list[Any] = body) -> Any:
            """An answer for each row, in the order of the rows."""
            plain = [r.model_dump(by_alias=True) if hasattr(r, "model_dump") else r for r in rows]
            body = to_json({"predictions": self.predict(plain)})
            return Response(body, media_type="application/json")

        predict.__annotations__["rows"] = list[row]  # type: ignore[valid-type]
        app.post("/predict", responses={200: {"content": content}})(predict)
        return app

    def _row_type(self) -> Any:
        from pydantic import BaseModel, Field, create_model  # noqa: PLC0415 - as FastAPI

        if self._columns is None:
            return _nested(self._sample)
        fields: Any = {
            # By alias, since a column may have any name, those of pydantic's methods among them.
            f"column_{number}": (_field_type(kind, self._sample[name]), Field(alias=name))
            for number, (name, kind) in enumerate(self._columns.items())
        }
        return create_model("Row", __base__=BaseModel, **fields)


def _plain(sample: Any) -> Any:
    """A sample as JSON has it."""
    if isinstance(sample, Mapping):
        return {str(name): _plain(value) for name, value in sample.items()}
    value = sample.tolist() if hasattr(sample, "tolist") else sample
    try:
        return json.loads(json.dumps(value, default=str))
    except (TypeError, ValueError) as error:
        raise ValueError(f"sample={sample!r} is no row of plain values: {error}") from error


def _zero(kind: type) -> Any:
    return None if kind is object else kind()


def _field_type(kind: type, example: Any) -> Any:
    """Models take what is missing as None; text and lists have to be there."""
    if kind is list:
        return _nested(example)
    if kind is str:
        return str
    return Any if kind is object else kind | None


def _nested(example: Any) -> Any:
    """`list[list[float]]` for an array of two dimensions."""
    if isinstance(example, list):
        return list[_nested(example[0]) if example else float]  # type: ignore[misc]
    return type(example) if isinstance(example, (int, str)) else float


def _finite(answer: Any) -> Any:
    """JSON has neither NaN nor infinity."""
    if isinstance(answer, list):
        return [_finite(one) for one in answer]
    return None if isinstance(answer, float) and not math.isfinite(answer) else answer
