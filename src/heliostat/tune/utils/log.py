"""How much a study says, under the name that Ray has it by."""

from heliostat.tune.progress_reporter import Verbosity

__all__ = ["Verbosity"]
