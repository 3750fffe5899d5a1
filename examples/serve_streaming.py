"""A text generator whose words arrive as they are made: over HTTP, by handle, and in batches.

Run it with `python examples/serve_streaming.py`; the port is 8000, or the variable PORT.
"""

import asyncio
import os
from collections.abc import AsyncIterator

import httpx
from starlette.requests import Request
from starlette.responses import StreamingResponse

from heliostat import serve

PORT = int(os.environ.get("PORT", "8000"))
WORDS = ["streams", "begin", "with", "the", "first", "word", "and", "not", "with", "the", "last"]


@serve.deployment
class Generator:
    """Stands for a language model: it makes a word of each stream at a time."""

    async def generate(self, most: int) -> AsyncIterator[str]:
        """So many words, one after the other."""
        async for word in self._together(most):
            yield word

    @serve.batch(max_batch_size=8, batch_wait_timeout_s=0.02)
    async def _together(self, most: list[int]) -> AsyncIterator[list[str | type]]:
        """One step of the model makes the next word of every stream."""
        for step in range(max(most)):
            await asyncio.sleep(0.01)
            yield [WORDS[step] if step < n else StopIteration for n in most]

    async def __call__(self, request: Request) -> StreamingResponse:
        """The words as lines."""
        most = int(request.query_params.get("most", len(WORDS)))
        lines = (word + "\n" async for word in self.generate(most))
        return StreamingResponse(lines, media_type="text/plain")


def main() -> None:
    """Read a stream over HTTP, and several by handle."""
    serve.start(http_options={"port": PORT})
    handle = serve.run(Generator.bind())
    with httpx.stream("GET", f"http://127.0.0.1:{PORT}/", timeout=60) as answer:
        print("over HTTP:", " ".join(answer.iter_lines()))
    streams = [handle.options(stream=True).generate.remote(n) for n in (3, 5)]
    for stream in streams:
        print("by handle:", " ".join(stream))
    serve.shutdown()


if __name__ == "__main__":
    main()
