"""What engine writers and users import in their own tests.

suite    EngineTests: the behaviour that every engine must show
clock    FakeClock for deciders, `until` for what happens in other processes
plugin   heliostat_inline and heliostat_local: a session for a test, at little cost
faults   what `init(faults=["kill:task:0.1"])` makes go wrong in workers
leaks    no process, shared memory or descriptor outlives a test
"""
