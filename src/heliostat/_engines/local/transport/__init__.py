"""How messages travel between the driver and its workers, and who reads them."""
