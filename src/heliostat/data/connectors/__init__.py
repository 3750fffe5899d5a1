"""Sources and sinks that few programs use, under Ray's names; loaded when one is touched.

`samples` makes rows up and takes them; `types` are names for annotations; `frames` are those of Spark,
Modin, Dask and daft; `random_access` finds rows by a key; `kafka` and `mcap` have messages; `clickhouse`
and `snowflake` are databases; `catalog`
says where a table is; `verbs` is what a Dataset has for all of these; `http` reads what has a URL; `reach` asks whether a store answers.
"""

import importlib
from typing import Any

# Public names, and the files they are in.
HOMES = {
    "catalog": (
        "Catalog",
        "CatalogAccessMode",
        "DatabricksUnityCatalog",
        "ReaderFormat",
        "ResolvedSource",
        "read_unity_catalog",
    ),
    "clickhouse": ("ClickHouseTableSettings", "SinkMode", "read_clickhouse"),
    "snowflake": ("read_snowflake",),
    "kafka": ("KafkaAuthConfig", "read_kafka"),
    "mcap": ("MCAPDatasource", "TimeRange", "read_mcap"),
    "frames": ("from_daft", "from_dask", "from_modin", "from_spark"),
}


def touched(name: str, package: str) -> Any:
    """What a name stands for; its file is loaded now.

    Args:
        name: The name.
        package: Where it was looked up.

    Raises:
        AttributeError: If it is no name of a connector's.
    """
    for home, names in HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{home}"), name)
    raise AttributeError(f"module {package!r} has no attribute {name!r}")


def needed(module: str, package: str, verb: str) -> Any:
    """An optional package.

    Args:
        module: What of it is wanted.
        package: What pip calls it, perhaps with an extra of its own.
        verb: Who wants it.

    Returns:
        The module.

    Raises:
        ImportError: That says what to install.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = package.split("[")[0]
        raise ImportError(f"{verb} needs {name}: pip install '{package}'") from error


def located(*asked: Any, **others: Any) -> Any:
    """What a catalog says of a table; see `catalog.located`."""
    return importlib.import_module(f"{__name__}.catalog").located(*asked, **others)
