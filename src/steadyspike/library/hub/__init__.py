"""The only package that asks the network; it knows no model and no preset."""
