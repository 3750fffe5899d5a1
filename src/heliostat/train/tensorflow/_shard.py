"""prepare_dataset_shard: tells TensorFlow that a dataset is this rank's share already."""

from typing import Any


def prepare_dataset_shard(tf_dataset_shard: Any) -> Any:
    """Keep TensorFlow from dividing between ranks what was divided already, and let it read ahead.

    Args:
        tf_dataset_shard: A `tf.data.Dataset`, of `get_dataset_shard(...).to_tf(...)`.

    Returns:
        The same rows as a `tf.data.Dataset` without auto-sharding, which prefetches.

    Raises:
        ImportError: If TensorFlow is not installed.

    Example:
        >>> # shard = train.get_dataset_shard("train").to_tf("x", "y", batch_size=32)
        >>> # model.fit(prepare_dataset_shard(shard))
    """
    try:
        import tensorflow as tf  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(
            "prepare_dataset_shard() needs TensorFlow: pip install tensorflow"
        ) from error
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return tf_dataset_shard.with_options(options).prefetch(tf.data.AUTOTUNE)
