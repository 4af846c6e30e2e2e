"""The supplement: what the other systems of the design notes do, as tables, figures and one PDF."""
