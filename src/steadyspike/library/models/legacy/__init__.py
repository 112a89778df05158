"""Weights that older works published, read without unpickling anything."""
