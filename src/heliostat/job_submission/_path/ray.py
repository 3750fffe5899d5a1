"""What `import ray` finds first in a job: from then on `ray` is Heliostat."""

import sys

import heliostat
from heliostat import _alias

if __name__ == "ray":
    del sys.modules[__name__]  # for the alias, the real Ray would be here already
    _alias.install()
    sys.modules[__name__] = heliostat
