"""The load generator and the experiment. Meets the service only on the wire; never needs torch."""
