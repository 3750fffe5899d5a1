"""Where rows come from and where they go. One file a format, and none knows another."""
