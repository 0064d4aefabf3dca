"""The experiment on Kubernetes: pods of an overlay stand for both ends of its paths."""
