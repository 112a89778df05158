"""How well a denoiser does on recordings whose truth is known or held out."""
