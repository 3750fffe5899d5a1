"""Many models, few replicas: each keeps the two it used last, and requests go where theirs is.

Run it with `python examples/serve_multiplexing.py`; the port is 8000, or the variable PORT.
"""

import os

import httpx

from heliostat import serve

PORT = int(os.environ.get("PORT", "8000"))


class Model:
    """Stands for weights that take time and memory to load."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, text: str) -> str:
        """The model's answer."""
        return f"{text} in the words of {self.name}"


@serve.deployment(num_replicas=2, ray_actor_options={"num_cpus": 0.5})
class Models:
    """Loads what is asked for."""

    def __init__(self) -> None:
        self.loaded = 0

    @serve.multiplexed(max_num_models_per_replica=2)
    async def model(self, model_id: str) -> Model:
        """Called for a model that this replica does not have."""
        self.loaded += 1
        return Model(model_id)

    async def say(self, text: str) -> tuple[str, int]:
        """The text by the request's model, and how many models were loaded here so far."""
        model = await self.model(serve.get_multiplexed_model_id())
        return model(text), self.loaded


@serve.deployment
class Front:
    """Takes the model's name from the header of the request, and passes it on."""

    def __init__(self, models: serve.DeploymentHandle) -> None:
        self.models = models

    async def __call__(self, request: object) -> dict[str, object]:
        """The request's header is known to every call that it leads to."""
        text, loaded = await self.models.say.remote("hello")
        return {"text": text, "loaded": loaded}


def main() -> None:
    """Four models, twenty requests each, four loads."""
    serve.start(http_options={"port": PORT})
    serve.run(Front.bind(Models.bind()))
    most = 0
    for _ in range(20):
        for name in ("ada", "bob", "cyd", "dan"):
            answer = httpx.get(
                f"http://127.0.0.1:{PORT}/", headers={"serve_multiplexed_model_id": name}
            ).json()
            most = max(most, answer["loaded"])
    print(answer["text"])
    print(f"80 requests for 4 models, and no replica loaded more than {most}")
    serve.shutdown()


if __name__ == "__main__":
    main()
