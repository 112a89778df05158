"""The figures of a report, as plotly reads them. Colours are names that the page replaces in light and dark."""
