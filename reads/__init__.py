"""Reads: what a sequencer wrote, its files, and its bytes on the wire. Knows neither networks nor webs."""
