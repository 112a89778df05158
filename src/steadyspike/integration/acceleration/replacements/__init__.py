"""What takes the place of SpikeInterface's functions and methods while acceleration is on."""
