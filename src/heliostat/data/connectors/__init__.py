"""Sources and sinks that few programs use, under Ray's names; loaded when one is touched.

`samples` makes rows up and takes them; `types` are names for annotations.
"""
