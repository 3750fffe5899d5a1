"""What a group of ranks can do, for those who connect a network of their own."""
