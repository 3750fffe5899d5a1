"""Lets torchvision's build for GPUs be imported beside PyTorch's for CPUs, in tests and their workers.

On PyPI there is no other. It cannot load its native part there, and then fails for want of two
operators, which we declare in its place when somebody imports it. Processes find this file when its
directory is on PYTHONPATH.
"""

import importlib.metadata
import sys
from importlib.abc import MetaPathFinder


class Declare(MetaPathFinder):
    """Declares the operators just before torchvision is imported."""

    def find_spec(self, fullname, path, target=None):
        if fullname == "torchvision":
            sys.meta_path.remove(self)
            import torch
            from torch import library

            if torch.version.cuda is None and "+" not in importlib.metadata.version("torchvision"):
                # Kept with the module: the declarations end with the object.
                torch._torchvision_operators = library.Library("torchvision", "DEF")
                for name in ("nms", "qnms"):
                    torch._torchvision_operators.define(
                        f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
                    )
        return


sys.meta_path.insert(0, Declare())
