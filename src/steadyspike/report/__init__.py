"""Figures of motion estimates and corrected recordings."""
