"""Many requests, one call of the model: `@serve.batch`.

Run it with `python examples/serve_batching.py`; the port is 8000, or the variable PORT.
"""

import asyncio
import concurrent.futures
import os

import httpx
import numpy as np
from starlette.requests import Request

from heliostat import serve

PORT = int(os.environ.get("PORT", "8000"))


@serve.deployment(max_ongoing_requests=100, user_config={"max_batch_size": 16})
class Scorer:
    """A model that takes as long for sixteen rows as for one."""

    def __init__(self) -> None:
        self.weights = np.random.default_rng(0).random(4)
        self.sizes: list[int] = []

    def reconfigure(self, config: dict[str, int]) -> None:
        """Other sizes without new replicas: `user_config`."""
        self.score.set_max_batch_size(config["max_batch_size"])

    @serve.batch(max_batch_size=4, batch_wait_timeout_s=0.02)
    async def score(self, rows: list[list[float]]) -> list[float | Exception]:
        """One result for each row; a bad row fails alone."""
        self.sizes.append(len(rows))
        await asyncio.sleep(0.1)
        return [
            float(np.dot(row, self.weights)) if len(row) == 4 else ValueError("4 numbers, please")
            for row in rows
        ]

    async def __call__(self, request: Request) -> dict[str, float]:
        """A row as JSON."""
        return {"score": await self.score(await request.json())}

    def largest(self) -> int:
        """The largest batch so far."""
        return max(self.sizes)


def ask() -> list[int]:
    """A hundred rows at a time, one of them bad."""
    rows = [[1.0, 2.0, 3.0, float(i)] for i in range(99)] + [[1.0]]
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{PORT}", timeout=60) as client,
        concurrent.futures.ThreadPoolExecutor(len(rows)) as threads,
    ):
        return list(threads.map(lambda row: client.post("/", json=row).status_code, rows))


def main() -> None:
    """Ask, and see how large batches were."""
    serve.start(http_options={"port": PORT})
    handle = serve.run(Scorer.bind())
    codes = ask()
    print(f"{codes.count(200)} scores and {codes.count(500)} error")
    print(f"batches of up to {handle.largest.remote().result()} rows")
    serve.shutdown()


if __name__ == "__main__":
    main()
