"""What one training step holds in memory: summed, split and checkpointed backward."""
