"""Motion estimators."""
