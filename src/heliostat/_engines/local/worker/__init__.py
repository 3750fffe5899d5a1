"""What runs in a worker process: tasks, actors of every kind, and its port to the hub."""
