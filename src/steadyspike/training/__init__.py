"""Training of networks on lazy recordings."""
