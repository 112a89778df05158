"""Parts that work on detected peaks."""
