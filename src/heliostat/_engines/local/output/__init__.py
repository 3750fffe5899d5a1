"""What people read: what workers print, what a long wait is for, the window for other shells."""
