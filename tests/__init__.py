"""The tests of the template, one file for each promise."""
