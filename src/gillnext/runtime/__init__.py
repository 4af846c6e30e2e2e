"""What every stage shares: seeds, atomic files, progress, provenance, checkpoints."""
