"""What this machine and this checkout are, whether they compute as expected, and how long the demo takes here."""
