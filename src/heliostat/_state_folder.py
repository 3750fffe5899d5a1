"""Where what outlives a session is kept: histories and jobs, for this user only. Knows no engine."""

import os
from pathlib import Path


def state_folder(name: str) -> Path:
    """A folder below HELIOSTAT_STATE_DIR, or where the system keeps state; made if need be.

    Raises:
        PermissionError: If others can read or change what is in it.
    """
    own = os.environ.get("HELIOSTAT_STATE_DIR")
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    path = (Path(own) if own else Path(state) / "heliostat") / name
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    about = path.stat()
    if about.st_uid != os.getuid() or about.st_mode & 0o077:
        raise PermissionError(
            f"{path} can be read or changed by other users; make it yours alone: chmod 700 {path}"
        )
    return path
