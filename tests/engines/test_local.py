"""The shared suite on the local engine: processes, shared memory."""

from heliostat.testing.suite import EngineTests


class TestLocal(EngineTests):
    engine = "local"
