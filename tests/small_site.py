"""A site of a few pages with the looks and the search of ours, served on loopback."""

from __future__ import annotations

import contextlib
import functools
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


class Silent(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_args: Any) -> None:
        pass


@contextlib.contextmanager
def served(folder: Path, pages: dict[str, str]) -> Iterator[str]:
    """The site's address; `pages` are texts by their paths below docs/."""
    import yaml
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    shutil.copytree(ROOT / "docs" / "css", folder / "docs" / "css")
    for path, text in pages.items():
        (folder / "docs" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "docs" / path).write_text(text)
    ours = yaml.safe_load((ROOT / "mkdocs.yml").read_text())
    small = {
        "site_name": "Small",
        **{key: ours[key] for key in ("use_directory_urls", "theme", "extra_css")},
        "hooks": [str(ROOT / hook) for hook in ours["hooks"]],
        "markdown_extensions": ["attr_list", "tables"],
        "plugins": [one for one in ours["plugins"] if "search" in one],
    }
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(small))
    build(load_config(str(folder / "mkdocs.yml")))
    handler = functools.partial(Silent, directory=str(folder / "site"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
