"""The caption filter: keyword pass, then a causal LM's strong / weak / none."""
