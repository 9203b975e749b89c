"""The jobs after `reflex export`, one file each; scripts/build and the Dockerfile run `python -m production.build`."""
