"""The lazy verbs that draw: rows in a random order, a random share of them, two random parts."""

from typing import TYPE_CHECKING, Any

import numpy as np

from heliostat.data._expr import Call, Column, Expr
from heliostat.data._plan import Apply, Shuffle, ShuffleBlocks, Where
from heliostat.data._planned import Planned
from heliostat.data._seeds import RandomSeedConfig, parse_seed
from heliostat.data.columns import no_options
from heliostat.data.expressions import random

if TYPE_CHECKING:
    from heliostat.data.dataset import Dataset


class Randomness(Planned):
    """The part of Dataset that draws."""

    def streaming_train_test_split(
        self,
        test_size: float,
        *,
        split_type: str = "random",
        hash_column: str | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> "tuple[Dataset, Dataset]":
        """Two datasets, neither of which is run now: each row is in one of them.

        Args:
            test_size: A share between 0 and 1.
            split_type: `random`, by the number of the row; or `hash`, by the value of a column.
            hash_column: Rows that are equal in it come into the same dataset.
            seed: For the same rows again.
            **options: Ray's scheduling options; not needed, since nothing is scheduled for it.

        Returns:
            Train and test.

        Raises:
            KeyError: if the column does not exist.
            ValueError: if the size or the type makes no sense.

        Example:
            >>> import heliostat as ray
            >>> train, test = ray.data.range(100).streaming_train_test_split(0.2, seed=1)
            >>> train.count() + test.count()
            100
        """
        no_options("streaming_train_test_split", options)
        if not 0 < test_size < 1:
            raise ValueError(f"test_size must be between 0 and 1, got {test_size!r}")
        if split_type not in ("random", "hash") or (split_type == "hash") != bool(hash_column):
            raise ValueError(
                "split_type must be 'random', or 'hash' with a hash_column, got "
                f"{split_type!r} with {hash_column!r}"
            )
        if hash_column is not None:
            place: Expr = Call("hash_share", (Column(hash_column),))
        else:
            drawn = int(np.random.default_rng().integers(1 << 62)) if seed is None else seed
            place = random(seed=drawn)
        train = self._derive(Apply(self._plan, Where(place >= float(test_size))))
        return train, self._derive(Apply(self._plan, Where(place < float(test_size))))

    def random_shuffle(
        self,
        *,
        seed: int | RandomSeedConfig | None = None,
        num_blocks: int | None = None,
        **options: Any,
    ) -> "Dataset":
        """Bring all rows into a random order.

        Args:
            seed: The same seed gives the same order, however many workers there are; a
                `RandomSeedConfig` another one at each execution.
            num_blocks: Into how many blocks to cut the result.
            **options: Ray's scheduling options; not needed, since nothing is scheduled for it.

        Returns:
            A new Dataset.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.range(10)
            >>> ds.random_shuffle(seed=1).take(3) == ds.random_shuffle(seed=1).take(3)
            True
        """
        no_options("random_shuffle", options)
        shuffled = self._derive(Apply(self._plan, Shuffle(parse_seed(seed, "random_shuffle"))))
        return shuffled if num_blocks is None else shuffled.repartition(num_blocks)

    def randomize_block_order(self, *, seed: int | RandomSeedConfig | None = None) -> "Dataset":
        """Bring the blocks into a random order; the rows of each stay together.

        Args:
            seed: The same seed gives the same order; or a `RandomSeedConfig`.

        Returns:
            A new Dataset.

        Example:
            >>> import heliostat as ray
            >>> ds = ray.data.range(4, override_num_blocks=4).randomize_block_order(seed=1)
            >>> sorted(row["id"] for row in ds.take_all())
            [0, 1, 2, 3]
        """
        return self._derive(
            Apply(self._plan, ShuffleBlocks(parse_seed(seed, "randomize_block_order")))
        )

    def random_sample(
        self, fraction: float, *, seed: int | RandomSeedConfig | None = None
    ) -> "Dataset":
        """Keep each row with the same chance.

        Args:
            fraction: The chance, from 0 to 1.
            seed: The same seed keeps the same rows, however they are cut into blocks; or a
                `RandomSeedConfig`.

        Returns:
            A new Dataset, of about that share of the rows, in their order.

        Raises:
            ValueError: if the fraction is not from 0 to 1.

        Example:
            >>> import heliostat as ray
            >>> 400 < ray.data.range(1000).random_sample(0.5, seed=1).count() < 600
            True
        """
        if not 0 <= fraction <= 1:
            raise ValueError(f"fraction must be from 0 to 1, got {fraction!r}")
        place = random(seed=parse_seed(seed, "random_sample"))
        return self._derive(Apply(self._plan, Where(place < float(fraction))))
