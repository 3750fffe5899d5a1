"""Ways to be a cluster. Nobody imports these by name: `_core.session` loads one by import string.

To write an engine, implement `heliostat._core.engine.Engine` and pass
`heliostat.testing.suite.EngineTests`.
"""
