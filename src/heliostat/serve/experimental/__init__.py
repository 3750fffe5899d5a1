"""Routers that Ray has under `ray.serve.experimental`."""
