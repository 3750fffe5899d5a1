"""from_checkpoint: rows typed by the model, its preprocessor and a sample; no process is needed."""

import json

import pytest

from heliostat import serve

np = pytest.importorskip("numpy")
pd = pytest.importorskip("pandas")
xgboost = pytest.importorskip("xgboost")

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"trip miles": RNG.random(200) * 9, "hour": RNG.integers(0, 24, 200), "copy": RNG.random(200)}
)
LABEL = (FRAME["trip miles"] > 4).to_numpy()


@pytest.fixture(scope="module")
def booster():
    rows = xgboost.DMatrix(FRAME, LABEL)
    return xgboost.train({"objective": "binary:logistic", "nthread": 1}, rows, 5)


@pytest.fixture
def directory(tmp_path, booster):
    booster.save_model(tmp_path / "model.ubj")
    return tmp_path


def rows_of(frame):
    return json.loads(frame.to_json(orient="records"))


def schema_of(client):
    return client.get("/openapi.json").json()["components"]["schemas"]["Row"]


def test_an_xgboost_checkpoint_answers_as_its_booster_does(directory, booster):
    client = serve.test_client(serve.from_checkpoint(directory))
    answer = client.post("/predict", json=rows_of(FRAME[:7])).json()["predictions"]
    assert answer == pytest.approx(booster.predict(xgboost.DMatrix(FRAME[:7])), abs=1e-6)
    assert client.post("/predict", json=[]).json() == {"predictions": []}


def test_the_page_has_the_models_columns_and_types_and_the_sample(directory):
    sample = {**rows_of(FRAME[:1])[0], "is_big_tip": True}
    client = serve.test_client(serve.from_checkpoint(directory, sample=sample))
    row = schema_of(client)
    kinds = {name: field["anyOf"][0]["type"] for name, field in row["properties"].items()}
    assert kinds == {"trip miles": "number", "hour": "integer", "copy": "number"}
    assert row["required"] == ["trip miles", "hour", "copy"]
    view = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
    shown = view["requestBody"]["content"]["application/json"]["schema"]["examples"][0]
    assert shown == rows_of(FRAME[:1])
    promised = view["responses"]["200"]["content"]["application/json"]["example"]
    assert client.post("/predict", json=shown).json() == promised


@pytest.mark.parametrize(
    "body",
    [
        [{"trip miles": 1.0, "hour": 3}],
        [{"trip miles": "far", "hour": 3, "copy": 0}],
        [{"trip miles": 1, "hour": 3.5, "copy": 0}],
        {"trip miles": 1, "hour": 3, "copy": 0},
        [1],
        None,
    ],
)
def test_rows_that_the_model_never_saw_the_like_of_get_422(directory, body):
    client = serve.test_client(serve.from_checkpoint(directory))
    assert client.post("/predict", json=body).status_code == 422


def test_what_is_missing_in_a_row_may_be_null(directory, booster):
    client = serve.test_client(serve.from_checkpoint(directory))
    row = {"trip miles": None, "hour": 3, "copy": None}
    answer = client.post("/predict", json=[row]).json()["predictions"]
    inputs = xgboost.DMatrix(pd.DataFrame([{**row, "trip miles": np.nan, "copy": np.nan}]))
    assert answer == pytest.approx(booster.predict(inputs), abs=1e-6)


def test_a_preprocessor_beside_the_model_is_applied_and_its_inputs_are_asked_for(tmp_path):
    import heliostat as ray
    from heliostat.data.preprocessors import OrdinalEncoder
    from heliostat.train.xgboost import XGBoostCheckpoint

    frame = pd.DataFrame({"city": ["Ulm", "Bonn"] * 20, "miles": RNG.random(40)})
    encoder = OrdinalEncoder(["city"]).fit(ray.data.from_pandas(frame))
    encoded = encoder.transform_batch(frame)
    model = xgboost.train(
        {"eta": 1, "nthread": 1}, xgboost.DMatrix(encoded, frame.city == "Ulm"), 5
    )
    checkpoint = XGBoostCheckpoint.from_model(model, preprocessor=encoder, path=tmp_path)
    checkpoint.update_metadata({"sample": {"city": "Ulm", "miles": 0.5}})
    client = serve.test_client(serve.from_checkpoint(checkpoint))
    assert schema_of(client)["properties"]["city"]["type"] == "string"
    rows = [{"city": "Ulm", "miles": 0.1}, {"city": "Bonn", "miles": 0.2}]
    answer = client.post("/predict", json=rows).json()["predictions"]
    assert [round(value) for value in answer] == [1, 0]
    ray.shutdown()


def test_a_lightgbm_checkpoint_answers_as_its_booster_does(tmp_path):
    lightgbm = pytest.importorskip("lightgbm")
    frame = FRAME.rename(columns={"trip miles": "miles"})
    model = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(frame, LABEL), 3)
    model.save_model(tmp_path / "model.txt")
    client = serve.test_client(serve.from_checkpoint(tmp_path))
    answer = client.post("/predict", json=rows_of(frame[:5])).json()["predictions"]
    assert answer == pytest.approx(model.predict(frame[:5]), abs=1e-9)


def torch_model():
    import torch

    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 2))


@pytest.mark.filterwarnings("ignore:.*torch.jit")
@pytest.mark.parametrize("kept", ["model", "script", "parameters"])
def test_a_torch_checkpoint_takes_arrays_of_its_samples_shape(tmp_path, kept):
    torch = pytest.importorskip("torch")
    module = torch_model()
    if kept == "script":
        torch.jit.trace(module, torch.zeros(1, 2, 2)).save(str(tmp_path / "model.pt"))
    else:
        torch.save(module if kept == "model" else module.state_dict(), tmp_path / "model.pt")
    image = [[0.0, 1.0], [2.0, 3.0]]
    app = serve.from_checkpoint(
        tmp_path, sample=np.array(image), model=torch_model if kept == "parameters" else None
    )
    client = serve.test_client(app)
    answer = client.post("/predict", json=[image, image]).json()["predictions"]
    wanted = module(torch.tensor([image, image])).detach().numpy()
    assert np.allclose(answer, wanted, atol=1e-6)
    assert client.post("/predict", json=[[["a", 1], [2, 3]]]).status_code == 422


def test_a_torch_model_of_columns_gets_them_in_the_order_of_the_sample(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(2, 1)
    torch.save(module, tmp_path / "model.pt")
    client = serve.test_client(serve.from_checkpoint(tmp_path, sample={"a": 1.0, "b": 2.0}))
    answer = client.post("/predict", json=[{"b": 4, "a": 3}]).json()["predictions"]
    assert np.allclose(answer, module(torch.tensor([[3.0, 4.0]])).detach().numpy())


def test_what_is_no_checkpoint_is_told(tmp_path):
    with pytest.raises(TypeError, match=r"result\.checkpoint"):
        serve.from_checkpoint({"model": 1})
    (tmp_path / "weights.bin").touch()
    with pytest.raises(FileNotFoundError, match=r"none of model.ubj.*weights\.bin"):
        serve.from_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match="it holds nothing"):
        serve.from_checkpoint(tmp_path / "gone")
    (tmp_path / "model.pt").touch()
    with pytest.raises(ValueError, match="sample"):
        serve.from_checkpoint(tmp_path)


def test_parameters_without_their_model_are_told_at_the_start(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch_model().state_dict(), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="say model="):
        serve.test_client(serve.from_checkpoint(tmp_path, sample=[1.0] * 4))


def test_a_sample_that_the_model_cannot_take_is_told_at_the_start(tmp_path):
    torch = pytest.importorskip("torch")
    torch.save(torch_model(), tmp_path / "model.pt")
    with pytest.raises(RuntimeError, match="shapes"):
        serve.test_client(serve.from_checkpoint(tmp_path, sample=[1.0] * 3))
