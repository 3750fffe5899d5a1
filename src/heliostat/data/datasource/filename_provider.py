"""Names of the files that a write makes."""

import os

from heliostat.data.block import Block, Row

__all__ = ["FilenameProvider"]


class FilenameProvider:
    """Names files; a subclass of yours names them as you like.

    Args:
        dataset_uuid: What names begin with, beside the write's own identifier.
        file_format: What names end with.

    Example:
        >>> FilenameProvider(file_format="csv").get_filename_for_task("w", 3)
        'w_000003.csv'
    """

    def __init__(self, dataset_uuid: str | None = None, file_format: str | None = None) -> None:
        self._dataset_uuid = dataset_uuid
        self._file_format = file_format

    def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
        """The name of the file of a part.

        Args:
            write_uuid: The write's identifier.
            task_index: The part's number.

        Returns:
            A name that no other part has.
        """
        stem = f"{write_uuid}_{task_index:06}"
        stem = f"{self._dataset_uuid}_{stem}" if self._dataset_uuid else stem
        return f"{stem}.{self._file_format}" if self._file_format else stem

    def get_filename_for_block(
        self, block: Block | None, write_uuid: str, task_index: int, block_index: int
    ) -> str:
        """The name of the file of a block.

        Args:
            block: The rows.
            write_uuid: The write's identifier.
            task_index: The part's number.
            block_index: The block's number within the part.

        Returns:
            A name that no other block has.
        """
        name = self.get_filename_for_task(write_uuid, task_index)
        return name if not block_index else self._with(name, f"{block_index:06}")

    def get_filename_for_row(
        self, row: Row, write_uuid: str, task_index: int, block_index: int, row_index: int
    ) -> str:
        """The name of the file of a row.

        Args:
            row: The row.
            write_uuid: The write's identifier.
            task_index: The part's number.
            block_index: The block's number within the part.
            row_index: The row's number within the block.

        Returns:
            A name that no other row has.
        """
        name = self.get_filename_for_task(write_uuid, task_index)
        return self._with(name, f"{block_index:06}_{row_index:06}")

    def _with(self, name: str, numbers: str) -> str:
        ending = f".{self._file_format}" if self._file_format else os.path.splitext(name)[1]
        return f"{name.removesuffix(ending)}_{numbers}{ending}"
