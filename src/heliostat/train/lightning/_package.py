"""PyTorch Lightning under whichever of its two names it is installed."""

from __future__ import annotations

import importlib
import importlib.util
from typing import Any

# Of `lightning` only what is asked for is imported, so that looking for it costs nothing.
NAME = "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
pl: Any = importlib.import_module(NAME)
strategies: Any = importlib.import_module(f"{NAME}.strategies")
environments: Any = importlib.import_module(f"{NAME}.plugins.environments")
