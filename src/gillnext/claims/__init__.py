"""The design notes' claims, each judged by a rule from the score files that exist."""
