"""What is decided: events in, commands out. Pure, so nothing here waits, reads or asks the time."""
