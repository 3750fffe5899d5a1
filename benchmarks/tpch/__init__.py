"""TPC-H: 22 questions about orders, their tables made by `tpchgen-cli`, and eight of them in verbs."""

import subprocess
import sys
from pathlib import Path

TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")


def make(folder: str, scale: float) -> dict[str, str]:
    """Write the tables, the same rows at each scale factor as TPC's own generator makes.

    Args:
        folder: Where to; what is there already is kept.
        scale: The scale factor; 1 is about a gigabyte of text.

    Returns:
        A Parquet file for each table.

    Raises:
        FileNotFoundError: if tpchgen-cli is not installed.
        subprocess.CalledProcessError: if it fails.
    """
    files = {name: str(Path(folder, f"{name}.parquet")) for name in TABLES}
    missing = [name for name, file in files.items() if not Path(file).exists()]
    if missing:
        program = str(Path(sys.executable).parent / "tpchgen-cli")
        asked = [f"--scale-factor={scale}", f"--tables={','.join(missing)}"]
        subprocess.run(
            [program, "parquet", *asked, f"--output-dir={folder}"],
            check=True,
            capture_output=True,
            text=True,
        )
    return files
