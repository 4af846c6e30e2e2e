"""What any SDXL-style base needs: size conditions, training timesteps and targets, encoded pictures and captions."""
