"""An archive of a run that others can keep: its files, what describes them in the field's formats, and their hashes."""
