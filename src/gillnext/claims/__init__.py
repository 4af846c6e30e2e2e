"""The design notes' claims, each judged by a rule from the scores that a run has."""
