"""Models and presets: on disk, bundled, and on the Hugging Face Hub."""
