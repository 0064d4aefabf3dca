"""Models: signal in, bases out. Knows no web."""
