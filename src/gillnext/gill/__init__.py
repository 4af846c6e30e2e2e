"""A model of GILL's shape: a frozen causal LM that sees, finds and draws pictures (Koh et al., 2023)."""
