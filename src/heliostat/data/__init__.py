"""Data: lazy plans over Arrow blocks, streamed through tasks and actors.

The map of the folder: `dataset` is the public class, in two halves (`transforms` builds,
`consumption` runs); `read_api` is where datasets begin. A plan (`_plan`) is rewritten and cut into
stages (`_optimize`); the `Pipeline` (`_pipeline`, told and telling `_messages`) decides what runs next and `_execute`
runs it; a task runs a chain of steps (`_stage`) over blocks (`block`).
"""

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
    from_daft,
    from_dask,
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

DatasetContext, DatasetIterator = DataContext, DataIterator  # older names of Ray's

__all__ = [
    "ActorPoolStrategy",
    "Block",
    "BlockBasedFileDatasink",
    "DataContext",
    "DataIterator",
    "Dataset",
    "DatasetContext",
    "DatasetIterator",
    "DatasetStatsSummary",
    "DatasetSummary",
    "Datasink",
    "Datasource",
    "ExecutionOptions",
    "ExecutionResources",
    "FileShuffleConfig",
    "MaterializedDataset",
    "MixStoppingCondition",
    "NodeIdStr",
    "OperatorStatsSummary",
    "Preprocessor",
    "RandomSeedConfig",
    "ReadTask",
    "RowBasedFileDatasink",
    "SaveMode",
    "Schema",
    "TaskPoolStrategy",
    "from_arrow",
    "from_arrow_refs",
    "from_blocks",
    "from_daft",
    "from_dask",
    "from_huggingface",
    "from_items",
    "from_numpy",
    "from_numpy_refs",
    "from_pandas",
    "from_pandas_refs",
    "from_polars",
    "from_tf",
    "from_torch",
    "list_stats_summaries",
    "range",
    "range_tensor",
    "read_audio",
    "read_avro",
    "read_binary_files",
    "read_csv",
    "read_datasource",
    "read_delta",
    "read_iceberg",
    "read_images",
    "read_json",
    "read_lance",
    "read_numpy",
    "read_orc",
    "read_parquet",
    "read_sql",
    "read_text",
    "read_tfrecords",
    "read_videos",
    "read_webdataset",
    "sql",
]
