"""Model folders: reading, writing, finding and running them."""
