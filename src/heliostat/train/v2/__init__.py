"""Names of Ray's `ray.train.v2`: `jax`."""
