"""The paper's figures, a file each: `draw(results)` gives a figure and its caption, or None where the run holds nothing
for it.
"""
