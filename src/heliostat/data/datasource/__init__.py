"""Where rows come from and where they go. One file a format, and none knows another."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heliostat.data._commit import SaveMode
    from heliostat.data.connectors.mcap import MCAPDatasource, TimeRange
    from heliostat.data.connectors.samples import DummyOutputDatasink, RandomIntRowDatasource
    from heliostat.data.connectors.types import Connection, WriteReturnType
    from heliostat.data.datasource.custom import Datasource, Reader, ReadTask
    from heliostat.data.datasource.datasink import (
        BlockBasedFileDatasink,
        Datasink,
        RowBasedFileDatasink,
        WriteResult,
    )
    from heliostat.data.datasource.file_based import (
        BaseFileMetadataProvider,
        DefaultFileMetadataProvider,
        FileBasedDatasource,
        FileMetadataProvider,
    )
    from heliostat.data.datasource.filename_provider import FilenameProvider
    from heliostat.data.datasource.files import FileShuffleConfig
    from heliostat.data.datasource.partitioning import (
        Partitioning,
        PartitionStyle,
        PathPartitionFilter,
        PathPartitionParser,
    )

__all__ = [
    "BaseFileMetadataProvider", "BlockBasedFileDatasink", "Connection", "Datasink",
    "Datasource", "DefaultFileMetadataProvider", "DummyOutputDatasink", "FileBasedDatasource",
    "FileMetadataProvider", "FileShuffleConfig", "FilenameProvider", "MCAPDatasource", "PartitionStyle",
    "Partitioning", "PathPartitionFilter", "PathPartitionParser", "RandomIntRowDatasource",
    "ReadTask", "Reader", "RowBasedFileDatasink", "SaveMode", "TimeRange", "WriteResult", "WriteReturnType",
]  # fmt: skip

# Public names, and the files they are in; loaded on first touch, since those import this package.
_HOMES = {
    "_commit": ("SaveMode",),
    "connectors.mcap": ("MCAPDatasource", "TimeRange"),
    "connectors.samples": ("DummyOutputDatasink", "RandomIntRowDatasource"),
    "connectors.types": ("Connection", "WriteReturnType"),
    "datasource.custom": ("Datasource", "ReadTask", "Reader"),
    "datasource.datasink": (
        "BlockBasedFileDatasink",
        "Datasink",
        "RowBasedFileDatasink",
        "WriteResult",
    ),
    "datasource.file_based": (
        "BaseFileMetadataProvider",
        "DefaultFileMetadataProvider",
        "FileBasedDatasource",
        "FileMetadataProvider",
    ),
    "datasource.filename_provider": ("FilenameProvider",),
    "datasource.files": ("FileShuffleConfig",),
    "datasource.partitioning": (
        "PartitionStyle",
        "Partitioning",
        "PathPartitionFilter",
        "PathPartitionParser",
    ),
}


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"heliostat.data.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
