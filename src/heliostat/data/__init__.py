"""Data: lazy plans over Arrow blocks, streamed through tasks and actors.

The map of the folder: `dataset` is the public class, in two halves (`transforms` builds,
`consumption` runs); `read_api` is where datasets begin. A plan (`_plan`) is rewritten and cut into
stages (`_optimize`); the `Pipeline` (`_pipeline`, told and telling `_messages`) decides what runs next and `_execute`
runs it; a task runs a chain of steps (`_stage`) over blocks (`block`).
"""

from typing import TYPE_CHECKING, Any

from heliostat.data import connectors
from heliostat.data._commit import SaveMode
from heliostat.data._mix import MixStoppingCondition
from heliostat.data._seeds import RandomSeedConfig
from heliostat.data._sql import sql
from heliostat.data.block import Block
from heliostat.data.compute import ActorPoolStrategy, TaskPoolStrategy
from heliostat.data.context import DataContext, ExecutionOptions, ExecutionResources, NodeIdStr
from heliostat.data.dataset import Dataset, MaterializedDataset, Schema
from heliostat.data.datasource.custom import Datasource, ReadTask
from heliostat.data.datasource.datasink import (
    BlockBasedFileDatasink,
    Datasink,
    RowBasedFileDatasink,
)
from heliostat.data.datasource.files import FileShuffleConfig
from heliostat.data.from_api import (
    from_arrow_refs,
    from_huggingface,
    from_numpy_refs,
    from_pandas_refs,
    from_polars,
    from_tf,
    from_torch,
)
from heliostat.data.iterator import DataIterator
from heliostat.data.preprocessor import Preprocessor
from heliostat.data.read_api import (
    from_arrow,
    from_blocks,
    from_items,
    from_numpy,
    from_pandas,
    range,
    range_tensor,
    read_datasource,
    read_parquet,
)
from heliostat.data.read_files import (
    read_audio,
    read_avro,
    read_binary_files,
    read_csv,
    read_images,
    read_json,
    read_numpy,
    read_orc,
    read_text,
    read_tfrecords,
    read_videos,
    read_webdataset,
)
from heliostat.data.read_tables import read_delta, read_iceberg, read_lance, read_sql
from heliostat.data.stats_summary import (
    DatasetStatsSummary,
    OperatorStatsSummary,
    list_stats_summaries,
)
from heliostat.data.summary import DatasetSummary

if TYPE_CHECKING:
    from heliostat.data.connectors.catalog import (
        Catalog,
        CatalogAccessMode,
        DatabricksUnityCatalog,
        ReaderFormat,
        ResolvedSource,
        read_unity_catalog,
    )
    from heliostat.data.connectors.clickhouse import (
        ClickHouseTableSettings,
        SinkMode,
        read_clickhouse,
    )
    from heliostat.data.connectors.frames import from_daft, from_dask, from_modin, from_spark
    from heliostat.data.connectors.kafka import KafkaAuthConfig, read_kafka
    from heliostat.data.connectors.mcap import read_mcap
    from heliostat.data.connectors.snowflake import read_snowflake

DatasetContext, DatasetIterator = DataContext, DataIterator  # older names of Ray's

__all__ = [
    "ActorPoolStrategy", "Block", "BlockBasedFileDatasink", "Catalog", "CatalogAccessMode",
    "ClickHouseTableSettings", "DataContext", "DataIterator", "DatabricksUnityCatalog", "Dataset",
    "DatasetContext", "DatasetIterator", "DatasetStatsSummary", "DatasetSummary", "Datasink",
    "Datasource", "ExecutionOptions", "ExecutionResources", "FileShuffleConfig",
    "KafkaAuthConfig", "MaterializedDataset", "MixStoppingCondition", "NodeIdStr",
    "OperatorStatsSummary", "Preprocessor", "RandomSeedConfig", "ReadTask", "ReaderFormat",
    "ResolvedSource", "RowBasedFileDatasink", "SaveMode", "Schema", "SinkMode",
    "TaskPoolStrategy", "from_arrow", "from_arrow_refs", "from_blocks", "from_daft", "from_dask",
    "from_huggingface", "from_items", "from_modin", "from_numpy", "from_numpy_refs",
    "from_pandas", "from_pandas_refs", "from_polars", "from_spark", "from_tf", "from_torch",
    "list_stats_summaries", "range", "range_tensor", "read_audio", "read_avro",
    "read_binary_files", "read_clickhouse", "read_csv", "read_datasource", "read_delta",
    "read_iceberg", "read_images", "read_json", "read_kafka", "read_lance", "read_mcap",
    "read_numpy", "read_orc", "read_parquet", "read_snowflake", "read_sql", "read_text",
    "read_tfrecords", "read_unity_catalog", "read_videos", "read_webdataset", "sql",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    return connectors.touched(name, __name__)
