"""`python -m heliostat` is the `heliostat` command."""

import sys

from heliostat.cli import main

sys.exit(main())
