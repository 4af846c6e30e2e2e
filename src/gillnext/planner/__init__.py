"""The layout planner: a causal LM that turns a caption into named boxes."""
