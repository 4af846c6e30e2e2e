"""Mini-Wukong: the demo's own world of drawn scenes, written in Wukong's form."""
