"""Ray Serve's lesson, step by step: a classifier online, and what a service needs around it.

The model learns scikit-learn's 8 x 8 digits in seconds (on a GPU if there is one) and is saved as
TorchScript. Run it with

    python examples/lessons/lesson5_serve.py

It needs PyTorch and scikit-learn, and the port 8000, or another one in the variable PORT.
"""

# %% [markdown]
# # Lesson 5: Serve
#
# First a model behind HTTP, then what a service needs around it: parts of a device, replicas that come
# and go with the load, deployments that call each other, and validation.

# %%
import concurrent.futures
import json
import os
import tempfile
import time
from typing import Annotated, Any

import httpx
import numpy as np
import torch
from fastapi import Body
from pydantic import Field
from sklearn.datasets import load_digits
from starlette.requests import Request

from heliostat import serve

try:  # with it, the page at /docs needs no network
    from fastapi_offline import FastAPIOffline as FastAPI
except ImportError:
    from fastapi import FastAPI

PORT = int(os.environ.get("PORT", "8000"))
URL = f"http://127.0.0.1:{PORT}"
CLIENT = httpx.Client(timeout=60)
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

# %% [markdown]
# ## A model in a file
#
# Whoever serves it needs the file only, not the code that it was trained with.


# %%
def train(path: str) -> None:
    """A small network that knows digits."""
    images, labels = load_digits(return_X_y=True)
    inputs = torch.tensor(images / 8 - 1).float().reshape(-1, 1, 8, 8)
    targets = torch.tensor(labels)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # so small a model gains nothing from more
    model = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10)
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(200):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    torch.jit.script(model).save(path)


path = os.path.join(tempfile.mkdtemp(), "model.pt")
train(path)
raw, labels = load_digits().images[:8].reshape(8, 1, 8, 8), load_digits().target[:8].tolist()
print(f"{os.path.getsize(path):,} bytes; eight digits to ask about: {raw.shape}")

# %% [markdown]
# ## A deployment
#
# A class; `__call__` answers HTTP. Each of its replicas is a process that makes the object once.


# %%
@serve.deployment
class OnlineClassifier:
    """Answers over HTTP and by handle."""

    def __init__(self, local_path: str) -> None:
        self.model = torch.jit.load(local_path).to(DEVICE)
        self.model.eval()

    async def __call__(self, request: Request) -> dict[str, Any]:
        """A batch of images as JSON."""
        batch = json.loads(await request.json())
        return await self.predict(batch)

    async def predict(self, batch: dict[str, Any]) -> dict[str, Any]:
        """A batch of images as arrays."""
        images = torch.tensor(np.array(batch["image"])).float().to(DEVICE)
        with torch.no_grad():
            logits = self.model(images).cpu().numpy()
        return {"predicted_label": np.argmax(logits, axis=1)}


# %% [markdown]
# `bind` says what replicas are made with. `run` starts them and waits until they answer; the handle
# that it returns calls methods without HTTP.

# %%
serve.start(http_options={"port": PORT})
handle = serve.run(OnlineClassifier.bind(local_path=path), name="classifier")


# %%
def ask(images: np.ndarray, url: str = URL) -> list[int]:
    """Over HTTP, as the lesson does: JSON in a string of JSON."""
    answer = CLIENT.post(url, json=json.dumps({"image": images.tolist()}))
    return answer.raise_for_status().json()["predicted_label"]


print("labels:         ", labels)
print("over HTTP:      ", ask(raw / 8 - 1))
out = handle.predict.remote({"image": raw / 8 - 1}).result()
print("by handle:      ", out["predicted_label"].tolist())

# %% [markdown]
# ## A part of a device
#
# Four replicas that need a tenth of a CPU or GPU each. `run` under the same name updates the
# application that runs already.


# %%
def running() -> int:
    """How many replicas answer now."""
    overview = serve.status().applications["classifier"].deployments["OnlineClassifier"]
    return overview.replica_states.get("RUNNING", 0)


resource = "GPU" if DEVICE == "cuda" else "CPU"
options = {"num_cpus": 0.1} if resource == "CPU" else {"num_gpus": 0.1}
several = OnlineClassifier.options(num_replicas=4, ray_actor_options=options)
serve.run(several.bind(local_path=path), name="classifier")
print(f"{running()} replicas with a tenth of a {resource} each")

# %% [markdown]
# ## As many as are needed
#
# From zero replicas, up with the load and down again. Requests that come while there is none wait for
# the first. The delays are short, for a lesson: by default it takes half a minute of load for more
# replicas, and ten minutes without for fewer.

# %%
scaled = OnlineClassifier.options(
    ray_actor_options={"num_cpus": 0.1},
    autoscaling_config={
        "target_ongoing_requests": 2,
        "initial_replicas": 0,
        "min_replicas": 0,
        "max_replicas": 4,
        "upscale_delay_s": 0,
        "downscale_delay_s": 1,
        "metrics_interval_s": 0.1,
        "look_back_period_s": 0.2,
    },
)
serve.run(scaled.bind(local_path=path), name="classifier")
print("without load:", running(), "replicas")

# %%
seen: list[int] = []
with concurrent.futures.ThreadPoolExecutor(16) as threads:
    answers = [threads.submit(ask, raw / 8 - 1) for _ in range(300)]
    while not all(answer.done() for answer in answers) or seen[-1]:
        seen.append(running())
        time.sleep(0.1)
assert all(len(answer.result()) == len(labels) for answer in answers)
print("replicas, ten times a second:", "".join(map(str, seen)))
print(f"300 requests answered, none lost; at most {max(seen)} replicas, now {seen[-1]}")

# %% [markdown]
# ## Deployments that call each other
#
# The next application answers at `/`, so the one before goes.

# %%
serve.delete("classifier")

# %% [markdown]
# What is bound as an argument is a handle inside. The response of one is passed on to the next
# unawaited, so the array goes from replica to replica.


# %%
@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class OnlinePreprocessor:
    """Raw pixels, 0 to 16, to what the model has learnt."""

    async def run(self, batch: dict[str, Any]) -> dict[str, Any]:
        """As the pictures of training."""
        return {"image": np.array(batch["image"]) / 8 - 1}


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
class ImageServiceIngress:
    """Preprocessor, then model; the array between them does not pass through here."""

    def __init__(self, preprocessor: Any, model: Any) -> None:
        self.preprocessor = preprocessor
        self.model = model

    async def __call__(self, request: Request) -> dict[str, Any]:
        """A batch of raw images as JSON."""
        batch = json.loads(await request.json())
        return await self.model.predict.remote(self.preprocessor.run.remote(batch))


parts = {"preprocessor": OnlinePreprocessor.bind(), "model": OnlineClassifier.bind(path)}
serve.run(ImageServiceIngress.bind(**parts), name="image_classifier")
print("composed:       ", ask(raw))

# %% [markdown]
# ## FastAPI
#
# Routes and validation: the types say what a client may send, and the page at `/docs` says it too.

# %%
app = FastAPI()

# What a client may send: at most 256 pictures of one channel with 8 x 8 pixels, 0 to 16.
Pixel = Annotated[float, Field(strict=True, ge=0, le=16)]
Row = Annotated[list[Pixel], Field(min_length=8, max_length=8)]
Channel = Annotated[list[Row], Field(min_length=8, max_length=8)]
Picture = Annotated[list[Channel], Field(min_length=1, max_length=1)]
Pictures = Annotated[list[Picture], Body(min_length=1, max_length=256)]


@serve.deployment(ray_actor_options={"num_cpus": 0.1})
@serve.ingress(app)
class FastAPIIngress:
    """The same with FastAPI: routes, validation, and a page at /docs."""

    def __init__(self, preprocessor: Any, model: Any) -> None:
        self.preprocessor = preprocessor
        self.model = model

    @app.post("/predict", responses={400: {"description": "The body is no text."}})
    async def predict(self, image: Pictures) -> dict[str, list[int]]:
        """A batch of raw images."""
        batch = self.preprocessor.run.remote({"image": image})
        out = await self.model.predict.remote(batch)
        return {"predicted_label": out["predicted_label"].tolist()}


serve.run(FastAPIIngress.bind(**parts), name="image_classifier")
answer = CLIENT.post(f"{URL}/predict", json=raw.tolist())
print("FastAPI:        ", answer.json()["predicted_label"])

# %% [markdown]
# What does not fit never reaches the model: the answer says where, and why.

# %%
wrong = CLIENT.post(f"{URL}/predict", json=[[[["no", False, 17]]]])
print(wrong.json()["detail"][0])
pages = CLIENT.get(f"{URL}/docs")
print(f"bad input: {wrong.status_code}; documentation at /docs: {pages.status_code}")

# %%
serve.shutdown()
