"""Result tables (the same for the same seeds) and cost tables (seconds and memory, which are not)."""
