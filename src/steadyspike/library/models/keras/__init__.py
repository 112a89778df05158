"""Keras files of DeepInterpolation networks, read and written without TensorFlow."""
